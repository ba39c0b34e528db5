"""Count the sections of a pair of cells and truth: their tables, and whether ids go on along z."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfseg.scoring.cell_pairs import CellPair, Labelled, find_borders
from sfseg.scoring.cell_table import Table, TableSum, find_runs, tabulate
from sfseg.types import AnyArray, PixelSize

_MASK_IDS, _MASK_PARTS = {1, 255, 65535}, 3
"""One of these as the only id, with as many parts in each section, is the inside of many cells."""


@dataclass
class Continuity:
    """How often a pixel in a cell has the same id as the pixel above it, in the next section."""

    same: int = 0
    pixels: int = 0

    def add(self, before: AnyArray, section: AnyArray) -> None:
        """Count the pixels that are in a cell in both sections."""
        both = (before > 0) & (section > 0)
        self.pixels += int(np.count_nonzero(both))
        self.same += int(np.count_nonzero(both & (before == section)))

    @property
    def share(self) -> float:
        """The share of pixels with the same id; 1 if there is no section above another."""
        return self.same / self.pixels if self.pixels else 1.0


@dataclass(frozen=True)
class Counted:
    """What is counted in one section.

    Attributes
    ----------
    number : int
        That of the section.
    whole : Table
        Its pairs, without pixels outside true cells.
    inner : Table or None
        The same without pixels near a border; None without a tolerance.
    first_ids : tuple of int
        Its true ids, at most two.
    parts : int
        Of its true cells, if it has a single id; else 0.
    continuity : tuple of Continuity
        From the section before it: of the cells, and of the truth.
    has_unknown : bool
        Whether a pixel had the value to ignore.
    """

    number: int
    whole: Table
    inner: Table | None
    first_ids: tuple[int, ...]
    parts: int
    continuity: tuple[Continuity, Continuity]
    has_unknown: bool


Tolerance = tuple[float, PixelSize]
"""Width of borders in nm, and size of a pixel in nm."""


def count_sections(
    pair: CellPair, tolerance: Tolerance | None, positions: range
) -> Iterator[Counted]:
    """Count sections in a row, in the memory of two of them.

    Parameters
    ----------
    pair : CellPair
        The cells and the truth.
    tolerance : tuple, optional
        See `Tolerance`.
    positions : range
        Which sections, from 0. The one before them is read, too.
    """
    first, numbers = positions.start, pair.numbers
    before = pair.section(first - 1) if first else None
    for position in positions:
        section = pair.section(position)
        is_next = before is not None and numbers[position - 1] == numbers[position] - 1
        yield _count(section, before if is_next else None, numbers[position], tolerance)
        before = section


def _count(
    section: Labelled, before: Labelled | None, number: int, tolerance: Tolerance | None
) -> Counted:
    """Count a section, and how it goes on from the one before it."""
    inner = None
    if tolerance:
        near = find_borders(section.truth, *tolerance)
        inner = _tabulate(np.where(near, 0, section.truth), section.cells)
    of_cells, of_truth = Continuity(), Continuity()
    if before is not None:
        of_cells.add(before.cells, section.cells)
        of_truth.add(before.truth, section.truth)
    whole = _tabulate(section.truth, section.cells)
    first_ids = tuple(np.unique(whole.truth)[:2].tolist())
    parts = ndimage.label(section.truth > 0)[1] if len(first_ids) == 1 else 0
    has_unknown = section.unknown is not None
    return Counted(number, whole, inner, first_ids, parts, (of_cells, of_truth), has_unknown)


class Tally:
    """The sums over all sections, in the memory of the tables."""

    def __init__(self) -> None:
        self.continuity = Continuity(), Continuity()
        """Of the cells, and of the truth."""
        self.empty: list[int] = []
        """The numbers of the sections without true cells."""
        self.has_unknown = False
        """Whether a pixel had the value to ignore."""
        self._parts: list[int] = []  # of the true id in each section, while there is only one
        self._first_ids: set[int] = set()
        self._whole, self._inner = TableSum(), TableSum()

    def add(self, section: Counted) -> None:
        """Add a section; they come in their order."""
        self._whole.add(section.whole)
        if section.inner is not None:
            self._inner.add(section.inner)
        self._first_ids |= set(section.first_ids)
        if len(self._first_ids) == 1:
            self._parts.append(section.parts)
        if not section.whole.pixels.size:
            self.empty.append(section.number)
        for own, other in zip(self.continuity, section.continuity, strict=True):
            own.same += other.same
            own.pixels += other.pixels
        self.has_unknown |= section.has_unknown

    @property
    def is_mask(self) -> bool:
        """Whether the truth has one id, that of a mask, which is in many places of a section."""
        is_single = len(self._first_ids) == 1 and self._first_ids <= _MASK_IDS
        return is_single and sum(self._parts) >= _MASK_PARTS * len(self._parts)

    def whole(self) -> Table:
        """Return the table of all sections."""
        return self._whole.total()

    def inner(self) -> Table:
        """Return the table of the pixels that are not near a border."""
        return self._inner.total()


def _tabulate(truth: AnyArray, cells: AnyArray) -> Table:
    """Make the table of a section, without pixels outside true cells."""
    runs = find_runs(truth, cells)
    counted = runs.truth > 0
    return tabulate(runs.truth[counted], runs.cells[counted], runs.lengths[counted])
