"""Score a membrane map on disk against the truth on disk."""

import contextlib
import math
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sfseg.config import LabelFormat
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.io import Stack, as_path, open_stack
from sfseg.io.label_values import (
    Census,
    count_values,
    do_cells_touch,
    explain_labels,
    sample_indices,
)
from sfseg.io.labels import interior, nothing_ignored, require_numbers, resolve_format
from sfseg.io.numbering import list_numbers, pair_numbers
from sfseg.io.probability import scale_sections
from sfseg.io.sections import Sections
from sfseg.scoring.doubts import TURNS
from sfseg.scoring.errors import Errors, find_pair_errors
from sfseg.scoring.pair import Pair
from sfseg.scoring.score import Scores, require_same_shape, score_known
from sfseg.system.sharing import Share
from sfseg.system.threads import ordered
from sfseg.types import (
    INTERIOR,
    AnyArray,
    LabelKind,
    Number,
    Progress,
    format_sections,
    parse_sections,
)

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
    form = _label_format(labels_are, membrane_value, threshold_labels, ignore, invert_labels)
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
        notes = (*notes, *_soft_notes(true, form, names[1]))
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


def _label_format(
    kind: LabelKind,
    membrane_value: Number | None,
    threshold: Number | Literal["auto"] | None,
    ignore: Number | None,
    invert: bool,
) -> LabelFormat:
    """Check the options of the labels."""
    form = LabelFormat(kind, membrane_value, threshold, ignore)
    if invert and replace(form, ignore=None) != LabelFormat():
        raise OptionError(
            "--invert-labels: it does not work with another option that says what labels are",
            hint="leave it out, and add --labels-are membrane if the labels mark the membrane",
        )
    return form


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


def understand_labels(
    labels: Sections, form: LabelFormat, name: str
) -> tuple[Sections, Sections | None]:
    """Read labels as their format says; refuse those that would be misread.

    Returns
    -------
    labels : Sections
        As they are where any number but 0 is the inside of cells; else 255 inside a cell.
    known : Sections of bool, or None
        Where they are known; None = everywhere.
    """
    ignore = form.ignore
    known = None if ignore is None else labels.map(lambda section: section != ignore, np.bool_)
    if replace(form, ignore=None) == LabelFormat():
        return _understand_plain(labels, form, name), known

    def separate(section: AnyArray) -> AnyArray:
        inside = interior(section, form, None if ignore is None else section != ignore)
        return np.where(inside, INTERIOR, np.uint8(0))

    found = labels.map(separate, np.uint8)
    used = found if known is None else map(np.ndarray.__getitem__, found, known)
    _refuse_one_value({value for section in used for value in np.unique(section).tolist()}, name)
    return found, known


def _understand_plain(labels: Sections, form: LabelFormat, name: str) -> Sections:
    """Read labels where any number but 0, or that of pixels to ignore, is the inside of cells."""
    census = Census.from_sections(labels, form.ignore, sample_indices(len(labels)))
    _refuse_one_value(census.values.tolist(), name)
    if _is_mask_of_numbers(labels, census, form, name):
        return labels.map(
            lambda section: (section != 0) & (form.ignore is None or section != form.ignore),
            np.bool_,
        )
    if form.ignore is not None:
        dtype = labels.dtype
        labels = labels.map(
            lambda section: np.where(section != form.ignore, section, 0).astype(dtype)
        )
    is_short = labels.dtype.kind == "i" and census.values[0] >= 0
    if is_short and census.values[-1] <= np.iinfo(np.uint16).max:  # a type that can be scored
        return labels.map(lambda section: section.astype(np.uint16), np.uint16)
    return labels


