"""From what is measured at an edge to the cost of cutting it.

A logistic regression gives the probability that an edge divides two cells. Its weights stand in
``costs.json``; ``docs/build_tools/fit_costs.py`` fits them to drawn tissue whose cells are known.
The cost is the logarithm of the odds against it, times the size of the edge: a long border tells
more than a short one (T. Beier et al., 2017, doi:10.1038/nmeth.4151).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.segmentation.edges import BORDER_MEASURES, OVERLAP_MEASURES, Edges, Measures

WEIGHTS = Path(__file__).parent / "costs.json"

SUREST = 7.0
"""The largest logarithm of odds: no edge alone decides."""

OVERLAP_WEIGHT = 4.0
"""How much more the overlaps of all sections weigh than their borders.

Of 1, 2 and 4, measured on tissue with other seeds than those of the weights."""


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


@cache
def load_weights() -> tuple[LogisticWeights, LogisticWeights]:
    """Load the weights of borders and of overlaps."""
    values = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return (
        LogisticWeights.from_json(values["border"], BORDER_MEASURES),
        LogisticWeights.from_json(values["overlap"], OVERLAP_MEASURES),
    )


def find_costs(borders: Edges, overlaps: Edges, beta: float) -> tuple[Measures, Measures]:
    """Return what it costs to cut each edge; negative where a cut is gained.

    Parameters
    ----------
    borders, overlaps : Edges
        Of the whole stack.
    beta : float
        Prior probability of a cut, between 0 and 1: above 0.5 there are more and smaller cells.
    """
    prior = np.float32(np.log(beta / (1 - beta)))
    both = []
    pairs = zip(load_weights(), (borders, overlaps), (1.0, OVERLAP_WEIGHT), strict=True)
    for weights, edges, weight in pairs:
        mean = edges.sizes.mean() if len(edges.sizes) else 1
        both.append(-(weights.log_odds(edges) + prior) * edges.sizes * np.float32(weight / mean))
    return both[0], both[1]
