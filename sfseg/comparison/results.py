"""The score of one run of a comparison, on disk beside its weights."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfseg.errors import CheckpointError
from sfseg.system import files

SCORE_NAME = "score.json"


@dataclass(frozen=True)
class RunScore:
    """The score of one network that was trained and tested.

    Attributes
    ----------
    arch : str
        Its architecture.
    seed : int
        Seed of its training.
    fold : int or None
        Number of the block that it was tested on, from 1; None = the test sections of the dataset.
    trained_on : str
        Data and sections, from the header of its weights.
    tested_on : tuple of int
        Numbers of the sections, from 1.
    version : str
        Version of sfseg.
    epochs : int
        Epochs of its training.
    training_s : float
        Seconds of its training, without interruptions.
    prediction_s : float
        Seconds a section, from file to file, in a single pass.
    trained_with, predicted_with : str
        Device and arithmetic.
    scores : mapping of str to Any
        Over the test sections, as `sfseg score --json` prints them.
    """

    arch: str
    seed: int
    fold: int | None
    trained_on: str
    tested_on: tuple[int, ...]
    version: str
    epochs: int
    training_s: float
    prediction_s: float
    trained_with: str
    predicted_with: str
    scores: Mapping[str, Any]


def write_score(folder: Path, score: RunScore) -> None:
    """Write the score of a run into its folder, whole or not at all."""
    text = json.dumps(dataclasses.asdict(score), indent=2, allow_nan=False)
    files.write_text(folder / SCORE_NAME, text + "\n", overwrite=True)


def read_score(folder: Path) -> RunScore | None:
    """Read the score of a run; None if it is not finished.

    Raises
    ------
    CheckpointError
        If the file is not one that `write_score` wrote.
    """
    path = folder / SCORE_NAME
    if not path.is_file():
        return None
    try:
        found = files.read_json(path)
        return RunScore(**{**found, "tested_on": tuple(found["tested_on"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: this file is damaged, or not written by sfseg compare",
            hint=f"delete {folder}, then --resume repeats this run",
        ) from error
