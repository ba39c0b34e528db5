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


class Sums(NamedTuple):
    """The three sums that V_Rand of a section is made of; see `sfseg.scoring.contingency`."""

    joint: int
    predicted: int
    true: int


class Overlaps(NamedTuple):
    """Wholes with several parts: the errors of one kind in a section.

    `parts`, `owners` and `sizes` have an element for each part, `wholes` and `costs` one for each
    whole. ``owners`` gives the position of a part's whole in `wholes`. Parts are sorted by whole.
    """

    wholes: Counts
    costs: NDArray[np.float64]
    """How much V_Rand of the section rises if this whole alone is mended."""
    owners: Counts
    parts: Counts
    sizes: Counts
    """In pixels."""


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


def find_overlaps(table: sparse.csr_array, sums: Sums, kind: Kind) -> Overlaps:
    """Find the wholes with several parts, and what each of them costs.

    Parameters
    ----------
    table : csr_array of int64
        The contingency table, with cells as rows.
    sums : Sums
        The sums of V_Rand.
    kind : str
        "merge": wholes are segments and parts are cells. "split": the other way round.

    Returns
    -------
    Overlaps
        Largest cost first.

    Notes
    -----
    Let n_k be the parts of a whole, and D = (sum n_k)^2 - sum n_k^2: the pairs of pixels in
    different parts. To cut a merged segment takes D from the sum over predicted segments. To glue
    the parts of a split cell adds D to the joint sum. In the sum over predicted segments it joins
    these pairs as well, and parts the others: with s_k the segment of part k, the sum changes by
    D - 2 sum n_k (s_k - n_k). Both changes can only raise the score.
    """
    rows = table if kind == "split" else table.T.tocsr()
    squares = rows.multiply(rows).sum(1)
    pairs = rows.sum(1) ** 2 - squares  # D of each whole
    if kind == "split":
        strangers = rows @ rows.sum(0) - squares  # sum n_k (s_k - n_k)
        mended = sums.joint + pairs, sums.predicted + pairs - 2 * strangers
    else:
        mended = np.full(pairs.shape, sums.joint), sums.predicted - pairs
    costs = rand_score(*mended, np.int64(sums.true)) - rand_score(*map(np.int64, sums))
    wholes = np.flatnonzero(pairs)
    wholes = wholes[np.argsort(-costs[wholes], kind="stable")]
    chosen = rows[wholes]
    owners = np.repeat(np.arange(len(wholes)), np.diff(chosen.indptr))
    return Overlaps(wholes, costs[wholes], owners, chosen.indices, chosen.data)
