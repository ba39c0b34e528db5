"""Count the pixels that each true cell shares with each predicted cell: a sparse table.

Ids may be any whole numbers up to 2^64 - 1. So the table has no row or column for each number, but
one entry for each pair that occurs. Neighbouring pixels of a row mostly have the same pair, and are
counted as one run.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.types import AnyArray

Ids = NDArray[np.uint64]
Counts = NDArray[np.int64]

_SMALL = 100_000
"""So many entries are collected before they are joined, however small the table is."""


class Runs(NamedTuple):
    """A section as runs of pixels with the same two ids, in the order of its rows."""

    truth: Ids
    """The true id of each run."""
    cells: Ids
    """The predicted id of each run."""
    lengths: Counts
    """The pixels of each run."""

    def paint(self, values: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Give the pixels of each run its value: an image of that shape, (Y, X)."""
        return np.repeat(values, self.lengths).reshape(shape)


class Table(NamedTuple):
    """The pairs of ids that occur, each once, sorted by the true id and then the predicted one."""

    truth: Ids
    cells: Ids
    pixels: Counts

    def select(self, chosen: NDArray[np.bool_]) -> "Table":
        """Keep some of the pairs."""
        return Table(self.truth[chosen], self.cells[chosen], self.pixels[chosen])


def find_runs(truth: AnyArray, cells: AnyArray) -> Runs:
    """Split two label images of one shape into runs.

    Parameters
    ----------
    truth, cells : ndarray of unsigned integers, shape (Y, X)
        Ids.

    Returns
    -------
    Runs
        They go on across the ends of rows.
    """
    flat = truth.reshape(-1), cells.reshape(-1)
    is_start = np.ones(truth.size, bool)
    is_start[1:] = (flat[0][1:] != flat[0][:-1]) | (flat[1][1:] != flat[1][:-1])
    starts = np.flatnonzero(is_start)
    true_ids, ids = (each[starts].astype(np.uint64) for each in flat)
    return Runs(true_ids, ids, np.diff(starts, append=truth.size))


def tabulate(truth: Ids, cells: Ids, pixels: Counts) -> Table:
    """Add up the pixels of equal pairs."""
    order = np.lexsort((cells, truth))
    truth, cells, pixels = truth[order], cells[order], pixels[order]
    is_new = np.ones(truth.size, bool)
    is_new[1:] = (truth[1:] != truth[:-1]) | (cells[1:] != cells[:-1])
    starts = np.flatnonzero(is_new)
    # `reduceat` refuses an empty array
    sums = np.add.reduceat(pixels, starts) if starts.size else pixels
    return Table(truth[starts], cells[starts], sums)


class TableSum:
    """The sum of the tables of many sections, in little more memory than the sum itself."""

    def __init__(self) -> None:
        nothing = np.zeros(0, np.uint64)
        self._tables = [Table(nothing, nothing, np.zeros(0, np.int64))]

    def add(self, table: Table) -> None:
        """Add the table of a section."""
        self._tables.append(table)
        first, *others = (each.pixels.size for each in self._tables)
        if sum(others) > max(first, _SMALL):  # joined seldom: each entry is sorted a few times
            self.total()

    def total(self) -> Table:
        """Return the sum of the tables so far."""
        if len(self._tables) > 1:
            truth, cells, pixels = map(np.concatenate, zip(*self._tables, strict=True))
            self._tables = [tabulate(truth, cells, pixels)]
        return self._tables[0]
