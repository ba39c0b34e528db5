"""The connected components of a mask, found as runs: pixels of a row that follow each other.

There are a hundred times fewer runs than pixels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled
from sfseg.system.unions import Joined, join, name_firsts

Mask = NDArray[np.bool_]


class _Runs(NamedTuple):
    """The runs of a mask, row by row.

    Attributes
    ----------
    rows, starts, stops : ndarray of int32, shape (runs,)
        Where each is.
    components : ndarray of uint32, shape (runs,)
        The first run of its component, over the four neighbours of pixels.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    stops: NDArray[np.int32]
    components: Joined


def seed_components(seeds: NDArray[np.uint32], count: int, mask: Mask) -> int:
    """Give each component of a mask that has no seed one: all its pixels.

    Parameters
    ----------
    seeds : ndarray of uint32, shape (Y, X)
        Numbers of seeds, to which the new ones are added.
    count : int
        The largest number.
    mask : ndarray of bool, shape (Y, X)
        The components, over the four neighbours.

    Returns
    -------
    int
        The largest number now.
    """
    found = np.count_nonzero(mask[:, 0]) + np.count_nonzero(mask[:, 1:] & ~mask[:, :-1])
    rows, starts, stops = np.empty((3, found), np.int32)
    runs = _Runs(rows, starts, stops, np.arange(found, dtype=np.uint32))
    _find_runs(mask, runs)
    name_firsts(runs.components)
    return int(_add_seeds(seeds, count, runs, np.zeros(found, np.uint32)))


@compiled
def _find_runs(mask: Mask, runs: _Runs) -> None:
    """Find the runs, and join each with those in the row above that it touches."""
    rows, columns = mask.shape
    found = above = 0  # `above` is the first run of the row above that may touch the next one
    for y in range(rows):
        first, x = found, 0
        while x < columns:
            if not mask[y, x]:
                x += 1
                continue
            start = x
            while x < columns and mask[y, x]:
                x += 1
            runs.rows[found], runs.starts[found], runs.stops[found] = y, start, x
            while above < first and runs.stops[above] <= start:
                above += 1
            touched = above
            while touched < first and runs.starts[touched] < x:
                join(runs.components, np.uint32(found), np.uint32(touched))
                touched += 1
            found += 1
        above = first


@compiled
def _add_seeds(
    seeds: NDArray[np.uint32], count: int, runs: _Runs, numbers: NDArray[np.uint32]
) -> int:
    """Give a new number to each component without a seed, and write it; `numbers` are zeros."""
    has_seed = numbers > 0
    for run, component in enumerate(runs.components):
        for x in range(runs.starts[run], runs.stops[run]):
            has_seed[component] |= seeds[runs.rows[run], x] > 0
    for run, component in enumerate(runs.components):
        if has_seed[component]:
            continue
        if run == component:
            count += 1
            numbers[component] = count
        seeds[runs.rows[run], runs.starts[run] : runs.stops[run]] = numbers[component]
    return count
