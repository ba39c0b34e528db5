"""The seeded watershed of a picture, as a minimum spanning forest.

A path over a picture is as high as its highest pixel. Each pixel gets a seed that it reaches over
the lowest path, as in a flood. But a flood, which takes one pixel after the other from the lowest
to the highest, jumps about in the picture and mostly waits for the memory. Here pixels are visited
row by row:

1. Each pixel drains to the lowest of its four neighbours. This divides the picture into basins:
   those of seeds, and those of low points without a seed.
2. The faces of basins without a seed are listed: the sides of pixels where they meet others.
3. Each of these basins joins the one behind its lowest face, again and again, until all have seeds
   (the algorithm of Borůvka).

All ties are broken by the place, so the labels are the same each time, to the bit.

References
----------
J. Cousty et al., 2009, Watershed cuts: minimum spanning forests and the drop of water principle,
doi:10.1109/TPAMI.2008.173.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled
from sfseg.system.unions import Joined, first_of, join, name_firsts

Levels = NDArray[np.uint16]
Basins = NDArray[np.uint32]
"""Numbers of basins: those of the seeds, then of low points without a seed."""

Places = NDArray[np.int32]
"""Indices into the flat picture."""

_LEVEL_BITS = np.uint32(16)


class _Faces(NamedTuple):
    """Where basins meet, if one of both has no seed.

    Attributes
    ----------
    keys : ndarray of uint32, shape (faces,)
        The higher level of the two pixels, then the lower one: faces are compared by it.
    ends : ndarray of uint32, shape (faces, 2)
        The two basins.
    """

    keys: NDArray[np.uint32]
    ends: Basins


def watershed(heights: NDArray[np.float32], seeds: Basins) -> Basins:
    """Give each pixel the seed that it reaches over the lowest path, over its four neighbours.

    Parameters
    ----------
    heights : ndarray of float32, shape (Y, X)
        Taken as 2^16 levels, from the lowest to the highest.
    seeds : ndarray of uint32, shape (Y, X)
        Numbers of seeds from 1, without large gaps; 0 = none.

    Returns
    -------
    ndarray of uint32, shape (Y, X)
        All 0 if there is no seed.
    """
    count = int(seeds.max())
    levels = _as_levels(heights)
    basins = seeds.copy()
    total = _number_basins(_drain(levels, seeds), basins.reshape(-1), count)
    faces = _room_for(basins.size // 2)  # mostly enough; what is not used takes no memory
    found = _list_faces(levels, basins, count, faces)
    if found > len(faces.keys):
        faces = _room_for(found)
        _list_faces(levels, basins, count, faces)
    return _join_basins(faces, found, count, total)[basins]


def _as_levels(heights: NDArray[np.float32]) -> Levels:
    low, high = heights.min(), heights.max()
    scale = np.float32((2**16 - 1) / (high - low)) if high > low else np.float32(0)
    levels: Levels = ((heights - low) * scale).astype(np.uint16)
    return levels


def _room_for(count: int) -> _Faces:
    return _Faces(np.empty(count, np.uint32), np.empty((count, 2), np.uint32))


@compiled
def _drain(levels: Levels, seeds: Basins) -> Places:
    """Return the lowest of each pixel and its neighbours, the first of the lowest ones.

    A seed drains to itself. As levels and then places only become smaller, no circle is possible.
    """
    rows, columns = levels.shape
    drains = np.empty(rows * columns, np.int32)
    for y in range(rows):
        for x in range(columns):
            here = y * columns + x
            to, lowest = here, int(levels[y, x])
            if not seeds[y, x]:
                # In the order of their places, of equal ones the first: the pixel itself is third.
                if y > 0 and levels[y - 1, x] <= lowest:
                    to, lowest = here - columns, int(levels[y - 1, x])
                if x > 0 and levels[y, x - 1] < lowest + (to == here):
                    to, lowest = here - 1, int(levels[y, x - 1])
                if x + 1 < columns and levels[y, x + 1] < lowest:
                    to, lowest = here + 1, int(levels[y, x + 1])
                if y + 1 < rows and levels[y + 1, x] < lowest:
                    to = here + columns
            drains[here] = to
    return drains


@compiled
def _number_basins(drains: Places, basins: Basins, count: int) -> int:
    """Fill the basin of each pixel; seeds are there already. Return the number of basins."""
    for place in range(len(drains)):
        end = place
        while basins[end] == 0 and drains[end] != end:
            end = drains[end]
        if basins[end] == 0:
            count += 1
            basins[end] = count
        basin, end = basins[end], place
        while basins[end] == 0:
            basins[end] = basin
            end = drains[end]
    return count


@compiled
def _list_faces(levels: Levels, basins: Basins, count: int, faces: _Faces) -> int:
    """List the faces, as far as there is room; return how many there are."""
    rows, columns = basins.shape
    found = 0
    for y in range(rows):
        for x in range(columns):
            for down in (0, 1):
                other_y, other_x = y + down, x + 1 - down
                if other_y == rows or other_x == columns:
                    continue
                here, other = basins[y, x], basins[other_y, other_x]
                if here != other and max(here, other) > count:
                    if found < len(faces.keys):
                        one, two = levels[y, x], levels[other_y, other_x]
                        faces.keys[found] = np.uint32(max(one, two)) << _LEVEL_BITS | min(one, two)
                        faces.ends[found, 0], faces.ends[found, 1] = here, other
                    found += 1
    return found


def _join_basins(faces: _Faces, left: int, count: int, total: int) -> Basins:
    """Return the seed of each basin; 0 if it reaches none. The faces are used up."""
    joined = np.arange(total + 1, dtype=np.uint32)
    while left:
        lowest = np.full(total + 1, -1)
        left = _find_lowest(faces, left, count, joined, lowest)
        _join_over(faces.ends, lowest, joined)
    name_firsts(joined)
    joined[joined > count] = 0
    return joined


@compiled
def _find_lowest(
    faces: _Faces, left: int, count: int, joined: Joined, lowest: NDArray[np.int64]
) -> int:
    """Find the lowest face of each basin without a seed. Return how many faces such ones have."""
    keys, ends = faces
    kept = 0
    for face in range(left):
        one, two = first_of(joined, ends[face, 0]), first_of(joined, ends[face, 1])
        if one == two or max(one, two) <= count:
            continue
        keys[kept], ends[kept, 0], ends[kept, 1] = keys[face], one, two
        for basin in (one, two):
            if basin > count and (lowest[basin] < 0 or keys[kept] < keys[lowest[basin]]):
                lowest[basin] = kept
        kept += 1
    return kept


@compiled
def _join_over(ends: Basins, lowest: NDArray[np.int64], joined: Joined) -> None:
    """Join each basin with the one behind its lowest face; seeds have the smallest numbers."""
    for face in lowest:
        if face >= 0:
            join(joined, ends[face, 0], ends[face, 1])
