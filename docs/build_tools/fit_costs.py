"""Fit the weights of sfseg/segmentation/costs.json to drawn tissue, whose cells are known.

Run it in the root of the repository; it takes some minutes: five stacks of 16 sections of 384x384
are predicted with the shipped weights. Other seeds (11 to 15) judge the result.
"""

import json

import numpy as np

import sfseg
from sfseg.config import SegmentConfig
from sfseg.segmentation.borders import BORDER_MEASURES
from sfseg.segmentation.costs import WEIGHTS
from sfseg.segmentation.graph import build_graph
from sfseg.segmentation.learn import Known, find_own_cells, fit, known_edges
from sfseg.segmentation.overlaps import OVERLAP_MEASURES
from sfseg.segmentation.store import MemoryStore

SEEDS, SHAPE = (1, 2, 3, 4, 5), (16, 384, 384)

OVERLAP_WEIGHT = 4.0
"""Of 1, 2 and 4, measured on tissue with other seeds than those of the weights."""


def find_known_edges(seed: int) -> tuple[Known, Known]:
    """Return the measures of all borders and overlaps, and which of them divide two cells."""
    tissue = sfseg.draw_tissue(SHAPE, seed=seed)
    maps, store = sfseg.predict(tissue.volume), MemoryStore()
    graph = build_graph(maps, SegmentConfig(), store, workers=1, progress=lambda *_: None)
    own = find_own_cells(graph, store, lambda index: tissue.cells[index].astype(np.int64))
    return known_edges(graph.borders, own), known_edges(graph.overlaps, own)


def main() -> None:
    """Fit both, and write them."""
    known = [find_known_edges(seed) for seed in SEEDS]
    values: dict[str, object] = {"tissue": {"shape": SHAPE, "seeds": SEEDS}}
    for kind, (key, names) in enumerate(
        [("border", BORDER_MEASURES), ("overlap", OVERLAP_MEASURES)]
    ):
        found = fit(
            np.concatenate([one[kind][0] for one in known]),
            np.concatenate([one[kind][1] for one in known]),
        )
        digits = [float(f"{weight:.4g}") for weight in found.weights]
        values[key] = {
            "weights": dict(zip(names, digits, strict=True)),
            "intercept": float(f"{found.intercept:.4g}"),
        }
    values["overlap weight"] = OVERLAP_WEIGHT
    WEIGHTS.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
