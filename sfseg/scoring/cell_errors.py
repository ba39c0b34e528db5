"""Find the worst splits and merges of cells in 3D: their ids, their place, and their cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfseg.scoring.cell_measures import add_up, find_losses
from sfseg.scoring.cell_pairs import CellPair
from sfseg.scoring.cell_table import Counts, Ids, Table, find_runs
from sfseg.scoring.overlaps import KINDS, Kind
from sfseg.scoring.places import find_meetings, make_place
from sfseg.types import Segments

_MOST_PARTS = 10


@dataclass(frozen=True)
class CellError:
    """A split or a merge of cells; the cost is explained at `sfseg.score_cells`.

    Attributes
    ----------
    id : int
        From 1; 1 costs most.
    kind : str
        "split": one true cell lies in several predicted cells. "merge": one predicted cell covers
        several true cells.
    cost : float
        What it adds to the variation of information, in bits.
    true_ids, ids : tuple of int
        The true and the predicted ids; at most 10, the largest part first. A predicted 0 is no
        cell.
    part_count : int
        Number of all parts.
    pixels : int
        Pixels of all parts but the largest.
    section : int
        Number of the section of the place.
    z, y, x : int
        A pixel in the middle of the place, from 0 in what was scored: where the two largest parts
        meet in most pixels of a section, else between two sections. If they never meet, it is in
        the second part.
    """

    id: int
    kind: Kind
    cost: float
    true_ids: tuple[int, ...]
    ids: tuple[int, ...]
    part_count: int
    pixels: int
    section: int = 0
    z: int = 0
    y: int = 0
    x: int = 0

    @property
    def whole(self) -> int:
        """The true cell that is split, or the predicted cell that is a merge."""
        return (self.true_ids if self.kind == "split" else self.ids)[0]

    @property
    def parts(self) -> tuple[int, ...]:
        """The predicted cells of a split, or the true cells of a merge."""
        return self.ids if self.kind == "split" else self.true_ids


def find_worst(
    pair: CellPair, table: Table, count: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[CellError, ...]:
    """Find the splits and merges that cost most.

    Parameters
    ----------
    pair : CellPair
        The cells and the truth, which are read once more.
    table : Table
        Their table, without pixels outside true cells.
    count : int
        How many of each kind to find.
    progress : callable
        Called with the number of sections read, after each.

    Returns
    -------
    tuple of CellError
        Largest cost first.
    """
    if not count:
        return ()
    errors = [error for kind in KINDS for error in _choose(table, kind, count)]
    errors.sort(key=lambda error: (-error.cost, error.kind, error.whole))
    places = _find_places(pair, errors, progress)
    return tuple(
        replace(error, id=number, section=pair.numbers[z], z=z, y=y, x=x)
        for number, (error, (z, y, x)) in enumerate(zip(errors, places, strict=True), 1)
    )


def _choose(table: Table, kind: Kind, count: int) -> Iterator[CellError]:
    """Choose the wholes that cost most; the predicted 0 is no cell that could be a merge."""
    losses = find_losses(table)
    wholes, parts, loss = (
        (table.truth, table.cells, losses.split)
        if kind == "split"
        else (table.cells, table.truth, losses.merge)
    )
    known, costs, _ = add_up(wholes, loss)
    costs = np.where(known > 0, costs, 0)
    for place in np.lexsort((known, -costs))[:count]:
        if costs[place] > 0:
            own = wholes == known[place]
            ids, pixels = _largest_first(parts[own], table.pixels[own])
            whole = (int(known[place]),)
            true_ids, cell_ids = (whole, ids) if kind == "split" else (ids, whole)
            cost, smaller = float(costs[place]), int(pixels[1:].sum())
            yield CellError(0, kind, cost, true_ids, cell_ids, pixels.size, smaller)


def _largest_first(parts: Ids, pixels: Counts) -> tuple[tuple[int, ...], Counts]:
    """Sort parts by their size; name the largest of them."""
    order = np.argsort(-pixels, kind="stable")
    return tuple(parts[order][:_MOST_PARTS].tolist()), pixels[order]


@dataclass(frozen=True)
class _Place:
    """The best place of an error so far."""

    rank: int
    """2: its parts meet in a section, 1: between two sections, 0: only the second is here."""
    size: int
    """In pixels; the larger one of two places of a rank is better."""
    zyx: tuple[int, int, int]


class _Search:
    """The places of the errors of one kind, looked for section by section."""

    def __init__(self, errors: Sequence[CellError]) -> None:
        self._errors = sorted(errors, key=lambda error: error.whole)
        self._wholes = np.array([error.whole for error in self._errors], np.uint64)
        # two parts between which lies nothing but 0 meet across it; else 0 is the second part
        pairs = [([part for part in error.parts if part] + [0])[:2] for error in self._errors]
        self._pairs = np.array(pairs, np.uint64).reshape(-1, 2)
        self._before: Segments | None = None
        self._best: dict[int, _Place] = {}

    def places(self) -> dict[int, tuple[int, int, int]]:
        """Return the place of each error, (z, y, x), by its whole."""
        return {self._errors[index].whole: place.zyx for index, place in self._best.items()}

    def look(
        self, wholes: Ids, parts: Ids, lengths: Counts, z: int, shape: tuple[int, ...]
    ) -> None:
        """Look for places in a section, given as runs."""
        marked = self._mark(wholes, parts)
        if marked is None:
            self._before = None
            return
        whole_image, now = (np.repeat(each, lengths).reshape(shape) for each in marked)
        for (whole, _, _), pixels in find_meetings(whole_image, now).items():
            self._consider(whole - 1, 2, pixels, z, shape[1])
        if self._before is not None:
            differ = (self._before > 0) & (now > 0) & (now != self._before)
            differ &= (now + 1) // 2 == (self._before + 1) // 2
            self._consider_each(np.where(differ, now, 0), 1, z)
        self._consider_each(np.where(now % 2 == 0, now, 0), 0, z)
        self._before = now

    def _mark(self, wholes: Ids, parts: Ids) -> tuple[Segments, Segments] | None:
        """Mark whole n, from 1, with n, and its parts with 2n - 1 and 2n; 0 is all else."""
        if not self._errors:
            return None
        index = np.minimum(np.searchsorted(self._wholes, wholes), len(self._errors) - 1)
        is_whole = self._wholes[index] == wholes
        first, second = (self._pairs[index, side] == parts for side in (0, 1))
        numbers = np.where(is_whole, index + 1, 0).astype(np.int32)
        marks = np.where(first, 2 * numbers - 1, np.where(second, 2 * numbers, 0)) * is_whole
        return (numbers, marks.astype(np.int32)) if marks.any() else None

    def _consider_each(self, marks: Segments, rank: int, z: int) -> None:
        """Consider the pixels of each whole; `marks` are those of their parts, 0 elsewhere."""
        pixels = np.flatnonzero(marks)
        owners = (marks.reshape(-1)[pixels] - 1) // 2
        for index in np.unique(owners).tolist():
            self._consider(index, rank, pixels[owners == index], z, marks.shape[1])

    def _consider(self, index: int, rank: int, pixels: Counts, z: int, width: int) -> None:
        """Take a place if it is better than the best one so far."""
        best = self._best.get(index)
        if best is None or (rank, pixels.size) > (best.rank, best.size):
            place = make_place(pixels, width)
            self._best[index] = _Place(rank, pixels.size, (z, place.y, place.x))


def _find_places(
    pair: CellPair, errors: Sequence[CellError], progress: Callable[[int], None]
) -> Iterator[tuple[int, int, int]]:
    """Read all sections once more, and find where the two largest parts of each error meet."""
    search = {kind: _Search([each for each in errors if each.kind == kind]) for kind in KINDS}
    for z, section in enumerate(pair):
        truth, cells, lengths = find_runs(section.truth, section.cells)
        search["split"].look(truth, cells, lengths, z, section.truth.shape)
        search["merge"].look(cells, truth, lengths, z, section.truth.shape)
        progress(z + 1)
    places = {kind: each.places() for kind, each in search.items()}
    yield from (places[error.kind][error.whole] for error in errors)
