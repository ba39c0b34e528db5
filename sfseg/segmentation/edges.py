"""Edges of the graph of superpixels, and what is measured at each.

In a section two superpixels are neighbours if they touch; the measures are those of the membrane
along their border. Between two sections they are neighbours if they overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sfseg.segmentation.superpixels import LIKELY, Labels
from sfseg.types import Probability

Pairs = NDArray[np.uint64]
Measures = NDArray[np.float32]

BORDER_STATISTICS = ("mean", "p10", "p90")
"""Of the membrane probability along a border; the lowest tenth finds the gap in a membrane."""

BORDER_MEASURES = (
    *(f"{name} of the section" for name in BORDER_STATISTICS),
    *(f"{name} of the average with its neighbours" for name in BORDER_STATISTICS),
    "log of the length",
    "log of the smaller area",
)

OVERLAP_MEASURES = (
    "overlap over union",
    "overlap over the smaller area",
    "overlap over the larger area",
    "mean interior probability where they overlap",
    "log of the overlap",
)


@dataclass(frozen=True)
class Edges:
    """Neighbours.

    Attributes
    ----------
    pairs : ndarray of uint64, shape (E, 2)
        Numbers of two superpixels.
    measures : ndarray of float32, shape (E, M)
        One column for each name of `BORDER_MEASURES` or `OVERLAP_MEASURES`.
    sizes : ndarray of float32, shape (E,)
        Pixels of the border, or of the overlap.
    """

    pairs: Pairs
    measures: Measures
    sizes: Measures


def no_edges(measures: Sequence[str]) -> Edges:
    """Return the edges of a graph that has none."""
    return Edges(
        np.empty((0, 2), np.uint64),
        np.empty((0, len(measures)), np.float32),
        np.empty(0, np.float32),
    )


def find_borders(labels: Labels, interior: Probability, around: Probability) -> Edges:
    """Measure the borders between the superpixels of one section.

    Parameters
    ----------
    labels : ndarray of uint32, shape (Y, X)
        Superpixels, from 1.
    interior, around : ndarray of float32, shape (Y, X)
        As `sfseg.segmentation.superpixels.find_superpixels` takes them.
    """
    graph = bic.graph.region_adjacency_graph(labels, number_of_threads=1)
    pairs = graph.uv_ids()
    names = bic.graph.features.COMPLEX_EDGE_FEATURE_NAMES
    chosen = [names.index(name) for name in BORDER_STATISTICS]
    columns = []
    for light in (interior, around):
        found = bic.graph.features.edge_map_features_complex(
            graph, labels, np.float32(1) - light, number_of_threads=1
        )
        columns += [found[:, index] for index in chosen]
    sizes = found[:, names.index("size")]
    areas = np.bincount(labels.ravel(), minlength=int(labels.max()) + 1)
    smaller = areas[pairs.astype(np.int64)].min(axis=1)
    columns += [np.log(sizes), np.log(smaller)]
    return Edges(pairs, np.stack(columns, axis=1).astype(np.float32), sizes.astype(np.float32))


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
    inside = [(light > LIKELY) & (one > 0) for one, light in zip(labels, interior, strict=True)]
    counts = [int(one.max()) + 1 for one in labels]
    # Both numbers of a pixel in one integer, 0 = does not count. Along a row they rarely change,
    # so runs of pixels are summed first: a tenth of the entries of a sparse table.
    keys = labels[0].astype(np.uint64) << np.uint64(32) | labels[1]
    keys *= inside[0] & inside[1]
    starts = _run_starts(keys.ravel())
    lengths = np.diff(starts, append=keys.size)
    sums = np.add.reduceat(np.minimum(*interior).ravel(), starts, dtype=np.float64)
    runs = keys.ravel()[starts]
    both = runs > 0
    ends = (runs[both] >> np.uint64(32)), (runs[both] & np.uint64(2**32 - 1))
    # Real part: pixels. Imaginary part: their light. So one table sums both.
    table = sparse.coo_array((lengths[both] + 1j * sums[both], ends), counts).tocsr()
    table.sum_duplicates()
    first, second = table.nonzero()
    overlap, light = table.data.real, table.data.imag
    areas = np.stack(
        [
            np.bincount(one[mask], minlength=count)[chosen]
            for one, mask, count, chosen in zip(
                labels, inside, counts, (first, second), strict=True
            )
        ]
    )
    columns = [
        overlap / (areas.sum(axis=0) - overlap),
        overlap / areas.min(axis=0),
        overlap / areas.max(axis=0),
        light / overlap,
        np.log(overlap),
    ]
    return Edges(
        np.stack([first, second], axis=1).astype(np.uint64),
        np.stack(columns, axis=1).astype(np.float32),
        overlap.astype(np.float32),
    )


def _run_starts(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where runs of equal values begin."""
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
