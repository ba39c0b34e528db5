"""Score a membrane map on disk against the truth on disk."""

import contextlib
import math
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sfseg.config import LabelFormat
from sfseg.io import Stack, as_path, open_stack
from sfseg.io.census import count_values
from sfseg.io.labels import nothing_ignored, require_numbers, resolve_format
from sfseg.io.probability import scale_sections
from sfseg.io.sections import Sections
from sfseg.scoring.doubts import TURNS
from sfseg.scoring.errors import Errors, find_pair_errors
from sfseg.scoring.pair import Pair
from sfseg.scoring.score import Scores, score_known
from sfseg.scoring.section_pairs import pair_sections
from sfseg.scoring.truth import check_format, soft_notes, understand_labels
from sfseg.system.sharing import Share
from sfseg.system.threads import ordered
from sfseg.types import INTERIOR, AnyArray, LabelKind, Number, Progress

KEPT_BYTES = 2**28
"""Sections of a stack that are not larger are kept in memory; those of others are read again."""


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
        Number of different values in the truth.
    notes : tuple of str
        What a person should know about how the files are read and paired.
    pair : Pair
        The sections that were scored, as they are understood.
    warnings : tuple of str
        `notes`, and the warnings of the scores.
    """

    prediction: str
    truth: str
    scores: Scores
    truth_values: int
    pair: Pair = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the files and the scores."""
        return (*self.notes, *self.scores.warnings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, in the order of the JSON output."""
        files = {"prediction": self.prediction, "truth": self.truth}
        return files | asdict(self.scores) | {"warnings": list(self.warnings)}

    def find_errors(
        self, *, share: Share = ordered, progress: Progress = lambda *_: None
    ) -> Errors:
        """Find each merge and each split at `v_rand_threshold`; see `sfseg.find_errors`."""
        threshold = self.scores.v_rand_threshold
        return find_pair_errors(self.pair, threshold, share=share, progress=progress)


def score_files(
    prediction: str | Path,
    truth: str | Path,
    *,
    sections: str | None = None,
    invert: bool = False,
    invert_labels: bool = False,
    map_max: Number | None = None,
    labels_are: LabelKind = "interior",
    membrane_value: Number | None = None,
    threshold_labels: Number | Literal["auto"] | None = None,
    ignore: Number | None = None,
    axes: str | None = None,
    label_axes: str | None = None,
    workers: int | None = None,
    share: Share = ordered,
    progress: Progress = lambda *_: None,
) -> ScoreReport:
    """Score a membrane map against the truth with the official numbers of ISBI 2012.

    Large stacks are read section by section, in bounded memory.

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
    map_max : int or float, optional
        The value of the prediction that means 1; larger values count as 1, too. Default is 1, and
        the type's maximum for integers.
    labels_are, membrane_value, threshold_labels, ignore
        What the values of the labels mean: `kind`, `membrane_value`, `threshold` and `ignore` of
        `sfseg.config.LabelFormat`. Ignored pixels take no part in any score.
    axes : str, optional
        Order of the axes, for files that do not say it; see `sfseg.io.open.open_stack`.
    label_axes : str, optional
        Order of the axes of the labels; default is `axes`.
    workers : int, optional
        Number of sections that are scored at a time; default is one per core, at most 8. Each
        takes memory. The result does not depend on it.
    share : Share
        What scores each section, as the workers of a cluster; default is threads. The result does
        not depend on it.
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
        If a file is not a stack that can be scored (see `sfseg.scoring.score.score`), the
        prediction is a mask of the integers 0 and 1, or the values of the labels are not 0 and one
        other, and no option says what they mean.
    OptionError
        If `sections` names none, or one outside the stacks, or the options do not fit each other.
    NonFiniteError
        If a pixel is NaN or infinite.
    OSError
        If a file cannot be read.
    """
    files = (prediction, truth)
    prediction, truth = (as_path(f, "score_files", hint="sfseg.score takes arrays") for f in files)
    names = str(prediction), str(truth)
    form = check_format(labels_are, membrane_value, threshold_labels, ignore, invert_labels)
    with contextlib.ExitStack() as opened:
        maps = opened.enter_context(open_stack(prediction, axes=axes))
        labels = opened.enter_context(open_stack(truth, axes=label_axes or axes, labels=True))
        partners, notes = pair_sections(maps, labels, sections)
        indices = tuple(partners)
        # what is elsewhere reads the sections there
        kept_bytes = KEPT_BYTES if share is ordered else 0
        predicted = read_sections(maps, indices, kept_bytes)
        true = read_sections(labels, list(partners.values()), kept_bytes)
        values = _count_values(true, labels.name, list(partners.values()))
        form = resolve_format(labels, form)
        predicted = scale_sections(predicted, map_max, names[0])
        notes = (*notes, *soft_notes(true, form, names[1]))
        true, known = understand_labels(true, form, names[1])
        if known is not None and all(section.all() for section in known):
            notes = (*notes, nothing_ignored(names[1]))
        pair = Pair(
            predicted.map(invert_map) if invert else predicted,
            true.map(_inverted_labels) if invert_labels else true,
            known,
            tuple(index + 1 for index in indices),
            len(maps),
            maps.voxel_size_nm or labels.voxel_size_nm,
        )
        # the files stay open as long as it lives: its sections are read again, as for the errors
        weakref.finalize(pair, opened.pop_all().close)
    scores = score_known(
        pair.prediction,
        pair.labels,
        pair.known,
        turns=find_turns(form, invert=invert, invert_labels=invert_labels),
        workers=workers,
        share=share,
        names=names,
        numbers=pair.numbers,
        progress=progress,
    )
    return ScoreReport(*names, scores, truth_values=values, pair=pair, notes=notes)


def read_sections(stack: Stack, indices: Sequence[int], kept_bytes: int) -> Sections:
    """Read sections of a stack: a small one now, each section of a large one when it is wanted."""
    shape = (len(indices), *stack.shape[1:])
    if math.prod(shape) * stack.dtype.itemsize <= kept_bytes:
        return Sections.from_array(stack.read(indices))
    return Sections(lambda index: stack.section(indices[index]), shape, stack.dtype)


def _count_values(labels: Sections, name: str, indices: Sequence[int]) -> int:
    """Count the different values of labels; refuse NaN."""
    found: set[Number] = set()
    for index, section in zip(indices, labels, strict=True):
        require_numbers(section, name, index + 1)
        found.update(count_values(section)[0])
    return len(found)


def find_turns(form: LabelFormat, *, invert: bool, invert_labels: bool) -> tuple[str, str]:
    """Say which options turn the map, and the labels, as they are read now."""
    turn_map, turn_labels = TURNS
    if form.membrane_value is not None:
        turn_labels = "with another --membrane-value"
    elif form.kind == "membrane":
        turn_labels = "with --labels-are interior"
    elif form.kind == "instances" or form.threshold is not None:
        turn_labels = "with --labels-are membrane"
    return (
        f"without {turn_map.split()[1]}" if invert else turn_map,
        f"without {turn_labels.split()[1]}" if invert_labels else turn_labels,
    )


def invert_map(probability: AnyArray) -> AnyArray:
    """Turn a probability of membrane into one of the inside of cells."""
    if probability.dtype.kind == "f":
        return 1 - probability
    if probability.dtype.kind == "b":
        return ~probability
    return np.iinfo(probability.dtype).max - probability


def _inverted_labels(labels: AnyArray) -> AnyArray:
    if labels.dtype.kind == "f":
        return 1 - labels
    return np.where(labels == 0, INTERIOR, 0).astype(np.uint8)  # whatever number marks membrane
