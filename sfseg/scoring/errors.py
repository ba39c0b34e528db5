"""Find where a membrane map is wrong: each merge and split, its place, and its cost in V_Rand."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.scoring.measures import rand_score
from sfseg.scoring.overlaps import Kind, Overlaps, count_overlaps, find_overlaps
from sfseg.scoring.places import Place, find_meetings, make_place
from sfseg.scoring.score import as_stacks, default_workers, score_known, split_ignored
from sfseg.scoring.thinning import Thinner
from sfseg.scoring.thresholds import as_probability
from sfseg.types import AnyArray, Number, Progress, Segments

SMALLEST_COST = 1e-3
"""Errors that cost a section less V_Rand than this are only counted."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A merge or a split of cells.

    Attributes
    ----------
    id : int
        From 1; 1 costs most.
    kind : str
        "merge": one predicted segment covers several true cells. "split": one true cell lies in
        several predicted segments.
    section : int
        Number of the section.
    segments, cells : tuple of int
        Numbers of the predicted segments and the true cells, within this section. Those with the
        largest part first. Parts that matter little are left out.
    cost : float
        How much V_Rand of the stack rises if this error alone is mended.
    size_px : int
        Pixels of all parts but the largest.
    places : tuple of Place
        Where two parts meet; the pair with the largest parts first.
    """

    id: int
    kind: Kind
    section: int
    segments: tuple[int, ...]
    cells: tuple[int, ...]
    cost: float
    size_px: int
    places: tuple[Place, ...] = field(repr=False)

    @property
    def y(self) -> int:
        """Row of the main place, from 0."""
        return self.places[0].y

    @property
    def x(self) -> int:
        """Column of the main place, from 0."""
        return self.places[0].x

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First row and column of all places, and those after the last ones."""
        corners = np.array([place.box for place in self.places])
        top, left = corners[:, :2].min(0).tolist()
        bottom, right = corners[:, 2:].max(0).tolist()
        return top, left, bottom, right

    @property
    def pixels(self) -> NDArray[np.int64]:
        """All places, as indices into the flat section, ascending."""
        return np.unique(np.concatenate([place.pixels for place in self.places]))

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, in the order of the JSON output."""
        return {
            "id": self.id,
            "kind": self.kind,
            "section": self.section,
            "y": self.y,
            "x": self.x,
            "cost": self.cost,
            "pixels": self.size_px,
            "segments": list(self.segments),
            "cells": list(self.cells),
        }


class SmallErrors(NamedTuple):
    """Errors that cost so little that they are only counted, such as a membrane that is shifted."""

    count: int
    cost: float
    """The sum of what each of them costs alone."""


@dataclass(frozen=True)
class Errors:
    """All errors of a map at one threshold; see `find_errors`.

    Attributes
    ----------
    threshold : float
        The threshold at which the map is cut.
    v_rand : float
        V_Rand of the stack there: the mean over its sections.
    listed : tuple of Mistake
        The errors, largest cost first.
    small_by_section : tuple of SmallErrors
        The errors that are not listed, of each section.
    numbers : tuple of int
        The numbers of the sections.
    """

    threshold: float
    v_rand: float
    listed: tuple[Mistake, ...]
    small_by_section: tuple[SmallErrors, ...] = field(repr=False)
    numbers: tuple[int, ...] = field(repr=False)

    @property
    def small(self) -> SmallErrors:
        """The errors of all sections that are not listed."""
        counts, costs = zip(*self.small_by_section, strict=True)
        return SmallErrors(sum(counts), sum(costs))


@dataclass(frozen=True, eq=False)
class SectionErrors:
    """The errors of one section, and what they are found in.

    Attributes
    ----------
    section : int
        Its number.
    truth, segments : ndarray of int32, shape (Y, X)
        True cells and predicted segments as they are scored, from 1; 0 is membrane, or a line
        between segments, or not known.
    errors : tuple of Mistake
        Largest cost first.
    small : SmallErrors
        The errors that are not listed.
    """

    section: int
    truth: Segments
    segments: Segments
    errors: tuple[Mistake, ...]
    small: SmallErrors


def find_errors(
    prediction: AnyArray,
    labels: AnyArray,
    *,
    threshold: float | None = None,
    ignore: Number | None = None,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    progress: Progress = lambda *_: None,
) -> Errors:
    """Find each merge and split of a membrane map, where it is, and what it costs.

    Parameters
    ----------
    prediction, labels, ignore, workers, names
        As for `sfseg.score`.
    threshold : float, optional
        Where to cut the map; default is the `v_rand_threshold` of `sfseg.score`.
    progress : callable
        Called with the number of sections searched and that of all, at the start and after each.

    Returns
    -------
    Errors
        See Notes.

    Raises
    ------
    ShapeMismatchError, StackError, NonFiniteError
        As `sfseg.score` does.
    """
    labels, known = split_ignored(labels, ignore, names[1])
    scores = score_known(prediction, labels, known, workers=workers, names=names)
    return find_known_errors(
        prediction,
        labels,
        known,
        scores.v_rand_threshold if threshold is None else threshold,
        workers=workers,
        progress=progress,
    )


def find_known_errors(
    prediction: AnyArray,
    labels: AnyArray,
    known: AnyArray | None,
    threshold: float,
    *,
    workers: int | None = None,
    numbers: Sequence[int] | None = None,
    progress: Progress = lambda *_: None,
) -> Errors:
    """Find the errors of a map that has been scored; see `find_errors`.

    Parameters
    ----------
    prediction, labels, known
        As for `sfseg.scoring.score.score_known`.
    threshold : float
        Where to cut the map.
    workers, numbers, progress
        As for `find_errors` and `sfseg.score`.
    """
    pairs = _Pairs(prediction, labels, known, threshold)
    numbers = tuple(numbers or range(1, len(pairs) + 1))
    found: list[_Found] = []
    progress(0, len(pairs))
    with ThreadPoolExecutor(workers or default_workers()) as pool:
        for each in pool.map(
            lambda number, i: _search(*pairs[i], number), numbers, range(len(pairs))
        ):
            found.append(each)
            progress(len(found), len(pairs))
    listed = [
        replace(mistake, cost=mistake.cost / len(pairs))
        for mistake in chain.from_iterable(each.mistakes for each in found)
    ]
    listed.sort(key=lambda mistake: (-mistake.cost, mistake.section, mistake.y, mistake.x))
    return Errors(
        threshold,
        float(np.mean([each.v_rand for each in found])),
        tuple(replace(mistake, id=i) for i, mistake in enumerate(listed, 1)),
        tuple(SmallErrors(each.small.count, each.small.cost / len(pairs)) for each in found),
        numbers,
    )


def iterate_sections(
    prediction: AnyArray, labels: AnyArray, known: AnyArray | None, errors: Errors
) -> Iterator[SectionErrors]:
    """Yield for each section its errors, and the cells and segments that they are found in.

    Parameters
    ----------
    prediction, labels, known
        Those in which the errors were found.
    errors : Errors
        What was found.
    """
    pairs = _Pairs(prediction, labels, known, errors.threshold)
    for i, (number, small) in enumerate(zip(errors.numbers, errors.small_by_section, strict=True)):
        own = tuple(mistake for mistake in errors.listed if mistake.section == number)
        yield SectionErrors(number, *pairs[i], own, small)


class _Pairs:
    """True cells and predicted segments of each section, made when asked for."""

    def __init__(
        self, prediction: AnyArray, labels: AnyArray, known: AnyArray | None, threshold: float
    ) -> None:
        self._pair = as_stacks(prediction, labels, ("prediction", "labels"))
        self._threshold = threshold
        self._known = None if known is None else known.reshape(self._pair[0].shape)

    def __len__(self) -> int:
        return len(self._pair[0])

    def __getitem__(self, index: int) -> tuple[Segments, Segments]:
        prediction, labels = (array[index] for array in self._pair)
        known = None if self._known is None else self._known[index]
        return (
            _segment(labels, self._threshold, known, Thinner.components),
            _segment(as_probability(prediction), self._threshold, known, Thinner.thinned),
        )


def _segment(
    values: AnyArray,
    threshold: float,
    known: AnyArray | None,
    method: Callable[[Thinner, int], object],
) -> Segments:
    """Number the cells above a threshold, as `sfseg.score` does."""
    inside = values.astype(np.float64) > threshold  # the thresholds are float64, too
    thinner = Thinner((inside if known is None else inside & known).astype(np.uint8))
    method(thinner, 0)
    segments = np.maximum(thinner.section(), 0)  # in the truth, membrane is negative
    return segments if known is None else segments * known


class _Found(NamedTuple):
    """What is found in a section; costs are those of its own V_Rand."""

    v_rand: float
    mistakes: list[Mistake]
    small: SmallErrors


def _search(truth: Segments, segments: Segments, number: int) -> _Found:
    """Find the errors of one section."""
    table, sums = count_overlaps(truth, segments)
    mistakes, count, cost = [], 0, 0.0
    kinds: tuple[tuple[Kind, Segments, Segments], ...] = (
        ("merge", segments, truth),
        ("split", truth, segments),
    )
    for kind, wholes, parts in kinds:
        overlaps = find_overlaps(table, sums, kind)
        is_large = overlaps.costs >= SMALLEST_COST
        count += int((~is_large).sum())
        cost += float(overlaps.costs[~is_large].sum())
        mistakes += _locate(overlaps, wholes, parts, kind, number)
    return _Found(float(rand_score(*map(np.int64, sums))), mistakes, SmallErrors(count, cost))


def _locate(
    overlaps: Overlaps, wholes: Segments, parts: Segments, kind: Kind, number: int
) -> list[Mistake]:
    """Describe the wholes that cost enough: their parts that matter, and where these meet."""
    count = int((overlaps.costs >= SMALLEST_COST).sum())  # the first ones, as they are sorted
    own = overlaps.owners < count
    owners, numbers, sizes = overlaps.owners[own], overlaps.parts[own], overlaps.sizes[own]
    matters = _find_large_parts(owners, sizes, overlaps.costs[:count])
    seeds = _select(wholes, parts, overlaps.wholes[:count], owners[matters], numbers[matters])
    is_listed = np.isin(wholes, overlaps.wholes[:count])
    meetings = find_meetings(np.where(is_listed, wholes, 0), seeds)
    mistakes = []
    for position in range(count):
        whole = int(overlaps.wholes[position])
        mine = owners == position
        order = np.argsort(-sizes[mine & matters], kind="stable")
        inside = numbers[mine & matters][order]
        size_of = dict(zip(inside.tolist(), sizes[mine & matters][order].tolist(), strict=True))
        places = _find_places(meetings, whole, size_of, wholes.shape[1])
        segments, cells = ((whole,), tuple(size_of))[:: 1 if kind == "merge" else -1]
        size_px = int(sizes[mine].sum() - sizes[mine].max())
        mistakes.append(
            Mistake(
                0, kind, number, segments, cells, float(overlaps.costs[position]), size_px, places
            )
        )
    return mistakes


def _find_large_parts(owners, sizes, costs) -> NDArray[np.bool_]:
    """Choose the parts that matter: with a share of the cost that would be listed; at least two."""
    totals = np.bincount(owners, sizes)
    pairs = np.bincount(owners, sizes * (totals[owners] - sizes))
    shares = 2 * sizes * (totals[owners] - sizes) / pairs[owners] * costs[owners]
    # the two largest parts of each whole, whatever they cost
    order = np.lexsort((-sizes, owners))
    starts = np.searchsorted(owners[order], np.arange(len(costs)))
    large = shares >= SMALLEST_COST
    large[order[starts]] = large[order[starts + 1]] = True
    return large


def _select(wholes, parts, listed, owners, numbers) -> Segments:
    """Return the image of some parts of some wholes, 0 elsewhere."""
    width = int(parts.max()) + 1
    keys = np.sort(listed[owners] * width + numbers)
    pixels = wholes.astype(np.int64) * width + parts
    if len(keys) == 0:
        return np.zeros_like(parts)
    at = np.minimum(np.searchsorted(keys, pixels), len(keys) - 1)
    return np.where(keys[at] == pixels, parts, 0)


def _find_places(meetings, whole, sizes, width) -> tuple[Place, ...]:
    """Find where each pair of parts meets, the pair with the largest parts first."""
    mine = meetings.wholes == whole
    pairs = np.stack([meetings.first[mine], meetings.second[mine]], 1)
    pixels = meetings.pixels[mine]
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)

    def weight(k):
        a, b = unique[k].tolist()
        return -sizes[a] * sizes[b]

    return tuple(
        make_place(pixels[inverse == k], width) for k in sorted(range(len(unique)), key=weight)
    )
