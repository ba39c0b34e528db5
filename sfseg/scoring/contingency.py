"""Count how two segmentations of a section overlap: the sums that V_Rand and V_Info need.

The segmentations are flat and have a frame, as `thinning` makes them. Only pixels inside a true
segment count. Each predicted dam pixel among them counts as a segment of one pixel.

n_ij are the pixels in true segment i and predicted segment j: the contingency table. t_i and s_j
are its sums over j and over i.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.scoring.thinning import DAM
from sfseg.system.kernels import compiled
from sfseg.types import AnyArray


class Tallies(NamedTuple):
    """Sums over contingency tables, in counts of pixels; all arrays have one shape."""

    pixels: AnyArray
    """n, the pixels inside a true segment."""
    joint_squares: AnyArray
    """The sum of n_ij^2 over true segments i and predicted segments j, dams included."""
    predicted_squares: AnyArray
    """The sum of s_j^2, dams included."""
    true_squares: AnyArray
    """The sum of t_i^2."""
    joint_logs: AnyArray
    """The sum of n_ij ln n_ij; a dam adds 1 ln 1 = 0."""
    predicted_logs: AnyArray
    """The sum of s_j ln s_j."""
    true_logs: AnyArray
    """The sum of t_i ln t_i."""


Tally = tuple[int, int, int, int, float, float, float]
"""The fields of `Tallies` for a single table; the squares are exact."""


class Grouped(NamedTuple):
    """The pixels of a segmentation, sorted by segment."""

    pixels: NDArray[np.int32]
    """Indices into the flat section; those of segment i are ``pixels[starts[i - 1]:starts[i]]``."""
    starts: NDArray[np.int64]


def group(segments: NDArray[np.int32], count: int) -> Grouped:
    """Sort the pixels of a flat segmentation by segment.

    Parameters
    ----------
    segments : ndarray of int32, shape (N,)
        Segments from 1 to `count`; other pixels are ignored.
    count : int
        The number of segments.

    Returns
    -------
    Grouped
        The sorted pixels, and where each segment starts.
    """
    # Counting sort: segment i begins where all segments before it end.
    starts = np.zeros(count + 1, np.int64)
    _count(segments, starts)
    np.cumsum(starts, out=starts)
    pixels = np.empty(starts[-1], np.int32)
    _fill(segments, starts[:-1].copy(), pixels)
    return Grouped(pixels, starts)


def tally(truth: Grouped, predicted: NDArray[np.int32], count: int) -> Tally:
    """Sum over the contingency table of a true and a predicted segmentation.

    Parameters
    ----------
    truth : Grouped
        The true segments.
    predicted : ndarray of int32, shape (N,)
        Predicted segments from 1 to `count`, 0 for dams, of the same flat section.
    count : int
        The number of predicted segments.

    Returns
    -------
    Tally
        The fields of `Tallies` for this pair.
    """
    return _tally(truth.pixels, truth.starts, predicted, np.zeros((2, count + 1), np.int64))


@compiled
def _count(segments: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    """Add the number of pixels of segment i to ``counts[i]``."""
    for label in segments:
        if label > 0:
            counts[label] += 1


@compiled
def _fill(segments: NDArray[np.int32], ends: NDArray[np.int64], pixels: NDArray[np.int32]) -> None:
    """Put each pixel behind those of its segment so far, which end at ``ends[i - 1]``."""
    for i in range(segments.size):
        label = segments[i]
        if label > 0:
            pixels[ends[label - 1]] = i
            ends[label - 1] += 1


@compiled
def _tally(
    pixels: NDArray[np.int32],
    starts: NDArray[np.int64],
    predicted: NDArray[np.int32],
    sizes: NDArray[np.int64],
) -> Tally:
    """Go through the table row by row: the whole table could be too large for the memory."""
    row, total = sizes  # n_ij of one true segment i, and s_j; both (count + 1,)
    dams = joint_squares = predicted_squares = true_squares = 0
    joint_logs = predicted_logs = true_logs = 0.0
    for segment in range(starts.size - 1):
        own = pixels[starts[segment] : starts[segment + 1]]
        for i in own:
            row[predicted[i]] += 1
        dams += row[DAM]
        row[DAM] = 0
        # Visit the pixels again: the first of each predicted segment takes n_ij and clears it.
        for i in own:
            overlap = row[predicted[i]]
            if overlap > 0:
                joint_squares += overlap * overlap
                joint_logs += overlap * math.log(overlap)
                total[predicted[i]] += overlap
                row[predicted[i]] = 0
        true_squares += own.size * own.size
        true_logs += own.size * math.log(max(own.size, 1))
    for size in total:
        if size > 0:
            predicted_squares += size * size
            predicted_logs += size * math.log(size)
    # a dam pixel is a segment of one pixel: it adds 1^2 to both sums of squares
    return (
        pixels.size,
        joint_squares + dams,
        predicted_squares + dams,
        true_squares,
        joint_logs,
        predicted_logs,
        true_logs,
    )
