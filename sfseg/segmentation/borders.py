"""Measure the borders between the superpixels of one section.

Two superpixels are neighbours if they touch. The measures are those of the membrane between them.
"""

import numpy as np
from numpy.typing import NDArray

from sfseg.segmentation.edges import Edges, Measures
from sfseg.segmentation.pairs import Keys, pair_key, split_keys
from sfseg.segmentation.superpixels import Labels
from sfseg.system.kernels import compiled
from sfseg.types import Probability

BORDER_STATISTICS = ("mean", "p10", "p90")
"""Of the membrane probability along a border; the lowest tenth finds the gap in a membrane."""

BORDER_MEASURES = (
    *(f"{name} of the section" for name in BORDER_STATISTICS),
    *(f"{name} of the average with its neighbours" for name in BORDER_STATISTICS),
    "log of the length",
    "log of the smaller area",
)

_SHARES = np.array([0.1, 0.9])
"""The quantiles among the statistics."""

Places = NDArray[np.int64]


def find_borders(labels: Labels, interior: Probability, around: Probability) -> Edges:
    """Measure the borders between the superpixels of one section.

    Parameters
    ----------
    labels : ndarray of uint32, shape (Y, X)
        Superpixels, from 1.
    interior, around : ndarray of float32, shape (Y, X)
        As `sfseg.segmentation.superpixels.find_superpixels` takes them.
    """
    areas = np.zeros(int(labels.max()) + 1, np.int64)
    count = _count_faces(labels, areas)
    keys, places = np.empty(count, np.int64), np.empty(count, np.int64)
    _list_faces(labels, keys, places)
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], count)
    pairs = np.stack(split_keys(keys[starts]), axis=1)
    columns = [_measure(light, places, starts, ends) for light in (interior, around)]
    lengths = (ends - starts).astype(np.float32)
    smaller = areas[pairs].min(axis=1)
    columns.append(np.log(np.stack([lengths, smaller], axis=1)).astype(np.float32))
    return Edges(pairs.astype(np.uint64), np.concatenate(columns, axis=1), lengths)


@compiled
def _count_faces(labels: Labels, areas: NDArray[np.int64]) -> int:
    """Add up the areas; return the number of faces between pixels of two superpixels."""
    rows, columns = labels.shape
    count = 0
    for y in range(rows):
        for x in range(columns):
            areas[labels[y, x]] += 1
            count += x + 1 < columns and labels[y, x] != labels[y, x + 1]
            count += y + 1 < rows and labels[y, x] != labels[y + 1, x]
    return count


@compiled
def _list_faces(labels: Labels, keys: Keys, places: Places) -> None:
    """List the faces: a key for the pair of superpixels, and where.

    A place is twice the index of its pixel, for the face to the right; one more for that below.
    """
    rows, columns = labels.shape
    found = 0
    for y in range(rows):
        for x in range(columns):
            here, place = labels[y, x], 2 * (y * columns + x)
            if x + 1 < columns and labels[y, x + 1] != here:
                keys[found], places[found] = pair_key(here, labels[y, x + 1]), place
                found += 1
            if y + 1 < rows and labels[y + 1, x] != here:
                keys[found], places[found] = pair_key(here, labels[y + 1, x]), place + 1
                found += 1


def _measure(
    interior: Probability, places: Places, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> Measures:
    """Return the statistics of each border; the value of a face is the mean of its two pixels."""
    measures = np.empty((len(starts), len(BORDER_STATISTICS)), np.float32)
    _fill(interior.ravel(), interior.shape[1], places, starts, ends, _SHARES, measures)
    return measures


@compiled
def _fill(
    interior: Probability,
    width: int,
    places: Places,
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    shares: NDArray[np.float64],
    measures: Measures,
) -> None:
    """Fill the mean and the quantiles, linear between two values, as in NumPy."""
    for border in range(len(starts)):
        values = np.empty(ends[border] - starts[border], np.float32)
        for index in range(len(values)):
            place = places[starts[border] + index]
            first = place // 2
            second = first + (width if place % 2 else 1)
            values[index] = np.float32(1) - (interior[first] + interior[second]) * np.float32(0.5)
        values.sort()
        measures[border, 0] = values.mean()
        for column, share in enumerate(shares):
            position = share * (len(values) - 1)
            low = int(position)
            high = min(low + 1, len(values) - 1)
            step = values[high] - values[low]
            measures[border, 1 + column] = values[low] + step * (position - low)
