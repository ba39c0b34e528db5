"""From the graph to cells: which superpixels belong together, and what is written."""

from typing import Any

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sfseg.config import SegmentConfig
from sfseg.segmentation.costs import CellCosts
from sfseg.segmentation.edges import Edges, Measures
from sfseg.segmentation.graph import Graph
from sfseg.segmentation.multicut import multicut, number_in_order
from sfseg.segmentation.superpixels import Labels
from sfseg.types import Probability

Cells = NDArray[np.uint32]
Numbers = NDArray[np.integer[Any]]

FILL_PX = 16
"""How far cells grow over membranes, so that empty areas stay 0."""


def find_cells(graph: Graph, config: SegmentConfig, costs: CellCosts) -> Cells:
    """Return the cell of each superpixel.

    Parameters
    ----------
    graph : Graph
        The superpixels of the stack.
    config : SegmentConfig
        How they are joined.
    costs : CellCosts
        Of cutting an edge.

    Returns
    -------
    ndarray of uint32, shape (nodes,)
        From 1, in the order in which cells first appear; 0 for superpixels without a pixel in a
        cell.
    """
    count = len(graph.areas)
    if config.method == "components":
        pairs = _mutual_best(graph.overlaps, count)
        of_edges = np.ones(len(pairs), np.float32)
        labels: Numbers = _components(count, pairs)
    else:
        of_edges = costs.find(graph.borders, graph.overlaps, config.beta)
        pairs = np.concatenate([graph.borders.pairs, graph.overlaps.pairs])
        labels = multicut(count, pairs, of_edges)
    if config.min_size:
        labels = _join_small(labels, graph.areas, pairs, of_edges, config.min_size)
    cells = np.zeros(count, np.uint32)
    held = graph.areas > 0
    cells[held] = number_in_order(labels[held]) + np.uint32(1)
    return cells


def paint_cells(
    labels: Labels, interior: Probability, cells: Cells, config: SegmentConfig
) -> Cells:
    """Draw the cells of one section.

    Parameters
    ----------
    labels : ndarray of uint32, shape (Y, X)
        Its superpixels.
    interior : ndarray of float32, shape (Y, X)
        Its map.
    cells : ndarray of uint32, shape (superpixels,)
        The cell of each.
    config : SegmentConfig
        Threshold, and whether cells grow over membranes.

    Returns
    -------
    ndarray of uint32, shape (Y, X)
        0 on membranes.
    """
    inside = interior > np.float32(config.threshold)
    if config.fill and inside.any():
        distance, (rows, columns) = bic.distance.distance_transform(
            ~inside, return_distances=True, return_indices=True
        )
        near = distance <= FILL_PX
        return _paint(labels[rows, columns], cells, near)
    return _paint(labels, cells, inside)


def _paint(labels: Labels, cells: Cells, where: NDArray[np.bool_]) -> Cells:
    painted = np.concatenate([[np.uint32(0)], cells])[labels]
    painted[~where] = 0
    return painted


def _mutual_best(overlaps: Edges, count: int) -> NDArray[np.uint64]:
    """Keep the overlaps that are the largest of both sides: no cell has a branch."""
    first, second = overlaps.pairs.T.astype(np.int64)
    order = np.lexsort((second, first, -overlaps.sizes))
    kept = np.ones(len(order), bool)
    for side in (first, second):
        best = np.full(count, -1)
        best[side[order[::-1]]] = order[::-1]  # the largest is assigned last
        kept &= best[side] == np.arange(len(order))
    return overlaps.pairs[kept]


def _components(count: int, pairs: NDArray[np.uint64]) -> Numbers:
    ones = np.ones(len(pairs), bool)
    graph = sparse.coo_array((ones, tuple(pairs.T.astype(np.int64))), (count, count))
    labels: Numbers = sparse.csgraph.connected_components(graph, directed=False)[1]
    return labels


def _join_small(
    labels: Numbers,
    areas: NDArray[np.int64],
    pairs: NDArray[np.uint64],
    costs: Measures,
    smallest: int,
) -> Numbers:
    """Join each cell of too few voxels with the neighbour that it belongs to most."""
    volumes = np.bincount(labels, areas)
    ends = labels[pairs.astype(np.int64)]
    ends, costs = ends[ends[:, 0] != ends[:, 1]], costs[ends[:, 0] != ends[:, 1]]
    both = np.concatenate([ends, ends[:, ::-1]])
    sums = sparse.coo_array(
        (np.concatenate([costs, costs]), tuple(both.T)), (len(volumes),) * 2
    ).tocsr()
    sums.sum_duplicates()
    joined = []
    for cell in np.flatnonzero((volumes < smallest) & (volumes > 0)).tolist():
        own = slice(*sums.indptr[cell : cell + 2])
        if own.stop > own.start:
            joined.append((cell, int(sums.indices[own][np.argmax(sums.data[own])])))
    if not joined:
        return labels
    return _components(len(volumes), np.array(joined, np.uint64))[labels]
