"""Border thinning: grow the segments of a section until only one-pixel lines separate them.

The reference is the evaluation script of the ISBI 2012 challenge, which floods the border with the
watershed of Vincent & Soille. The last digits of its scores depend on the order in which it visits
the pixels: x outer, y inner. So the kernels get a section that is

* transposed, (X, Y), so that this is the order in memory;
* framed by `OUTSIDE` pixels, (X + 2, Y + 2), so that no neighbour needs a bounds check;
* flat, ((X + 2) * (Y + 2),), int32. The neighbours of pixel i are i - stride (left), i - 1 (up),
  i + stride (right) and i + 1 (down), with stride = Y + 2.
"""

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled
from sfseg.system.unions import join
from sfseg.types import AnyArray, Segments

DAM, UNVISITED, QUEUED, OUTSIDE = 0, -1, -2, -3  # the states of a pixel in no segment


class Thinner:
    """Find the segments of one section above any threshold, with and without border thinning.

    Parameters
    ----------
    levels : ndarray of uint8, shape (Y, X)
        A pixel is in the interior at threshold t if its level is above t.

    Notes
    -----
    `components` and `thinned` return the same array: the next call overwrites it.
    """

    def __init__(self, levels: NDArray[np.uint8]) -> None:
        rows, columns = levels.shape
        self._stride = rows + 2
        self._levels = np.pad(levels.T, 1).reshape(-1)
        framed = np.full((columns + 2, rows + 2), OUTSIDE, np.int32)
        self._inner = framed[1:-1, 1:-1]  # a view without the frame
        self._inner[:] = UNVISITED
        self._flat = framed.reshape(-1)  # a view, too
        # at most every second pixel starts a component, as on a chessboard; label 0 is not used
        self._parents = np.empty(rows * columns // 2 + 2, np.int32)
        self._queue = np.empty(rows * columns, np.int32)

    def components(self, threshold: int) -> tuple[NDArray[np.int32], int]:
        """Find the 4-connected components of the interior, numbered in scan order.

        Parameters
        ----------
        threshold : int
            Levels above it are interior.

        Returns
        -------
        segments : ndarray of int32, shape ((X + 2) * (Y + 2),)
            From 1; the border is negative.
        count : int
            The number of components.
        """
        found = _label(self._levels, threshold, self._flat, self._stride, self._parents)
        count = _renumber(self._flat, self._parents, found)
        return self._flat, count

    def thinned(self, threshold: int) -> tuple[NDArray[np.int32], int]:
        """Grow the components into the border until they meet; see `thin_borders`.

        Parameters
        ----------
        threshold : int
            Levels above it are interior.

        Returns
        -------
        segments : ndarray of int32, shape ((X + 2) * (Y + 2),)
            From 1; dams are 0, the frame is negative.
        count : int
            The number of segments.
        """
        _, count = self.components(threshold)
        if count == 0:  # no segment can grow: the whole border is one segment
            self._inner[:] = 1
            return self._flat, 1
        queued = _queue_shores(self._flat, self._stride, self._queue)
        _flood(self._flat, self._stride, self._queue, queued)
        return self._flat, count

    def section(self) -> Segments:
        """Copy the last result as a section, int32, shape (Y, X)."""
        return self._inner.T.copy()


def thin_borders(interior: AnyArray) -> Segments:
    """Grow the interior components of a section until only one-pixel dams separate them.

    Parameters
    ----------
    interior : ndarray of bool, shape (Y, X)
        True inside a cell, False on the border.

    Returns
    -------
    ndarray of int32, shape (Y, X)
        Segments from 1, numbered in scan order (x outer, y inner); 0 where two of them meet. A
        section without interior is one segment.

    Notes
    -----
    The 4-connected watershed of the two-level image (interior 0, border 255) [1]_, with exactly the
    result of the challenge's script [2]_.

    References
    ----------
    .. [1] L. Vincent, P. Soille, "Watersheds in digital spaces", 1991, section III,
       doi:10.1109/34.87344
    .. [2] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142

    Examples
    --------
    >>> thin_borders(np.array([[1, 0, 0, 0, 1]], dtype=bool))
    array([[1, 1, 0, 2, 2]], dtype=int32)
    """
    thinner = Thinner(interior.astype(bool).view(np.uint8))
    thinner.thinned(0)
    return thinner.section()


@compiled
def _label(
    levels: NDArray[np.uint8],
    threshold: int,
    flat: NDArray[np.int32],
    stride: int,
    parents: NDArray[np.int32],
) -> int:
    """Give interior pixels provisional labels; write in `parents` which of them are joined."""
    found = 0
    for i in range(stride, flat.size - stride):
        if flat[i] == OUTSIDE:
            continue
        if levels[i] <= threshold:
            flat[i] = UNVISITED
            continue
        left, up = flat[i - stride], flat[i - 1]
        if up > 0:
            flat[i] = up
            # If the pixel between left and up is interior, the two are already joined.
            if left > 0 and flat[i - stride - 1] <= 0:
                join(parents, left, up)
        elif left > 0:
            flat[i] = left
        else:
            found += 1
            parents[found] = found
            flat[i] = found
    return found


@compiled
def _renumber(flat: NDArray[np.int32], parents: NDArray[np.int32], found: int) -> int:
    """Replace the provisional labels by the numbers of their components."""
    count = 0
    for label in range(1, found + 1):
        if parents[label] == label:  # a root is the first of its component in scan order
            count += 1
            parents[label] = count
        else:
            parents[label] = parents[parents[label]]
    for i in range(flat.size):
        if flat[i] > 0:
            flat[i] = parents[flat[i]]
    return count


@compiled
def _queue_shores(flat: NDArray[np.int32], stride: int, queue: NDArray[np.int32]) -> int:
    """Queue the border pixels that touch a segment, in scan order."""
    end = 0
    for i in range(stride, flat.size - stride):
        if flat[i] == UNVISITED and (
            flat[i - stride] > 0 or flat[i - 1] > 0 or flat[i + stride] > 0 or flat[i + 1] > 0
        ):
            flat[i] = QUEUED
            queue[end] = i
            end += 1
    return end


@compiled
def _flood(flat: NDArray[np.int32], stride: int, queue: NDArray[np.int32], end: int) -> None:
    """Visit the border pixels in the order of the queue; where segments meet, there is a dam.

    A pixel joins the segment of its neighbours if these are in one segment; dams do not count. The
    reference has a flag for pixels that touch a dam, with the same result.
    """
    neighbours = (-stride, -1, stride, 1)  # left, up, right, down: the order of the queue
    start = 0
    while start < end:
        i = queue[start]
        start += 1
        own, is_dam = DAM, False
        for step in neighbours:
            other = flat[i + step]
            if other > 0:
                is_dam |= own > 0 and own != other
                own = other
            elif other == UNVISITED:
                flat[i + step] = QUEUED
                queue[end] = i + step
                end += 1
        flat[i] = DAM if is_dam else own
