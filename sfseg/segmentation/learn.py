"""Learn from cells that are known which superpixels are one cell.

What a border looks like depends on the tissue, the stain and the weights of the network. A logistic
regression is fitted to the edges of a map whose cells are known, and starts from the one that sfseg
comes with: the fewer edges are known, the less it moves.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize

from sfseg.config import SegmentConfig
from sfseg.errors import ShapeMismatchError, StackError
from sfseg.io import Stack, as_path, open_array, open_stack
from sfseg.segmentation.costs import CellCosts, LogisticWeights, load_costs
from sfseg.segmentation.edges import Edges
from sfseg.segmentation.graph import Graph, build_graph
from sfseg.segmentation.maps import StackMaps
from sfseg.segmentation.multicut import multicut
from sfseg.segmentation.store import MemoryStore, Store
from sfseg.system.limits import usable_processors
from sfseg.types import AnyArray, Number, Progress, Say, describe_shape

PENALTY = 1.0
"""Of the squares of the changes of the weights, as in scikit-learn's LogisticRegression(C=1)."""

FEWEST = 20
"""Known edges that divide cells, and that do not: with fewer, nothing is learnt of their kind."""

MASK_VALUES = 2
"""Values of a mask of cells besides 0, at most; else they are ids."""

SAME = 0.5
"""Share of the pixels in cells whose id is the same in the next section, if ids continue."""

OVERLAP_WEIGHTS = (1.0, 2.0, 4.0)
"""Of which the one is taken that divides the known cells best."""

