"""Fit the weights of sfseg/segmentation/costs.json to drawn tissue, whose cells are known.

Run it in the root of the repository; it takes some minutes: five stacks of 16 sections of 384x384
are predicted with the shipped weights. Other seeds (11 to 15) judge the result.
"""

import json

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import sfseg
from sfseg.config import SegmentConfig
from sfseg.segmentation.costs import WEIGHTS
from sfseg.segmentation.edges import BORDER_MEASURES, OVERLAP_MEASURES, Edges
from sfseg.segmentation.graph import build_graph
from sfseg.segmentation.store import MemoryStore

SEEDS, SHAPE = (1, 2, 3, 4, 5), (16, 384, 384)
PENALTY = 1.0
"""Of the squares of the weights, as in scikit-learn's LogisticRegression(C=1)."""

Floats = NDArray[np.float64]
Known = tuple[Floats, NDArray[np.bool_]]


def draw(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw tissue; return its membrane map and its cells, 0 = membrane."""
    tissue = sfseg.draw_tissue(SHAPE, seed=seed)
    return sfseg.predict(tissue.volume), tissue.cells.astype(np.int64)


def find_known_edges(seed: int) -> tuple[Known, Known]:
    """Return the measures of all borders and overlaps, and which of them divide two cells."""
    maps, cells = draw(seed)
    store = MemoryStore()
    graph = build_graph(maps, SegmentConfig(), store, workers=1, progress=lambda *_: None)
    numbers = [
        store.load_labels(z).astype(np.int64) + graph.starts[z] - 1 for z in range(len(maps))
    ]
    own = find_most(np.stack(numbers), cells, len(graph.areas))
    return label(graph.borders, own), label(graph.overlaps, own)


def find_most(nodes: NDArray[np.int64], cells: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the cell that has most pixels of each node; 0 if it lies on a membrane."""
    inside = cells > 0
    keys = nodes[inside] * (cells.max() + 1) + cells[inside]
    found, sizes = np.unique(keys, return_counts=True)
    own = np.zeros(count, np.int64)
    order = np.argsort(sizes, kind="stable")
    own[found[order] // (cells.max() + 1)] = found[order] % (cells.max() + 1)
    return own


def label(edges: Edges, own: NDArray[np.int64]) -> Known:
    """Keep the edges between nodes whose cell is known."""
    ends = own[edges.pairs.astype(np.int64)]
    known = (ends > 0).all(axis=1)
    return edges.measures[known].astype(np.float64), ends[known, 0] != ends[known, 1]


def fit(measures: Floats, divides: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Fit a logistic regression on standardised measures; return weights and intercept."""
    mean, deviation = measures.mean(axis=0), measures.std(axis=0)
    columns = np.column_stack([(measures - mean) / deviation, np.ones(len(measures))])
    sign = np.where(divides, 1.0, -1.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (columns @ weights)
        penalised = np.append(weights[:-1], 0)
        gradient = -columns.T @ (sign / (1 + np.exp(margin))) + PENALTY * penalised
        return float(np.logaddexp(0, -margin).sum() + PENALTY / 2 * (penalised**2).sum()), gradient

    found = minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return weights, float(found[-1] - weights @ mean)


def main() -> None:
    """Fit both, and write them."""
    known = [find_known_edges(seed) for seed in SEEDS]
    values: dict[str, object] = {"tissue": {"shape": SHAPE, "seeds": SEEDS}}
    for kind, (key, names) in enumerate(
        [("border", BORDER_MEASURES), ("overlap", OVERLAP_MEASURES)]
    ):
        weights, intercept = fit(
            np.concatenate([one[kind][0] for one in known]),
            np.concatenate([one[kind][1] for one in known]),
        )
        digits = [float(f"{weight:.4g}") for weight in weights]
        values[key] = {
            "weights": dict(zip(names, digits, strict=True)),
            "intercept": float(f"{intercept:.4g}"),
        }
    WEIGHTS.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
