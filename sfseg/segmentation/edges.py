"""Edges of the graph of superpixels, and what is measured at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.uint64]
Measures = NDArray[np.float32]


@dataclass(frozen=True)
class Edges:
    """Neighbours.

    Attributes
    ----------
    pairs : ndarray of uint64, shape (E, 2)
        Numbers of two superpixels.
    measures : ndarray of float32, shape (E, M)
        One column for each name of `sfseg.segmentation.borders.BORDER_MEASURES`, or of
        `sfseg.segmentation.overlaps.OVERLAP_MEASURES`.
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
