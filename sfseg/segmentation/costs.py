"""From what is measured at an edge to the cost of cutting it.

A logistic regression gives the probability that an edge divides two cells. Its weights stand in
``costs.json``; ``docs/build_tools/fit_costs.py`` fits them to drawn tissue whose cells are known,
and `sfseg.segmentation.learn` to cells of the user. The cost is the logarithm of the odds against
it, times the size of the edge: a long border tells more than a short one (T. Beier et al., 2017,
doi:10.1038/nmeth.4151).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.segmentation.borders import BORDER_MEASURES
from sfseg.segmentation.edges import Edges, Measures
from sfseg.segmentation.overlaps import OVERLAP_MEASURES

WEIGHTS = Path(__file__).parent / "costs.json"

SUREST = 7.0
"""The largest logarithm of odds: no edge alone decides."""


@dataclass(frozen=True)
class LogisticWeights:
    """Weights of the measures of one kind of edge.

    Attributes
    ----------
    weights : ndarray of float32, shape (M,)
        Of the columns of `Edges.measures`.
    intercept : float
        The logarithm of the odds if all measures are 0.
    """

    weights: Measures
    intercept: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any], names: tuple[str, ...]) -> "LogisticWeights":
        """Read weights; they stand beside the names of the measures."""
        weights = [values["weights"][name] for name in names]
        return cls(np.array(weights, np.float32), float(values["intercept"]))

    def log_odds(self, edges: Edges) -> Measures:
        """Return the logarithm of the odds that each edge divides two cells: float32, (E,)."""
        odds = edges.measures @ self.weights + np.float32(self.intercept)
        return np.asarray(odds.clip(-SUREST, SUREST))


@dataclass(frozen=True)
class CellCosts:
    """What decides which superpixels are one cell.

    Attributes
    ----------
    border, overlap : LogisticWeights
        Of both kinds of edges.
    overlap_weight : float
        How much more an overlap weighs than a border of the same size, relative to the means.
    """

    border: LogisticWeights
    overlap: LogisticWeights
    overlap_weight: float

    def find(self, borders: Edges, overlaps: Edges, beta: float) -> Measures:
        """Return what it costs to cut each edge; negative where a cut is gained.

        Parameters
        ----------
        borders, overlaps : Edges
            Of the whole stack.
        beta : float
            Prior probability of a cut, between 0 and 1: above 0.5 there are more and smaller cells.

        Returns
        -------
        ndarray of float32, shape (borders + overlaps,)
            Of the borders, then of the overlaps.
        """
        prior = np.float32(np.log(beta / (1 - beta)))
        both = (self.border, borders, 1.0), (self.overlap, overlaps, self.overlap_weight)
        costs = []
        for weights, edges, weight in both:
            mean = edges.sizes.mean() if len(edges.sizes) else 1
            size = edges.sizes * np.float32(weight / mean)
            costs.append(-(weights.log_odds(edges) + prior) * size)
        return np.concatenate(costs)


@cache
def load_costs() -> CellCosts:
    """Load those that sfseg comes with."""
    values = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return CellCosts(
        LogisticWeights.from_json(values["border"], BORDER_MEASURES),
        LogisticWeights.from_json(values["overlap"], OVERLAP_MEASURES),
        float(values["overlap weight"]),
    )
