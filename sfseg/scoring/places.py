"""Where two parts of a segment meet: the hole in a membrane, or the false membrane in a cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.system.kernels import compiled
from sfseg.types import Segments

Pixels = NDArray[np.int64]
Meetings = dict[tuple[int, int, int], Pixels]
"""The pixels where two parts of a whole meet, by whole and parts, the smaller number first."""

_CORNERS = np.ones((3, 3), bool)  # pixels that touch at a corner are connected


@dataclass(frozen=True, eq=False)
class Place:
    """A line where two parts meet, two pixels wide.

    Attributes
    ----------
    y, x : int
        A pixel in the middle of the line; of its longest piece, if it has several.
    box : tuple of int
        First row, first column, and those after the last ones.
    pixels : ndarray of int64
        The line, as indices into the flat section, ascending.
    """

    y: int
    x: int
    box: tuple[int, int, int, int]
    pixels: Pixels


def find_meetings(
    wholes: Segments, parts: Segments, holes: NDArray[np.bool_] | None = None
) -> Meetings:
    """Grow the parts of each whole until they fill it; find the pixels where two of them meet.

    Parameters
    ----------
    wholes : ndarray of int32, shape (Y, X)
        The segments that have several parts, and any others.
    parts : ndarray of int32, shape (Y, X)
        The parts from which to grow, 0 elsewhere. They lie within wholes.
    holes : ndarray of bool, shape (Y, X), optional
        Where the map shows no membrane. If two parts meet there, only these pixels are returned:
        thinning removes a membrane that ends in a hole.

    Returns
    -------
    Meetings
        The pixels on both sides of each line, as indices into the flat section. A pixel may be
        there several times.
    """
    grown = np.pad(parts, 1)
    _grow(np.pad(wholes, 1).reshape(-1), grown.reshape(-1), grown.shape[1])
    grown = grown[1:-1, 1:-1]
    indices = np.arange(wholes.size).reshape(wholes.shape)
    found = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        meets = (wholes[one] == wholes[other]) & (grown[one] != grown[other])
        meets &= (grown[one] > 0) & (grown[other] > 0)
        pair = np.sort([grown[one][meets], grown[other][meets]], axis=0)
        is_hole = np.ones(pair.shape[1], bool)
        if holes is not None:
            is_hole = holes[one][meets] & holes[other][meets]
        where = wholes[one][meets], *pair, is_hole
        found += [np.stack([*where, indices[side][meets]]) for side in (one, other)]
    return _group(np.concatenate(found, axis=1))


def _group(rows: Pixels) -> Meetings:
    """Group pixels by whole and parts; where some of a group are in a hole, take these.

    Parameters
    ----------
    rows : ndarray of int64, shape (5, pixels)
        Whole, two parts, whether it is in a hole, and index of each pixel.
    """
    rows = rows[:, np.lexsort(rows[2::-1])]
    starts = np.flatnonzero(np.diff(rows[:3], axis=1).any(0)) + 1
    meetings = {}
    for group in np.split(rows, starts, axis=1) if rows.size else ():
        whole, one, other = group[:3, 0].tolist()
        is_hole, pixels = group[3:]
        meetings[whole, one, other] = pixels[is_hole == is_hole.max()]
    return meetings


@compiled
def _grow(wholes: NDArray[np.int32], parts: NDArray[np.int32], stride: int) -> None:
    """Give each pixel of a whole the part that is nearest within the whole, in steps of one pixel.

    Both are flat and have a frame of zeros. `parts` is filled.
    """
    queue = np.empty(parts.size, np.int64)
    end = 0
    for i in range(parts.size):
        if parts[i] > 0:
            queue[end] = i
            end += 1
    start = 0
    while start < end:
        i = queue[start]
        start += 1
        for step in (-stride, -1, 1, stride):
            if wholes[i + step] == wholes[i] and parts[i + step] == 0:
                parts[i + step] = parts[i]
                queue[end] = i + step
                end += 1


def make_place(pixels: Pixels, width: int) -> Place:
    """Describe a line.

    Parameters
    ----------
    pixels : ndarray of int64
        Indices into the flat section, at least one; each may be there several times.
    width : int
        Columns of the section.

    Returns
    -------
    Place
        With the middle of its longest piece.
    """
    pixels = np.unique(pixels)
    rows, columns = np.divmod(pixels, width)
    top, left = int(rows.min()), int(columns.min())
    line = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), bool)
    line[rows - top, columns - left] = True
    pieces = ndimage.label(line, _CORNERS)[0]
    longest = np.argmax(np.bincount(pieces[line]))
    points = np.argwhere(pieces == longest)
    nearest = points[np.argmin(((points - points.mean(0)) ** 2).sum(1))]
    box = (top, left, top + line.shape[0], left + line.shape[1])
    return Place(top + int(nearest[0]), left + int(nearest[1]), box, pixels)
