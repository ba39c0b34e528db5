"""What one run of a comparison left, on disk beside its weights."""

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
    """One network, trained and tested.

    Attributes
    ----------
    arch : str
        Its architecture.
    seed : int
        Of its training.
    fold : int or None
        The block that it was tested on, from 1; None = the dataset's test.
    trained_on : str
        Data and sections, as its weights say.
    tested_on : tuple of int
        Numbers of the sections, from 1.
    version : str
        Of sfseg.
    epochs : int
        Of its training.
    training_s : float
        Without interruptions.
    prediction_s : float
        A section, from file to file, in a single pass.
    trained_with, predicted_with : str
        Device and arithmetic.
    scores : mapping of str to Any
        As `sfseg score --json` gives them, over the sections it was tested on.
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
    """Read the score of a run; None where it is not finished.

    Raises
    ------
    CheckpointError
        If the file is not one that `write_score` wrote.
    """
    path = folder / SCORE_NAME
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        return RunScore(**{**found, "tested_on": tuple(found["tested_on"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: expected the score of a finished run, found something else",
            hint=f"delete {folder}: the run is then done again",
        ) from error
