"""Which true cells and predicted segments overlap, and what it costs that they do.

A *merge* is a segment with parts of several cells; a *split* is a cell with parts in several
segments. One is the other with the roles exchanged. So both are found in the same way, as *wholes*
that have several *parts*: in the contingency table of the section, or in its transpose.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sfseg.scoring.measures import rand_score
from sfseg.types import Segments

Counts = NDArray[np.int64]
Kind = Literal["merge", "split"]
"""A predicted segment with parts of several true cells, or a true cell in several segments."""

KINDS: tuple[Kind, ...] = ("merge", "split")


class Sums(NamedTuple):
    """The three sums that V_Rand of a section is made of; see `sfseg.scoring.contingency`."""

    joint: int
    predicted: int
    true: int

    @property
    def v_rand(self) -> float:
        """V_Rand of the section."""
        joint, predicted, true = map(np.asarray, self)
        return float(rand_score(joint, predicted, true))


class Overlap(NamedTuple):
    """A whole with several parts."""

    whole: int
    cost: float
    """How much V_Rand of the section rises if this whole alone is mended."""
    parts: Counts
    """Their numbers, the largest part first."""
    sizes: Counts
    """Their sizes in pixels."""


def count_overlaps(truth: Segments, segments: Segments) -> tuple[sparse.csr_array, Sums]:
    """Make the contingency table of a section, and the sums of its V_Rand.

    Parameters
    ----------
    truth : ndarray of int32, shape (Y, X)
        The true cells; 0 is not counted.
    segments : ndarray of int32, shape (Y, X)
        The predicted segments; 0 is a dam.

    Returns
    -------
    table : csr_array of int64, shape (cells + 1, segments + 1)
        Pixels in cell i and segment j. Row 0 and column 0 are empty.
    sums : Sums
        Those of `sfseg.scoring.contingency.tally`: each dam inside a cell is a segment of its own.
    """
    counted = truth > 0
    cells, found = truth[counted], segments[counted]
    inside = found > 0
    shape = int(truth.max()) + 1, int(segments.max()) + 1
    ones = np.ones(np.count_nonzero(inside), np.int64)
    table = sparse.csr_array((ones, (cells[inside], found[inside])), shape)
    table.sum_duplicates()
    dams = found.size - ones.size
    cell_sizes = np.bincount(cells).astype(np.int64)
    return table, Sums(
        joint=_square_sum(table.data) + dams,
        predicted=_square_sum(table.sum(0)) + dams,
        true=_square_sum(cell_sizes),
    )


def _square_sum(counts: Counts) -> int:
    return int((counts * counts).sum())


def find_overlaps(
    table: sparse.csr_array, sums: Sums, kind: Kind, smallest: float
) -> tuple[list[Overlap], NDArray[np.float64]]:
    """Find the wholes with several parts, and what each of them costs.

    Parameters
    ----------
    table : csr_array of int64
        The contingency table, with cells as rows.
    sums : Sums
        The sums of V_Rand.
    kind : str
        "merge": wholes are segments and parts are cells. "split": the other way round.
    smallest : float
        The cost from which a whole is returned as such.

    Returns
    -------
    overlaps : list of Overlap
        In the order of their numbers.
    small : ndarray of float64
        The costs of the others.

    Notes
    -----
    Let n_k be the parts of a whole, and D = (sum n_k)^2 - sum n_k^2: the pairs of pixels in
    different parts. To cut a merged segment takes D from the sum over predicted segments.

    To glue a split cell adds D to this sum and to the joint sum. Before, its parts are cut out of
    their segments s_k, which takes 2 sum n_k (s_k - n_k) from the sum over predicted segments. What
    this alone gains belongs to merges: it is not part of the cost of the split.
    """
    rows = table if kind == "split" else table.T.tocsr()
    squares = rows.multiply(rows).sum(1)
    pairs = rows.sum(1) ** 2 - squares  # D of each whole
    joint, predicted, true = map(np.asarray, sums)
    if kind == "split":
        cut_out = predicted - 2 * (rows @ rows.sum(0) - squares)
        costs = rand_score(joint + pairs, cut_out + pairs, true) - rand_score(joint, cut_out, true)
    else:
        costs = rand_score(joint, predicted - pairs, true) - rand_score(joint, predicted, true)
    is_listed = costs >= smallest
    overlaps = [_overlap(rows, whole, costs[whole]) for whole in np.flatnonzero(is_listed).tolist()]
    return overlaps, costs[(pairs > 0) & ~is_listed]


def _overlap(rows: sparse.csr_array, whole: int, cost: float) -> Overlap:
    """Take a whole out of the table."""
    own = slice(*rows.indptr[whole : whole + 2])
    parts, sizes = rows.indices[own], rows.data[own]
    order = np.argsort(-sizes, kind="stable")
    return Overlap(whole, float(cost), parts[order].astype(np.int64), sizes[order])
