"""The Euclidean distance to the edge of a mask: exact, in a time that no shape makes longer.

First along the columns, then along the rows. It is half of the work of a general distance
transform, which takes any number of axes and sizes of pixels.

References
----------
P. F. Felzenszwalb, D. P. Huttenlocher, 2012, doi:10.4086/toc.2012.v008a019.
"""

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled

Distance = NDArray[np.float32]


def distance_to_edge(mask: NDArray[np.bool_]) -> Distance:
    """Measure how far each pixel of a mask is from the nearest pixel outside.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        What lies beyond the picture counts neither as inside nor as outside.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        In pixels; 0 outside the mask. No more than the longer side of the picture.
    """
    distance = np.empty(mask.shape, np.float32)
    # A column without a pixel outside seems to be this far from one, so nothing is farther.
    _along_columns(mask, np.float32(max(mask.shape)), distance)
    _along_rows(distance)
    return distance


@compiled
def _along_columns(mask: NDArray[np.bool_], farthest: np.float32, distance: Distance) -> None:
    """Fill the distance to the nearest pixel outside in the same column."""
    rows, columns = mask.shape
    for x in range(columns):
        distance[0, x] = farthest if mask[0, x] else 0
    for y in range(1, rows):
        for x in range(columns):
            distance[y, x] = min(distance[y - 1, x] + 1, farthest) if mask[y, x] else 0
    for y in range(rows - 2, -1, -1):
        for x in range(columns):
            distance[y, x] = min(distance[y, x], distance[y + 1, x] + 1)


@compiled
def _along_rows(distance: Distance) -> None:
    """Replace the distance in the columns by the distance in the picture.

    The square of the distance to the nearest pixel outside of one column is a parabola along the
    row: h^2 + (x - x_0)^2. Wanted is the lowest of them at each x. From left to right, each new
    parabola is the lowest from some place on, and hides those that would begin behind that place.
    """
    columns = distance.shape[1]
    centres, heights = np.empty(columns), np.empty(columns)
    starts = np.empty(columns + 1)
    for row in distance:
        last, starts[0] = 0, -np.inf
        centres[0], heights[0] = 0, np.float64(row[0]) ** 2
        for x in range(1, columns):
            height = np.float64(row[x]) ** 2
            start = _crossing(centres[last], heights[last], x, height)
            while start <= starts[last]:
                last -= 1
                start = _crossing(centres[last], heights[last], x, height)
            last += 1
            centres[last], heights[last], starts[last] = x, height, start
        starts[last + 1] = np.inf
        lowest = 0
        for x in range(columns):
            while starts[lowest + 1] < x:
                lowest += 1
            row[x] = np.sqrt(np.float32((x - centres[lowest]) ** 2 + heights[lowest]))


@compiled
def _crossing(centre: float, height: float, other_centre: float, other_height: float) -> float:
    """Return where two parabolas cross; the other one is lower behind that."""
    rise = other_height - height + other_centre**2 - centre**2
    return rise / (2 * (other_centre - centre))
