"""The folder of a comparison: whether it may be written to, and its file ``compare.json``.

This module does not import torch, so that a folder is refused at once.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from sfseg import __version__
from sfseg.config import COMPARISON_NAME, CompareConfig
from sfseg.errors import CheckpointError, OutputExistsError, ResumeError
from sfseg.identity import differences
from sfseg.system import files


def refuse_taken(config: CompareConfig) -> None:
    """Refuse a folder that holds a comparison, or with ``resume`` one that holds none.

    Raises
    ------
    OutputExistsError
        If the folder holds a comparison and ``config.resume`` is False, or training runs of others.
    CheckpointError
        If ``config.resume`` is True and there is nothing to resume.
    OutputError
        If the system cannot tell what is there.
    """
    files.refuse_file_as_folder(config.out)
    is_there = (config.out / COMPARISON_NAME).is_file()
    if is_there and not config.resume:
        raise OutputExistsError(
            f"{config.out}: holds a comparison already ({COMPARISON_NAME})",
            hint="continue it with --resume, or choose another folder with --out",
        )
    other = next(config.out.glob("*-seed[0-9]*"), None)
    if not is_there and other is not None:
        raise OutputExistsError(
            f"{config.out}: holds training runs already ({other.name})",
            hint="choose another folder with --out",
        )
    if not is_there and config.resume:
        raise CheckpointError(
            f"{config.out}: nothing to resume, no {COMPARISON_NAME} in it",
            hint="leave --resume out to start",
        )


def refuse_other(config: CompareConfig, identity: Mapping[str, Any]) -> None:
    """Refuse to resume a comparison that was started with other options.

    Raises
    ------
    CheckpointError
        If its file is damaged.
    ResumeError
        If it was started with other options; the message names each of them.
    """
    path = config.out / COMPARISON_NAME
    try:
        lines = differences(files.read_json(path)["identity"], identity)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: this file is damaged, or not written by sfseg compare",
            hint="choose another folder with --out",
        ) from error
    if lines:
        raise ResumeError(
            f"{config.out}: the comparison was started with other options (then -> now):\n"
            + "\n".join(lines),
            hint=f"resume with the options in {path.name}, or choose another folder with --out",
        )


def write_config(config: CompareConfig, identity: Mapping[str, Any]) -> None:
    """Write ``compare.json``: the given configuration, and what all runs share."""
    facts = {"version": __version__, "identity": identity, "asked": dataclasses.asdict(config)}
    text = json.dumps(facts, indent=2, default=str)
    files.write_text(config.out / COMPARISON_NAME, text + "\n", overwrite=True)