def _is_mask_of_numbers(labels: Sections, census: Census, form: LabelFormat, name: str) -> bool:
    """Tell whether labels of many or large numbers are a mask: any number but 0 is inside a cell.

    Numbers of cells that do not touch are as good as a mask. Floats from 0 to 1 are probabilities,
    which `score` cuts at each threshold.

    Raises
    ------
    StackError
        If a number other than 0 may be something else, or 0 is not membrane.
    """
    is_float, values = labels.dtype.kind == "f", census.values
    if is_float and values[0] >= 0 and values[-1] <= 1:
        return False
    if len(values) == 2 and values[0] == 0 and not is_float:
        return labels.dtype.itemsize > 2
    finding = explain_labels(census, LabelFormat(), name)
    is_numbers = finding.form == LabelFormat("instances") and values[0] == 0
    if is_numbers and not do_cells_touch(labels, {0} if form.ignore is None else {0, form.ignore}):
        return True
    if finding.form != LabelFormat(membrane_value=0):
        raise finding.error
    return True


def _soft_notes(labels: Sections, form: LabelFormat, name: str) -> Iterator[str]:
    """Warn of a mask from 0 to 1 that was resized; others are refused."""
    if labels.dtype.kind != "f" or replace(form, ignore=None) != LabelFormat():
        return
    if Census.from_sections(labels, form.ignore, sample_indices(len(labels))).is_soft:
        yield (
            f"{name}: the labels have values between 0 and 1, as in a mask that was resized: "
            "V_Rand cuts them at each threshold, and for Dice every value above 0 is inside a "
            "cell; --threshold-labels auto cuts them in the middle"
        )


def pair_sections(
    maps: Stack, labels: Stack, sections: str | None
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Find the labels of each section to score: their indices, and what to say about it."""
    notes = [f"{stack.name}: {note}" for stack in (maps, labels) for note in stack.notes]
    _require_same_size(maps, labels)
    wanted = None if sections is None else parse_sections(sections, len(maps))
    pairs = pair_numbers(maps.numbers, labels.numbers)
    if pairs is None:
        if wanted is not None and len(labels) == len(wanted) < len(maps):
            notes.append(
                f"{labels.name}: its sections are those of --sections {sections}, in order"
            )
            return dict(zip(wanted, range(len(labels)), strict=True)), tuple(notes)
        _require_as_many(maps, labels)
        if maps.numbers and labels.numbers and maps.numbers != labels.numbers:
            notes.append(f"{labels.name}: its numbers are not those of {maps.name}: both in order")
        return {index: index for index in wanted or range(len(maps))}, tuple(notes)
    partners = dict(pairs)
    if wanted is not None:
        _require_partners(wanted, partners, labels.name)
        return {index: partners[index] for index in wanted}, tuple(notes)
    for stack, side in ((maps, 0), (labels, 1)):
        paired = {pair[side] for pair in pairs}
        alone = [n for index, n in enumerate(stack.numbers or ()) if index not in paired]
        if alone:
            notes.append(
                f"{stack.name}: left out, as the other side has no such number: "
                f"{list_numbers(alone)}"
            )
    return partners, tuple(notes)


def _require_same_size(maps: Stack, labels: Stack) -> None:
    """Refuse sections of another size, whatever their number."""
    if maps.shape[1:] != labels.shape[1:]:
        require_same_shape(maps.shape, labels.shape, (maps.name, labels.name))


def _require_as_many(maps: Stack, labels: Stack) -> None:
    """Refuse labels of fewer or more sections where nothing says which belong together."""
    if len(labels) < len(maps):
        raise ShapeMismatchError(
            f"{maps.name}: the shape {maps.shape} does not match {labels.name}, {labels.shape}",
            hint=f"say with --sections which {len(labels)} of the {len(maps)} sections the labels "
            "belong to, in order",
        )
    require_same_shape(maps.shape, labels.shape, (maps.name, labels.name))


def _require_partners(indices: Sequence[int], partners: Mapping[int, int], truth: str) -> None:
    """Refuse sections that have no labels."""
    if alone := [index for index in indices if index not in partners]:
        raise OptionError(
            f"sections {format_sections(alone)}: they have no labels in {truth}",
            hint=f"--sections {format_sections(tuple(partners))}",
        )


def _refuse_one_value(values: Collection[Number], name: str) -> None:
    if len(values) < 2:
        value = next(iter(values), "ignored")
        raise StackError(
            f"{name}: interior or membrane is missing, all labels are {value}",
            hint="give the labels as the second file, not the images or a mask",
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
