"""Find the merges and splits of one section: who is involved, where, and what it costs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sfseg.scoring.overlaps import KINDS, Kind, Overlap, count_overlaps, find_overlaps
from sfseg.scoring.pair import Cut
from sfseg.scoring.places import Meetings, Pixels, Place, find_meetings, make_place
from sfseg.types import Segments

LISTED_COST_PX = 100
"""An error is listed if its cost, as a part of the pixels of its section, is that of so many.

So the same error is listed whether it is scored in a large section or in a crop. In a section of
512x512 this is 0.0005 of V_Rand. Of the map of the shipped weights on ISBI 2012, sections 1-24,
these are 5 errors a section. They make up 83 % of the cost of all, and 98 % of them have a part of
at least 50 pixels. Below, more and more are strips along a membrane that is shifted by a pixel.
"""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A merge or a split of cells; the cost is explained at `sfseg.find_errors`.

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
        Numbers of the predicted segments and the true cells, within this section; those with the
        largest part first. Parts that would not be listed if they were alone are left out.
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
    def pixels(self) -> Pixels:
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


@dataclass(frozen=True)
class SmallErrors:
    """Errors that cost so little that they are only counted.

    Attributes
    ----------
    count : int
        How many there are.
    cost : float
        The sum of what each of them costs alone.
    """

    count: int
    cost: float


class Found(NamedTuple):
    """What is found in a section; a cost is the rise of V_Rand of this section."""

    v_rand: float
    mistakes: list[Mistake]
    small: SmallErrors


def find_mistakes(cut: Cut, number: int) -> Found:
    """Find the errors of a section.

    Parameters
    ----------
    cut : Cut
        True cells and predicted segments. At least one pixel is in a cell.
    number : int
        Number of the section.

    Returns
    -------
    Found
        Errors of any order, with 0 as their id.
    """
    truth, segments, inside = cut
    table, sums = count_overlaps(truth, segments)
    smallest = LISTED_COST_PX / np.count_nonzero(truth)
    mistakes: list[Mistake] = []
    small_costs: list[float] = []
    for kind in KINDS:
        overlaps, small = find_overlaps(table, sums, kind, smallest)
        small_costs += small.tolist()
        large = {overlap.whole: _large_parts(overlap, smallest) for overlap in overlaps}
        if kind == "merge":
            meetings = find_meetings(segments, _select(large, segments, truth), inside)
        else:
            meetings = find_meetings(truth, _select(large, truth, segments))
        for overlap in overlaps:
            own = large[overlap.whole]
            sides = (overlap.whole,), tuple(own)
            segment_ids, cell_ids = sides if kind == "merge" else sides[::-1]
            size_px = int(overlap.sizes[1:].sum())
            places = _make_places(overlap.whole, own, meetings, truth.shape[1])
            mistakes.append(
                Mistake(0, kind, number, segment_ids, cell_ids, overlap.cost, size_px, places)
            )
    return Found(sums.v_rand, mistakes, SmallErrors(len(small_costs), sum(small_costs)))


def _large_parts(overlap: Overlap, smallest: float) -> dict[int, int]:
    """Choose the parts whose own share of the cost would be listed, at least two: their sizes."""
    pairs = overlap.sizes * (overlap.sizes.sum() - overlap.sizes)  # with pixels of other parts
    shares = 2 * pairs / pairs.sum() * overlap.cost  # with two parts, the cost is that of each
    count = max(int(np.count_nonzero(shares >= smallest)), 2)
    chosen = zip(overlap.parts[:count].tolist(), overlap.sizes[:count].tolist(), strict=True)
    return dict(chosen)


def _select(large: Mapping[int, Iterable[int]], wholes: Segments, parts: Segments) -> Segments:
    """Return the image of the chosen parts of each whole; 0 elsewhere."""
    width = int(parts.max()) + 1
    chosen = [whole * width + part for whole, own in large.items() for part in own]
    pixels = wholes.astype(np.int64) * width + parts  # whole and part as one number
    return np.where(np.isin(pixels, chosen), parts, 0)


def _make_places(
    whole: int, sizes: Mapping[int, int], meetings: Meetings, width: int
) -> tuple[Place, ...]:
    """Describe where two parts of a whole meet; the pair with the largest parts first."""
    pairs = [(one, other) for owner, one, other in meetings if owner == whole]
    pairs.sort(key=lambda pair: -sizes[pair[0]] * sizes[pair[1]])
    return tuple(make_place(meetings[whole, *pair], width) for pair in pairs)
