"""Measure the overlaps between the superpixels of two sections."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sfseg.segmentation.edges import Edges
from sfseg.segmentation.superpixels import LIKELY, Labels
from sfseg.system.kernels import compiled
from sfseg.types import Probability

OVERLAP_MEASURES = (
    "overlap over union",
    "overlap over the smaller area",
    "overlap over the larger area",
    "mean interior probability where they overlap",
    "log of the overlap",
)


def find_overlaps(
    labels: tuple[Labels, Labels], interior: tuple[Probability, Probability]
) -> Edges:
    """Measure the overlaps between the superpixels of two sections.

    Parameters
    ----------
    labels : tuple of ndarray of uint32, shape (Y, X)
        Superpixels of a section and of the next one.
    interior : tuple of ndarray of float32, shape (Y, X)
        Their interior probability. Pixels that are not likely in a cell do not count, in an area
        neither.

    Returns
    -------
    Edges
        The first of a pair lies in the first section.
    """
    areas = tuple(np.zeros(int(one.max()) + 1, np.int64) for one in labels)
    count = _count_areas(*labels, *interior, LIKELY, *areas)
    ends = np.empty((2, count), np.uint32)
    # Real part: pixels. Imaginary part: their light. So one table sums both.
    sums = np.empty(count, np.complex128)
    _list_runs(*labels, *interior, LIKELY, ends, sums)
    table = sparse.coo_array((sums, ends), [len(one) for one in areas]).tocsr()
    table.sum_duplicates()
    first, second = table.nonzero()
    overlap, light = table.data.real, table.data.imag
    both = np.stack([areas[0][first], areas[1][second]])
    columns = [
        overlap / (both.sum(axis=0) - overlap),
        overlap / both.min(axis=0),
        overlap / both.max(axis=0),
        light / overlap,
        np.log(overlap),
    ]
    return Edges(
        np.stack([first, second], axis=1).astype(np.uint64),
        np.stack(columns, axis=1).astype(np.float32),
        overlap.astype(np.float32),
    )


@compiled
def _likely_label(
    labels: Labels, light: Probability, likely: np.float32, y: int, x: int
) -> np.int64:
    """Return the superpixel of a pixel; 0 if it is not likely in a cell."""
    return np.int64(labels[y, x]) if light[y, x] > likely else np.int64(0)


@compiled
def _count_areas(
    above: Labels,
    below: Labels,
    light_above: Probability,
    light_below: Probability,
    likely: np.float32,
    areas_above: NDArray[np.int64],
    areas_below: NDArray[np.int64],
) -> int:
    """Add up the areas. Return how many runs there are along the rows with the same two labels."""
    runs = 0
    for y in range(above.shape[0]):
        last_above = last_below = np.int64(0)
        for x in range(above.shape[1]):
            a = _likely_label(above, light_above, likely, y, x)
            b = _likely_label(below, light_below, likely, y, x)
            areas_above[a] += 1
            areas_below[b] += 1
            if a > 0 and b > 0 and (a != last_above or b != last_below):
                runs += 1
            last_above, last_below = a, b
    return runs


@compiled
def _list_runs(
    above: Labels,
    below: Labels,
    light_above: Probability,
    light_below: Probability,
    likely: np.float32,
    ends: NDArray[np.uint32],
    sums: NDArray[np.complex128],
) -> None:
    """List both labels of each run, its pixels, and the light that both sections have there."""
    found = -1
    for y in range(above.shape[0]):
        last_above = last_below = np.int64(0)
        for x in range(above.shape[1]):
            a = _likely_label(above, light_above, likely, y, x)
            b = _likely_label(below, light_below, likely, y, x)
            if a > 0 and b > 0:
                if a != last_above or b != last_below:
                    found += 1
                    ends[0, found], ends[1, found], sums[found] = a, b, 0
                sums[found] += 1 + 1j * min(light_above[y, x], light_below[y, x])
            last_above, last_below = a, b
