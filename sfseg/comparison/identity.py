"""What the runs of a comparison have in common, on disk, to resume it with the same options."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from sfseg import __version__
from sfseg.config import COMPARISON_NAME, CompareConfig
from sfseg.errors import CheckpointError, OutputExistsError, ResumeError
from sfseg.identity import differences
from sfseg.system import devices, files


def refuse_taken(config: CompareConfig) -> None:
    """Refuse a folder that holds another comparison, or one that may not be resumed.

    Raises
    ------
    OutputExistsError
        If there is one and ``config.resume`` is False.
    CheckpointError
        If there is none, or its file is damaged, and ``config.resume`` is True.
    ResumeError
        If it was begun with other options: it says which.
    DeviceError
        If the device is not there.
    """
    files.refuse_file(config.out)
    path = config.out / COMPARISON_NAME
    if path.is_file() and not config.resume:
        raise OutputExistsError(
            f"{config.out}: holds a comparison already ({COMPARISON_NAME})",
            hint="continue it with --resume, or choose another folder with --out",
        )
    other = next(config.out.glob("*-seed[0-9]*"), None)
    if not path.is_file() and other is not None:
        raise OutputExistsError(
            f"{config.out}: holds trainings already ({other.name})",
            hint="choose another folder with --out",
        )
    if config.resume:
        _refuse_another(path, identity(config))


def identity(config: CompareConfig) -> dict[str, Any]:
    """Tell all that the runs have in common; architectures and seeds may be added later."""
    device = devices.pick_device(config.device)
    return {
        "dataset": config.dataset,
        "recipe": dataclasses.asdict(config.recipe),
        "budget": config.budget,
        "folds": config.folds,
        "device": str(device),
        "precision": devices.dtype_name(devices.pick_dtype(config.precision, device)),
        "compile": config.compile,
        "close_gaps": config.close_gaps,
    }


def _refuse_another(path: Path, wanted: dict[str, Any]) -> None:
    """Refuse to resume a comparison that is missing or was started with other options."""
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent}: nothing to resume, no {path.name} in it",
            hint="leave --resume out to start",
        )
    try:
        was = json.loads(path.read_text())["identity"]
        lines = differences(was, wanted)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: this file is damaged, or not written by sfseg compare",
            hint="choose another folder with --out",
        ) from error
    if lines:
        raise ResumeError(
            f"{path.parent}: the comparison was started with other options (then -> now):\n"
            + "\n".join(lines),
            hint=f"resume with the options in {path.name}, or choose another folder with --out",
        )


def write_identity(config: CompareConfig) -> None:
    """Write what the runs have in common."""
    facts = {"version": __version__, "identity": identity(config)}
    text = json.dumps({**facts, "asked": dataclasses.asdict(config)}, indent=2, default=str)
    files.write_text(config.out / COMPARISON_NAME, text + "\n", overwrite=True)
