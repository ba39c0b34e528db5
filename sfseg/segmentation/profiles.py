"""Measure the profiles of cells: what a section shows of each.

All sums are whole numbers, and each pixel and each pair of pixels counts once. So no order of
reading changes them.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.segmentation.pairs import Keys, pair_key
from sfseg.system.kernels import compiled
from sfseg.types import AnyArray, PixelSize

Sums = NDArray[np.int64]

AREA, SUM_Y, SUM_X, FIRST_Y, LAST_Y, FIRST_X, LAST_X, CROSS_Y, CROSS_X, CROSS_D = range(10)
"""Columns of `Profiles.sums`: pixels, sums and ends of their rows and columns, and the pairs of
neighbours along y, along x and along both diagonals of which only one belongs to the cell."""

COLUMNS = 10


class Profiles(NamedTuple):
    """What is measured in one section.

    Attributes
    ----------
    ids : ndarray, shape (N,)
        The cells of the section, ascending.
    places : ndarray of int32, shape (Y + 2, X + 2)
        1 + the place in `ids` of the cell of each pixel; 0 is no cell. Framed by zeros.
    sums : ndarray of int64, shape (N, COLUMNS)
        The sums of each cell.
    faces : tuple of int
        Pairs of pixels of two cells: one above the other, one beside the other.
    """

    ids: AnyArray
    places: NDArray[np.int32]
    sums: Sums
    faces: tuple[int, int]


def measure_profiles(section: AnyArray) -> Profiles:
    """Measure the profiles in a section.

    Parameters
    ----------
    section : ndarray of whole numbers, shape (Y, X)
        The number of the cell of each pixel; 0 is no cell.
    """
    ids, places = _number(section)
    framed = np.zeros((section.shape[0] + 2, section.shape[1] + 2), np.int32)
    framed[1:-1, 1:-1] = places
    sums = np.zeros((len(ids) + 1, COLUMNS), np.int64)
    sums[:, FIRST_Y], sums[:, FIRST_X] = section.shape
    faces = _sum_up(framed, sums)
    return Profiles(ids, framed, sums[1:], faces)


def _number(section: AnyArray) -> tuple[AnyArray, NDArray[np.int32]]:
    """Replace the ids of a section by their places in the list of them; 0 stays 0."""
    flat = section.ravel()
    # most pixels have the id of the one before: only the first of each run is looked up
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    ids, places = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(starts, append=flat.size)
    has_zero = ids[0] == 0
    numbers = np.repeat(places.astype(np.int32) + (not has_zero), lengths)
    return ids[int(has_zero) :], numbers.reshape(section.shape)


@compiled
def _sum_up(framed: NDArray[np.int32], sums: Sums) -> tuple[int, int]:
    """Fill the sums, and count the faces between cells."""
    faces_y = faces_x = 0
    for y in range(framed.shape[0] - 1):
        for x in range(framed.shape[1] - 1):
            here, right = framed[y, x], framed[y, x + 1]
            below, across = framed[y + 1, x], framed[y + 1, x + 1]
            if here:
                own = sums[here]
                own[AREA] += 1
                own[SUM_Y] += y - 1
                own[SUM_X] += x - 1
                own[FIRST_Y] = min(own[FIRST_Y], y - 1)
                own[LAST_Y] = max(own[LAST_Y], y - 1)
                own[FIRST_X] = min(own[FIRST_X], x - 1)
                own[LAST_X] = max(own[LAST_X], x - 1)
            if here == right and here == below and here == across:
                continue
            # the row 0 of the sums takes what belongs to no cell
            if here != below:
                sums[here, CROSS_Y] += 1
                sums[below, CROSS_Y] += 1
                faces_y += here > 0 and below > 0
            if here != right:
                sums[here, CROSS_X] += 1
                sums[right, CROSS_X] += 1
                faces_x += here > 0 and right > 0
            if here != across:
                sums[here, CROSS_D] += 1
                sums[across, CROSS_D] += 1
            if right != below:
                sums[right, CROSS_D] += 1
                sums[below, CROSS_D] += 1
    return faces_y, faces_x


def perimeter(sums: Sums, pixel_size: PixelSize = (1.0, 1.0)) -> NDArray[np.float64]:
    """Estimate the perimeter of each profile by the formula of Crofton, in four directions.

    Parameters
    ----------
    sums : ndarray of int64, shape (N, columns)
        As in `Profiles`; those of several sections may be added.
    pixel_size : tuple of float
        Length of a pixel along (y, x).

    Returns
    -------
    ndarray of float64, shape (N,)
        The perimeter, holes included, in the unit of `pixel_size`.

    Notes
    -----
    P = pi / 2 * sum_k w_k d_k n_k. A line in direction k crosses the outline n_k times, d_k is the
    distance between two lines, and w_k the share of all directions that are nearest to k. For
    square pixels this is ``skimage.measure.perimeter_crofton(directions=4)``.

    References
    ----------
    Legland, Kiêu, Devaux 2007, Image Analysis & Stereology 26:83-92, doi:10.5566/ias.v26.p83-92.
    """
    height, width = pixel_size
    diagonal = math.atan2(height, width)  # its angle to the rows
    along_x = 2 * diagonal / math.pi * height * sums[:, CROSS_X]
    along_y = (1 - 2 * diagonal / math.pi) * width * sums[:, CROSS_Y]
    along_d = 0.5 * height * width / math.hypot(height, width) * sums[:, CROSS_D]
    return np.asarray(math.pi / 4 * (along_x + along_y + along_d))


def list_contacts(profiles: Profiles, indices: Keys) -> tuple[Keys, Keys]:
    """List the faces between cells in a section.

    Parameters
    ----------
    profiles : Profiles
        The section.
    indices : ndarray of int64, shape (N,)
        A number below 2^31 for each of its cells.

    Returns
    -------
    tuple of ndarray of int64, shape (faces,)
        Between rows, and between columns. A key is smaller index * 2^32 + larger index.
    """
    keys = np.empty(profiles.faces[0], np.int64), np.empty(profiles.faces[1], np.int64)
    if sum(profiles.faces):
        _list_faces(profiles.places, np.append(-1, indices), *keys)
    return keys


@compiled
def _list_faces(framed: NDArray[np.int32], indices: Keys, keys_y: Keys, keys_x: Keys) -> None:
    """Write the keys of the faces in a section."""
    found_y = found_x = 0
    for y in range(1, framed.shape[0] - 1):
        for x in range(1, framed.shape[1] - 1):
            here, right, below = framed[y, x], framed[y, x + 1], framed[y + 1, x]
            if here > 0 and below > 0 and here != below:
                keys_y[found_y] = pair_key(indices[here], indices[below])
                found_y += 1
            if here > 0 and right > 0 and here != right:
                keys_x[found_x] = pair_key(indices[here], indices[right])
                found_x += 1


def list_contacts_between(above: Profiles, below: Profiles, indices: tuple[Keys, Keys]) -> Keys:
    """List the faces between the cells of two sections; as `list_contacts`."""
    places = above.places, below.places
    known = np.append(-1, indices[0]), np.append(-2, indices[1])
    keys = np.empty(_count_between(*places, *known), np.int64)
    _list_between(*places, *known, keys)
    return keys


@compiled
def _count_between(
    above: NDArray[np.int32], below: NDArray[np.int32], indices_above: Keys, indices_below: Keys
) -> int:
    """Count the faces between two sections."""
    count = 0
    for y in range(above.shape[0]):
        for x in range(above.shape[1]):
            a, b = above[y, x], below[y, x]
            count += a > 0 and b > 0 and indices_above[a] != indices_below[b]
    return count


@compiled
def _list_between(
    above: NDArray[np.int32],
    below: NDArray[np.int32],
    indices_above: Keys,
    indices_below: Keys,
    keys: Keys,
) -> None:
    """Write the keys of the faces between two sections."""
    found = 0
    for y in range(above.shape[0]):
        for x in range(above.shape[1]):
            a, b = above[y, x], below[y, x]
            if a > 0 and b > 0 and indices_above[a] != indices_below[b]:
                keys[found] = pair_key(indices_above[a], indices_below[b])
                found += 1
