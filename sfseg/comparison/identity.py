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
            f"{config.out}: expected no comparison there yet, found {COMPARISON_NAME}",
            hint="--resume continues it, --out names another folder",
        )
    other = next(config.out.glob("*-seed[0-9]*"), None)
    if not path.is_file() and other is not None:
        raise OutputExistsError(
            f"{config.out}: expected no trainings there yet, found {other.name}",
            hint="--out names another folder",
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
            f"{path.parent}: expected an unfinished comparison, found no {path.name}",
            hint="leave --resume out to start from zero",
        )
    try:
        was = json.loads(path.read_text())["identity"]
        lines = differences(was, wanted)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: expected what sfseg compare wrote, found something else",
            hint="--out names another folder",
        ) from error
    if lines:
        raise ResumeError(
            f"{path.parent}: expected the options that the comparison was begun with, "
            "found others:\n" + "\n".join(lines),
            hint="give the options that it was begun with, or --out with another folder",
        )


def write_identity(config: CompareConfig) -> None:
    """Write what the runs have in common."""
    facts = {"version": __version__, "identity": identity(config)}
    text = json.dumps({**facts, "asked": dataclasses.asdict(config)}, indent=2, default=str)
    files.write_text(config.out / COMPARISON_NAME, text + "\n", overwrite=True)