Ids = NDArray[np.int64]
Known = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Measures of edges, float64, shape (E, M), and whether each divides two cells."""


def learn_costs(
    probability: AnyArray,
    cells: AnyArray,
    *,
    map_max: Number | None = None,
    say: Say = lambda _: None,
    progress: Progress = lambda *_: None,
) -> CellCosts:
    """Learn from known cells how `sfseg.segment` divides maps of the same weights and tissue.

    Parameters
    ----------
    probability : array_like, shape (Z, Y, X)
        The map of tissue whose cells are known, as for `sfseg.segment`.
    cells : array_like of int, shape as the map
        The ids of its cells; 0 = not known, or membrane. Sections may be without ids. Ids of one
        section each, or a mask of cells, tell of the borders in sections only.
    map_max : int or float, optional
        As in `SegmentConfig`.
    say : callable
        Called with lines of text for the person who waits.
    progress : callable
        As for `sfseg.segment`.

    Returns
    -------
    CellCosts
        For `sfseg.segment` and `sfseg.segment_file`.

    Raises
    ------
    StackError, ShapeMismatchError, NonFiniteError
        If it is no map, or the shapes differ, or no cell is known.
    """
    hint = "sfseg.learn_cost_files takes files"
    maps, truth = (open_array(each, "learn_costs", hint=hint) for each in (probability, cells))
    return _learn(maps, truth, map_max, say, progress)


def learn_cost_files(
    probability: str | os.PathLike[str],
    cells: str | os.PathLike[str],
    *,
    axes: str | None = None,
    map_max: Number | None = None,
    say: Say = lambda _: None,
    progress: Progress = lambda *_: None,
) -> CellCosts:
    """Do what `learn_costs` does, with files; `axes` as for `sfseg.open_stack`.

    The superpixels of the map are in memory, with 4 bytes a pixel.
    """
    hint = "sfseg.learn_costs takes arrays"
    paths = [as_path(each, "learn_cost_files", hint=hint) for each in (probability, cells)]
    with open_stack(paths[0], axes=axes) as maps, open_stack(paths[1], labels=True) as truth:
        return _learn(maps, truth, map_max, say, progress)


def _learn(
    stack: Stack, truth: Stack, map_max: Number | None, say: Say, progress: Progress
) -> CellCosts:
    if stack.shape != truth.shape:
        raise ShapeMismatchError(
            f"{truth.name}: cells of {describe_shape(truth.shape)}, but {stack.name} has "
            f"{describe_shape(stack.shape)}",
            hint="give the map that was made of the same sections",
        )
    maps, store = StackMaps(stack, map_max), MemoryStore()
    graph = build_graph(
        maps, SegmentConfig(), store, workers=usable_processors(), progress=progress
    )
    read, continues = _reader(truth)
    own = find_own_cells(graph, store, read)
    shipped = load_costs()
    borders, overlaps = (known_edges(each, own) for each in (graph.borders, graph.overlaps))
    if not continues:
        overlaps = overlaps[0][:0], overlaps[1][:0]
    learnt = [
        _refit(borders, shipped.border, "borders", truth.name, say),
        _refit(overlaps, shipped.overlap, "overlaps", truth.name, say),
    ]
    if learnt[0] is shipped.border and learnt[1] is shipped.overlap:
        raise StackError(
            f"{truth.name}: nothing can be learnt from so few cells",
            hint="give a stack with more labelled sections, or leave --learn-from out",
        )
    costs = replace(shipped, border=learnt[0], overlap=learnt[1])
    if learnt[1] is shipped.overlap:
        return costs
    tried = [replace(costs, overlap_weight=weight) for weight in OVERLAP_WEIGHTS]
    return min(tried, key=lambda each: _variation(graph, own, each))


def _refit(
    known: Known, shipped: LogisticWeights, kind: str, name: str, say: Say
) -> LogisticWeights:
    """Fit the weights of one kind of edges, or keep them where too little is known."""
    measures, divides = known
    count = int(divides.sum())
    if min(count, len(divides) - count) < FEWEST:
        say(f"{name}: too little is known of {kind}; their costs stay as they are")
        return shipped
    say(f"{name}: learnt from {len(divides)} {kind}, of which {count} divide two cells")
    return fit(measures, divides, shipped)


def _reader(truth: Stack) -> tuple[Callable[[int], Ids], bool]:
    """Return what reads the ids of a section, and whether they continue in the next one."""
    if _has_ids(truth):
        return lambda index: truth.section(index).astype(np.int64), _continues(truth)

    def number(index: int) -> Ids:
        inside = truth.section(index) > 0
        return np.asarray(ndimage.label(inside)[0], np.int64)

    return number, False


def _has_ids(truth: Stack) -> bool:
    """Tell ids from a mask; many sections may be without any."""
    found: set[int] = set()
    for section in truth:
        found.update(np.unique(section[section > 0]).tolist())
        if len(found) > MASK_VALUES:
            return True
    return False


def _continues(truth: Stack) -> bool:
    """Tell whether ids are the same in the next section, where both have some."""
    same = both = 0
    before = truth.section(0)
    for index in range(1, len(truth)):
        section = truth.section(index)
        inside = (before > 0) & (section > 0)
        both += int(inside.sum())
        same += int((before == section)[inside].sum())
        before = section
    return both > 0 and same > SAME * both


def find_own_cells(graph: Graph, store: Store, read: Callable[[int], Ids]) -> Ids:
    """Return the known cell that has most pixels of each superpixel; 0 if none has any.

    Parameters
    ----------
    graph : Graph
        The superpixels.
    store : Store
        Has their labels.
    read : callable
        Reads the known cells of a section: int64, shape (Y, X), 0 = none.

    Returns
    -------
    ndarray of int64, shape (nodes,)
        An id for each.
    """
    own = np.zeros(len(graph.areas), np.int64)
    for index, start in enumerate(graph.starts[:-1]):
        ids, labels = read(index), store.load_labels(index)
        inside = (ids > 0) & (labels > 0)
        pairs, sizes = np.unique(
            np.stack([labels[inside].astype(np.int64), ids[inside]]), axis=1, return_counts=True
        )
        order = np.argsort(sizes, kind="stable")  # the largest is assigned last
        own[start + pairs[0, order] - 1] = pairs[1, order]
    return own


def known_edges(edges: Edges, own: Ids) -> Known:
    """Keep the edges between superpixels whose cell is known, and tell which divide two cells."""
    ends = own[edges.pairs.astype(np.int64)]
    known = (ends > 0).all(axis=1)
    return edges.measures[known].astype(np.float64), ends[known, 0] != ends[known, 1]


def fit(
    measures: NDArray[np.float64],
    divides: NDArray[np.bool_],
    prior: LogisticWeights | None = None,
) -> LogisticWeights:
    """Fit a logistic regression on standardised measures.

    Parameters
    ----------
    measures : ndarray of float64, shape (E, M)
        Of edges.
    divides : ndarray of bool, shape (E,)
        Whether each divides two cells.
    prior : LogisticWeights, optional
        Changes of these are penalised; default is 0.

    Returns
    -------
    LogisticWeights
        For measures that are not standardised.
    """
    mean, deviation = measures.mean(axis=0), measures.std(axis=0)
    deviation[deviation == 0] = 1
    columns = np.column_stack([(measures - mean) / deviation, np.ones(len(measures))])
    start = np.zeros(columns.shape[1])
    if prior is not None:
        start[:-1] = prior.weights * deviation
        start[-1] = prior.intercept + prior.weights @ mean
    sign = np.where(divides, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (columns @ weights)
        change = np.append((weights - start)[:-1], 0)  # the intercept is free
        gradient = -columns.T @ (sign / (1 + np.exp(margin))) + PENALTY * change
        return float(np.logaddexp(0, -margin).sum() + PENALTY / 2 * (change**2).sum()), gradient

    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return LogisticWeights(weights.astype(np.float32), float(found[-1] - weights @ mean))


def _variation(graph: Graph, own: Ids, costs: CellCosts) -> float:
    """Return the variation of information between found and known cells, in superpixels."""
    pairs = np.concatenate([graph.borders.pairs, graph.overlaps.pairs])
    edges = costs.find(graph.borders, graph.overlaps, SegmentConfig.beta)
    found = multicut(len(own), pairs, edges)
    known = own > 0
    both: Sequence[Any] = (found[known].astype(np.int64), own[known])
    areas = graph.areas[known].astype(np.float64)
    return 2 * _entropy(np.stack(both), areas) - sum(_entropy(each[None], areas) for each in both)


def _entropy(labels: Ids, areas: NDArray[np.float64]) -> float:
    """Return the entropy of labels (N, nodes), each weighted by its area, in bits."""
    _, places = np.unique(labels, axis=1, return_inverse=True)
    shares = np.bincount(places.ravel(), areas) / areas.sum()
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())
