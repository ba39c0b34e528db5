"""One section as nodes of the graph: its superpixels, or its components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.config import SegmentConfig
from sfseg.segmentation.borders import BORDER_MEASURES, find_borders
from sfseg.segmentation.edges import Edges, no_edges
from sfseg.segmentation.superpixels import Labels, average_neighbours, find_superpixels
from sfseg.system.kernels import compiled
from sfseg.types import Probability


@dataclass(frozen=True)
class Section:
    """What is found in one section.

    Attributes
    ----------
    labels : ndarray of uint32, shape (Y, X)
        Its superpixels, from 1; 0 = none.
    areas : ndarray of int64, shape (count,)
        Pixels of each superpixel that belong to a cell, that is above the threshold.
    borders : Edges
        Between its superpixels.
    """

    labels: Labels
    areas: NDArray[np.int64]
    borders: Edges


def divide_section(
    before: Probability | None,
    section: Probability,
    after: Probability | None,
    config: SegmentConfig,
) -> Section:
    """Divide a section of a map into the nodes of the graph, and measure their borders."""
    inside = section > np.float32(config.threshold)
    if config.method == "components":
        labels, count = ndimage.label(inside, output=np.uint32)
        return Section(labels, _areas(labels, inside, count), no_edges(BORDER_MEASURES))
    around = average_neighbours(before, section, after)
    labels, count = find_superpixels(section, around)
    borders = find_borders(labels, section, around) if count > 1 else no_edges(BORDER_MEASURES)
    return Section(labels, _areas(labels, inside, count), borders)


@compiled
def _areas(labels: Labels, inside: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    areas = np.zeros(count + 1, np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            areas[labels[y, x]] += inside[y, x]
    return areas[1:]
