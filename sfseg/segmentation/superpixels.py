"""Superpixels: parts of a section so small that each lies in one cell.

A watershed floods the membrane map from the middles of the light parts. Two cells that a faint
membrane divides have to be two parts, so what counts as light is strict, and the sections beside it
count, too: a membrane that one section misses is mostly in the next.
"""

from itertools import product

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.segmentation.components import seed_components
from sfseg.segmentation.distance import distance_to_edge
from sfseg.segmentation.watershed import watershed
from sfseg.types import Probability

Labels = NDArray[np.uint32]

INSIDE = 0.85
"""Interior probability from which on a pixel is far from any membrane, even a faint one."""

LIKELY = np.float32(0.5)
"""Interior probability above which a pixel is rather in a cell than on a membrane."""

SIGMA_PX = 1.0
"""Of the Gaussian that smooths the distance to membranes: fewer, larger superpixels with more."""

PEAK_PX = 5
"""Side of the square in which a seed is the highest; odd."""

DEPTH, DEEP_PX = np.float32(0.25), np.float32(25)
"""How much lower the middle of a cell is than its edge, and how far from it: so that the flood of
each seed begins in its own middle."""

_ALL_SIDES = np.ones((3, 3), bool)


def average_neighbours(
    before: Probability | None, section: Probability, after: Probability | None
) -> Probability:
    """Average a section of a map with those beside it, which count half; at the ends with one."""
    before = after if before is None else before
    after = before if after is None else after
    if before is None or after is None:
        return section
    average = before + after
    average += 2 * section
    average *= np.float32(0.25)
    return average


def find_superpixels(interior: Probability, around: Probability) -> tuple[Labels, int]:
    """Divide a section into superpixels.

    Parameters
    ----------
    interior : ndarray of float32, shape (Y, X)
        Interior probability.
    around : ndarray of float32, shape (Y, X)
        The average with the sections beside it; see `average_neighbours`.

    Returns
    -------
    labels : ndarray of uint32, shape (Y, X)
        Superpixels, from 1; membranes belong to the nearest one. All 0 if no pixel is likely.
    count : int
        How many.
    """
    light = np.minimum(interior, around) > INSIDE
    smooth = bic.filters.gaussian_smoothing(distance_to_edge(light), SIGMA_PX)
    peaks = find_peaks(smooth, light)
    seeds, count = ndimage.label(peaks, _ALL_SIDES, output=np.uint32)
    count = seed_components(seeds, count, interior > LIKELY)  # of faint cells
    heights = 1 - interior - DEPTH * np.minimum(smooth / DEEP_PX, 1)
    return watershed(heights, seeds), count


def find_peaks(heights: Probability, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the pixels of a mask that nothing exceeds in the square of `PEAK_PX` around them.

    Few pixels are as high as the four beside them, so only of these the square is looked at: four
    times as fast as a maximum filter.
    """
    peaks = where.copy()
    peaks[1:] &= heights[1:] >= heights[:-1]
    peaks[:-1] &= heights[:-1] >= heights[1:]
    peaks[:, 1:] &= heights[:, 1:] >= heights[:, :-1]
    peaks[:, :-1] &= heights[:, :-1] >= heights[:, 1:]
    reach = PEAK_PX // 2
    padded = np.pad(heights, reach, constant_values=-np.inf)
    flat, width = padded.ravel(), padded.shape[1]
    places = np.flatnonzero(np.pad(peaks, reach))
    highest = flat[places]
    for y, x in product(range(-reach, reach + 1), repeat=2):
        np.maximum(highest, flat[places + (y * width + x)], out=highest)
    peaks[peaks] = flat[places] == highest
    return peaks
