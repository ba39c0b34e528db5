"""Variation of information and adapted Rand error, from the table of a pair of label images."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.scoring.cell_table import Ids, Table
from sfseg.types import AnyArray

Floats = NDArray[np.float64]


class Losses(NamedTuple):
    """What each pair of a table adds to the variation of information of the stack, in bits."""

    split: Floats
    """n_ij/N log(t_i/n_ij); 0 if true cell i lies in one predicted cell."""
    merge: Floats
    """n_ij/N log(s_j/n_ij); 0 if predicted cell j lies in one true cell."""


def add_up(ids: Ids, amounts: AnyArray) -> tuple[Ids, Floats, NDArray[np.intp]]:
    """Add up the amounts of each id: the ids, their sums, and the position of each id in them."""
    known, positions = np.unique(ids, return_inverse=True)
    sums = np.bincount(positions, amounts).astype(np.float64)  # exact up to 2^53 pixels
    return known, sums, positions


def find_losses(table: Table) -> Losses:
    """Find what each pair of a table adds to the variation of information."""
    total = table.pixels.sum()
    losses = []
    for ids in (table.truth, table.cells):
        _, sizes, positions = add_up(ids, table.pixels)
        # no difference of entropies: each term is above 0, and 0 exactly where nothing is lost
        losses.append(table.pixels / total * np.log2(sizes[positions] / table.pixels))
    return Losses(*losses)


def adapted_rand_error(table: Table, every: int) -> float:
    """Return 1 - F as the scripts of SNEMI3D and CREMI do; see `sfseg.score_cells`.

    Parameters
    ----------
    table : Table
        At least one pair, all in true cells.
    every : int
        All pixels of the stack, those outside true cells as well.

    Returns
    -------
    float
        From 0 to 1.
    """
    is_named = table.cells > 0
    named = table.select(is_named)
    # both scripts divide by the pixels of the stack, as if the counts were shares
    unnamed = int(table.pixels[~is_named].sum()) / every
    joint = _square_sum(named.pixels) + unnamed
    predicted = _square_sum(add_up(named.cells, named.pixels)[1]) + unnamed
    true = _square_sum(add_up(table.truth, table.pixels)[1])
    return 1 - 2 * joint / (predicted + true)


def _square_sum(sizes: AnyArray) -> float:
    """Add up squares; the order does not matter, so equal sizes give equal sums."""
    return math.fsum(np.square(sizes.astype(np.float64)).tolist())
