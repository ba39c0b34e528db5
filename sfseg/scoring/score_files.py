"""Score a membrane map on disk against the truth on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import OptionError, StackError
from sfseg.io import Stack, as_path, open_stack
from sfseg.io.numbering import list_numbers, pair_numbers
from sfseg.scoring.score import Scores, require_same_shape, score
from sfseg.types import INTERIOR, AnyArray, Progress, format_sections, parse_sections


@dataclass(frozen=True)
class ScoreReport:
    """The scores of a membrane map, and the two files.

    Attributes
    ----------
    prediction, truth : str
        The files, as given.
    scores : Scores
        See `sfseg.scoring.score.score`.
    truth_values : int
        Number of different values in the truth; more than 2 are unusual for labels.
    notes : tuple of str
        What a person should know about how the files are read and paired.
    """

    prediction: str
    truth: str
    scores: Scores
    truth_values: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, in the order of the JSON output."""
        return {"prediction": self.prediction, "truth": self.truth, **asdict(self.scores)}


def score_files(
    prediction: str | Path,
    truth: str | Path,
    *,
    sections: str | None = None,
    invert: bool = False,
    invert_labels: bool = False,
    axes: str | None = None,
    progress: Progress = lambda *_: None,
) -> ScoreReport:
    """Score a membrane map against the truth with the official numbers of ISBI 2012.

    Parameters
    ----------
    prediction : str or Path
        Interior probability, 1 (or the type's maximum) = inside a cell.
    truth : str or Path
        The labels, 0 = membrane.
    sections : str, optional
        Sections to score, as in ``"25-30"``; default is all.
    invert : bool
        Whether the prediction is a probability of membrane.
    invert_labels : bool
        Whether the labels mark the membrane: 0 = inside a cell.
    axes : str, optional
        Order of the axes, for files that do not say it; see `sfseg.io.open.open_stack`.
    progress : callable
        Called with the number of sections scored and that of all, at the start and after each.

    Returns
    -------
    ScoreReport
        The scores. Sections keep their numbers in the files. Two folders are paired by the numbers
        in the names of their files, where both have them.

    Raises
    ------
    ShapeMismatchError
        If the stacks differ in shape.
    StackError
        If a file is not a stack that can be scored (see `sfseg.scoring.score.score`), or the
        prediction is a mask of the integers 0 and 1.
    OptionError
        If `sections` names none, or one outside the stacks.
    NonFiniteError
        If a pixel is NaN or infinite.
    OSError
        If a file cannot be read.
    """
    files = (prediction, truth)
    prediction, truth = (as_path(f, "score_files", hint="sfseg.score takes arrays") for f in files)
    names = str(prediction), str(truth)
    with (
        open_stack(prediction, axes=axes) as maps,
        open_stack(truth, axes=axes, labels=True) as labels,
    ):
        partners, notes = _pair_sections(maps, labels)
        indices = tuple(partners)
        if sections is not None:
            indices = parse_sections(sections, len(maps))
            _require_partners(indices, partners, names[1])
        predicted = maps.read(indices)
        true = labels.read([partners[index] for index in indices])
    _refuse_mask(predicted, names[0])
    _refuse_one_value(true, names[1])
    scores = score(
        _inverted(predicted) if invert else predicted,
        _inverted_labels(true) if invert_labels else true,
        names=names,
        numbers=[index + 1 for index in indices],
        progress=progress,
    )
    return ScoreReport(*names, scores, truth_values=len(np.unique(true)), notes=notes)


def _pair_sections(maps: Stack, labels: Stack) -> tuple[dict[int, int], tuple[str, ...]]:
    """Find the labels of each section of a map: their indices, and what to say about it."""
    notes = [f"{stack.name}: {note}" for stack in (maps, labels) for note in stack.notes]
    pairs, names = pair_numbers(maps.numbers, labels.numbers), (maps.name, labels.name)
    if pairs is None:
        require_same_shape(maps.shape, labels.shape, names)
        if maps.numbers and labels.numbers and maps.numbers != labels.numbers:
            notes.append(f"{labels.name}: its numbers are not those of {maps.name}: both in order")
        return {index: index for index in range(len(maps))}, tuple(notes)
    require_same_shape((1, *maps.shape[1:]), (1, *labels.shape[1:]), names)
    for stack, side in ((maps, 0), (labels, 1)):
        paired = {pair[side] for pair in pairs}
        alone = [n for index, n in enumerate(stack.numbers or ()) if index not in paired]
        if alone:
            notes.append(
                f"{stack.name}: left out, as the other side has no such number: "
                f"{list_numbers(alone)}"
            )
    return dict(pairs), tuple(notes)


def _require_partners(indices: Sequence[int], partners: Mapping[int, int], truth: str) -> None:
    """Refuse sections that have no labels."""
    if alone := [index for index in indices if index not in partners]:
        raise OptionError(
            f"sections {format_sections(alone)}: they have no labels in {truth}",
            hint=f"--sections {format_sections(tuple(partners))}",
        )


def _refuse_mask(probability: AnyArray, name: str) -> None:
    """Refuse integers of 0 and 1: after dividing by the type's maximum, all would be near 0."""
    if probability.dtype.kind != "f" and probability.max() == 1:
        raise StackError(
            f"{name}: this is a mask of 0 and 1; the inside of cells must be the type's maximum",
            hint="save the inside of cells as 255 in uint8",
        )


def _refuse_one_value(labels: AnyArray, name: str) -> None:
    if labels.min() == labels.max():
        raise StackError(
            f"{name}: interior or membrane is missing, all labels are {labels.flat[0]}",
            hint="give the labels as the second file, not the images or a mask",
        )


def _inverted(probability: AnyArray) -> AnyArray:
    if probability.dtype.kind == "f":
        return 1 - probability
    return np.iinfo(probability.dtype).max - probability


def _inverted_labels(labels: AnyArray) -> AnyArray:
    if labels.dtype.kind == "f":
        return 1 - labels
    return np.where(labels == 0, INTERIOR, 0).astype(np.uint8)  # whatever number marks membrane
