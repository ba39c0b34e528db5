"""Find the worst splits and merges of cells in 3D: their ids, their place, and their cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.scoring.cell_measures import add_up, find_losses
from sfseg.scoring.cell_pairs import CellPair
from sfseg.scoring.cell_table import Counts, Ids, Runs, Table, find_runs
from sfseg.scoring.overlaps import KINDS, Kind
from sfseg.scoring.places import find_meetings, make_place
from sfseg.system.sharing import Share, in_groups
from sfseg.types import AnyArray, Segments

Box = tuple[slice, slice]
"""Rows and columns."""

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
        A pixel in the middle of the place, from 0 in the stack: where the two largest parts meet in
        most pixels of a section, else between two sections. If they never meet, it is in the
        second part.
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
    pair: CellPair,
    table: Table,
    count: int,
    progress: Callable[[int], None] = lambda _: None,
    share: Share | None = None,
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
    share : Share, optional
        What reads the sections; see `sfseg.scoring.cells.score_pair`.

    Returns
    -------
    tuple of CellError
        Largest cost first.
    """
    if not count:
        return ()
    errors = [error for kind in KINDS for error in _choose(table, kind, count)]
    errors.sort(key=lambda error: (-error.cost, error.kind, error.whole))
    places = _find_places(pair, errors, progress, share)
    return tuple(
        replace(error, id=number, section=pair.numbers[z], z=pair.numbers[z] - 1, y=y, x=x)
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


class _Layer(NamedTuple):
    """A section, seen from one kind of error."""

    wholes: AnyArray
    """The ids that may have several parts, shape (Y, X)."""
    parts: AnyArray
    """The ids of the parts."""

    def mark(self, whole: int, pair: tuple[int, int], box: Box) -> Segments:
        """Mark the two parts of a whole with 1 and 2 in a box; 0 is all else."""
        wholes, parts = self.wholes[box], self.parts[box]
        marks = (parts == pair[0]) + np.int32(2) * (parts == pair[1])
        return np.where(wholes == whole, marks, 0).astype(np.int32)


class _Search:
    """The places of the errors of one kind, looked for section by section."""

    def __init__(self, errors: Sequence[CellError]) -> None:
        self._errors = errors
        self.before: _Layer | None = None
        """The section before, which `look` needs for places between two sections."""
        self.best: dict[int, _Place] = {}
        """The best place of each error so far, by its whole."""

    def look(self, layer: _Layer, runs: Runs, z: int) -> None:
        """Look for places in a section; in `runs`, the wholes take the place of the truth."""
        for error in self._errors:
            # two parts between which lies nothing but 0 meet across it; else 0 is the second part
            first, second = ([part for part in error.parts if part] + [0])[:2]
            own = runs.truth == error.whole
            if (own & ((runs.cells == first) | (runs.cells == second))).any():
                box = _find_box(runs.lengths, own, layer.wholes.shape[1])
                self._look_for(error.whole, (first, second), box, layer, z)

    def _look_for(self, whole: int, pair: tuple[int, int], box: Box, layer: _Layer, z: int) -> None:
        """Look for places of one error in the box of its whole."""
        parts = layer.mark(whole, pair, box)
        corner, width = (z, box[0].start, box[1].start), parts.shape[1]
        is_whole = (layer.wholes[box] == whole).astype(np.int32)
        places = [(2, pixels) for pixels in find_meetings(is_whole, parts).values()]
        if self.before is not None:
            before = self.before.mark(whole, pair, box)
            places.append((1, np.flatnonzero((before > 0) & (parts > 0) & (before != parts))))
        places.append((0, np.flatnonzero(parts == 2)))
        for rank, pixels in places:
            best = self.best.get(whole)
            if pixels.size and (best is None or (rank, pixels.size) > (best.rank, best.size)):
                place = make_place(pixels, width)
                zyx = (corner[0], corner[1] + place.y, corner[2] + place.x)
                self.best[whole] = _Place(rank, pixels.size, zyx)


def _find_box(lengths: Counts, own: NDArray[np.bool_], width: int) -> Box:
    """Find the box around some of the runs of a section."""
    ends = np.cumsum(lengths)
    top, left = np.divmod((ends - lengths)[own], width)
    bottom, right = np.divmod(ends[own] - 1, width)
    columns = slice(int(left.min()), int(right.max()) + 1)
    if (bottom > top).any():  # a run that goes on in the next row
        columns = slice(0, width)
    return slice(int(top.min()), int(bottom.max()) + 1), columns


def _find_places(
    pair: CellPair,
    errors: Sequence[CellError],
    progress: Callable[[int], None],
    share: Share | None,
) -> Iterator[tuple[int, int, int]]:
    """Read all sections once more, and find where the two largest parts of each error meet."""
    best: dict[tuple[Kind, int], _Place] = {}
    searched = in_groups(partial(_search_sections, pair, errors), pair.shape, share)
    for read, places in enumerate(searched, 1):
        for key, place in places.items():
            known = best.get(key)
            if known is None or (place.rank, place.size) > (known.rank, known.size):
                best[key] = place
        progress(read)
    yield from (best[error.kind, error.whole].zyx for error in errors)


def _search_sections(
    pair: CellPair, errors: Sequence[CellError], positions: range
) -> Iterator[dict[tuple[Kind, int], _Place]]:
    """Look for places in sections in a row; the one before them is read, too.

    Yields
    ------
    dict
        After each section: the best place of each error so far.
    """
    search = {kind: _Search([each for each in errors if each.kind == kind]) for kind in KINDS}
    for z in range(max(positions.start - 1, 0), positions.stop):
        section = pair.section(z)
        runs = find_runs(section.truth, section.cells)
        turned = Runs(runs.cells, runs.truth, runs.lengths)
        seen: dict[Kind, tuple[_Layer, Runs]] = {
            "split": (_Layer(section.truth, section.cells), runs),
            "merge": (_Layer(section.cells, section.truth), turned),
        }
        for kind, (layer, of_kind) in seen.items():
            if z in positions:
                search[kind].look(layer, of_kind, z)
            search[kind].before = layer
        if z in positions:
            yield {(kind, whole): at for kind in KINDS for whole, at in search[kind].best.items()}
