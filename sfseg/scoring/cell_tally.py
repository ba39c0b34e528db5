"""Count the sections of a pair of cells and truth: their tables, and whether ids go on along z."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfseg.scoring.cell_pairs import Labelled, find_borders
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


class Tally:
    """The tables of all sections, in the memory of two sections and the tables.

    Parameters
    ----------
    tolerance : tuple, optional
        Width of borders in nm, and size of a pixel in nm.
    """

    def __init__(self, tolerance: tuple[float, PixelSize] | None = None) -> None:
        self.continuity = Continuity(), Continuity()
        """Of the cells, and of the truth."""
        self.empty: list[int] = []
        """The numbers of the sections without true cells."""
        self.has_unknown = False
        """Whether a pixel had the value to ignore."""
        self._parts: list[int] = []  # of the true id in each section, while there is only one
        self._first_ids: set[int] = set()
        self._whole, self._inner = TableSum(), TableSum()
        self._tolerance = tolerance
        self._before: tuple[int, Labelled] | None = None

    def add(self, section: Labelled, number: int) -> Table:
        """Count a section; return its table, without pixels outside true cells."""
        table = _tabulate(section.truth, section.cells)
        self._whole.add(table)
        if self._tolerance:
            near = find_borders(section.truth, *self._tolerance)
            self._inner.add(_tabulate(np.where(near, 0, section.truth), section.cells))
        self._count_parts(table, section.truth)
        if not table.pixels.size:
            self.empty.append(number)
        if self._before and self._before[0] == number - 1:
            before = self._before[1]
            self.continuity[0].add(before.cells, section.cells)
            self.continuity[1].add(before.truth, section.truth)
        self.has_unknown |= section.unknown is not None
        self._before = number, section
        return table

    def _count_parts(self, table: Table, truth: AnyArray) -> None:
        """Count the parts of the first true id, until there is another one."""
        if len(self._first_ids) < 2:
            self._first_ids |= set(np.unique(table.truth)[:2].tolist())
        if len(self._first_ids) == 1:
            self._parts.append(ndimage.label(truth > 0)[1])

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
