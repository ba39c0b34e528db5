"""The folder of a training run: its files, and which process may write to it."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfseg import __version__
from sfseg.config import CONFIG_NAME, TrainConfig
from sfseg.errors import CheckpointError, OutputExistsError
from sfseg.models.weights_files import SUFFIX, WEIGHTS_NAME
from sfseg.system import files, locks, torchrun

STATE = f"state{SUFFIX}"
HISTORY = "history.csv"
CURVES = "curves.png"
PAGE = "report.html"


@contextlib.contextmanager
def claim_folder(config: TrainConfig) -> Iterator[None]:
    """Keep other training runs out of the folder, and remove unfinished files of a killed one.

    Of several processes that train together, the first one claims it for all.

    Raises
    ------
    OutputExistsError
        If another training run is at work in the folder, or was since `refuse_taken`.
    CheckpointError
        If there is nothing to resume any more.
    OutputError
        If the folder cannot be written to.
    """
    if not torchrun.is_first():
        yield
        return
    with locks.only_one(config.out / "training.lock", "training run"):
        refuse_taken(config)
        for name in (STATE, WEIGHTS_NAME, HISTORY, CURVES, CONFIG_NAME, PAGE):
            path = config.out / name
            with files.explain_errors(path):
                files.remove(files.sibling(path, "part"))
        yield


def refuse_taken(config: TrainConfig) -> None:
    """Refuse a folder that holds a training run, or with ``resume`` one that holds none.

    Raises
    ------
    OutputExistsError
        If the folder holds a training run and ``config.resume`` is False.
    CheckpointError
        If ``config.resume`` is True and there is nothing to resume.
    OutputError
        If the system cannot tell what is there.
    """
    files.refuse_file_as_folder(config.out)
    names = (STATE, WEIGHTS_NAME, HISTORY, CURVES)
    found = [name for name in names if (config.out / name).exists()]
    if not found and not _is_replaceable(config.out / CONFIG_NAME):
        found = [CONFIG_NAME]
    # A run that was killed at once leaves its page beside its configuration.
    if not found and (config.out / PAGE).exists() and not (config.out / CONFIG_NAME).exists():
        found = [PAGE]
    if found and not config.resume:
        raise OutputExistsError(
            f"{config.out}: holds a training run already ({found[0]})",
            hint="choose another folder with --out"
            + (", or continue this training run with --resume" if STATE in found else ""),
        )
    if config.resume and STATE not in found:
        raise CheckpointError(
            f"{config.out}: nothing to resume, no {STATE} in it",
            hint="choose another folder with --out" if found else "leave --resume out to start",
        )


def _is_replaceable(path: Path) -> bool:
    """Whether ``config.json`` is missing, or of a training run that was killed at once."""
    with files.explain_errors(path):
        if not path.exists():
            return True
        try:
            return bool({"asked", "resolved"} <= files.read_json(path).keys())
        except (ValueError, AttributeError):
            return False


def write_config(config: TrainConfig, resolved: Mapping[str, Any]) -> None:
    """Write ``config.json``: the given configuration, and the values that it was resolved to."""
    asked = dataclasses.asdict(config)
    text = json.dumps(
        {"version": __version__, "asked": asked, "resolved": resolved}, indent=2, default=str
    )
    files.write_text(config.out / CONFIG_NAME, text + "\n", overwrite=True)
