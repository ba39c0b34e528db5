"""Membrane maps of electron-microscopy stacks: fetch, train, predict, score.

Arrays in, arrays out::

    import sfseg

    probability = sfseg.predict(stack)                  # float32, 1 = inside a cell
    scores = sfseg.score(probability, labels)           # scores.v_rand
    sfseg.predict_file("volume.tif", "map.tif")         # any size, in bounded memory

The packages, top layer first. Each imports only from lower layers::

    cli   napari_plugin                    the command line, a file for each command; in napari
    comparison   benchmark                 networks compared; speed measured
    training                               from stacks with labels to weights
    prediction                             from a stack to a map
    scoring   datasets   segmentation      how good a map is; data by name; cells
    io   models   transforms               image files; networks; grey values and orientations
    system                                 files, locks, devices, memory
    config recipes identity types errors   leaves
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfseg.config import PredictConfig, SegmentConfig, TrainConfig
    from sfseg.datasets.fetch import fetch
    from sfseg.datasets.synthetic import Tissue, draw_tissue, make_tissue
    from sfseg.errors import SfsegError
    from sfseg.io.labels import read_labels
    from sfseg.io.open import open_stack
    from sfseg.io.stack import Stack
    from sfseg.io.write import write_stack
    from sfseg.prediction.model import Model, load_model
    from sfseg.prediction.predict import predict, predict_file
    from sfseg.prediction.run import PredictResult
    from sfseg.scoring.cell_errors import CellError
    from sfseg.scoring.cell_files import score_cell_files
    from sfseg.scoring.cells import CellScores, score_cells
    from sfseg.scoring.errors import Errors, SectionErrors, find_errors
    from sfseg.scoring.mistakes import Mistake
    from sfseg.scoring.score import Scores, score
    from sfseg.scoring.score_files import ScoreReport, score_files
    from sfseg.segmentation.costs import CellCosts
    from sfseg.segmentation.edits import Merge, Split
    from sfseg.segmentation.learn import learn_cost_files, learn_costs
    from sfseg.segmentation.measure import CellMeasures, MeasureResult, measure, measure_file
    from sfseg.segmentation.segment import SegmentResult, segment, segment_file
    from sfseg.training.train import TrainResult, train

__version__ = "0.1.0"

__all__ = [
    "CellCosts",
    "CellError",
    "CellMeasures",
    "CellScores",
    "Errors",
    "MeasureResult",
    "Merge",
    "Mistake",
    "Model",
    "PredictConfig",
    "PredictResult",
    "ScoreReport",
    "Scores",
    "SectionErrors",
    "SegmentConfig",
    "SegmentResult",
    "SfsegError",
    "Split",
    "Stack",
    "Tissue",
    "TrainConfig",
    "TrainResult",
    "draw_tissue",
    "fetch",
    "find_errors",
    "learn_cost_files",
    "learn_costs",
    "load_model",
    "make_tissue",
    "measure",
    "measure_file",
    "open_stack",
    "predict",
    "predict_file",
    "read_labels",
    "score",
    "score_cell_files",
    "score_cells",
    "score_files",
    "segment",
    "segment_file",
    "train",
    "write_stack",
]

_MODULE_OF = {
    "CellCosts": "sfseg.segmentation.costs",
    "CellError": "sfseg.scoring.cell_errors",
    "CellMeasures": "sfseg.segmentation.measure",
    "CellScores": "sfseg.scoring.cells",
    "Errors": "sfseg.scoring.errors",
    "MeasureResult": "sfseg.segmentation.measure",
    "Merge": "sfseg.segmentation.edits",
    "Mistake": "sfseg.scoring.mistakes",
    "Model": "sfseg.prediction.model",
    "PredictConfig": "sfseg.config",
    "PredictResult": "sfseg.prediction.run",
    "ScoreReport": "sfseg.scoring.score_files",
    "Scores": "sfseg.scoring.score",
    "SectionErrors": "sfseg.scoring.errors",
    "SegmentConfig": "sfseg.config",
    "SegmentResult": "sfseg.segmentation.segment",
    "SfsegError": "sfseg.errors",
    "Split": "sfseg.segmentation.edits",
    "Stack": "sfseg.io.stack",
    "Tissue": "sfseg.datasets.synthetic",
    "TrainConfig": "sfseg.config",
    "TrainResult": "sfseg.training.train",
    "draw_tissue": "sfseg.datasets.synthetic",
    "fetch": "sfseg.datasets.fetch",
    "find_errors": "sfseg.scoring.errors",
    "learn_cost_files": "sfseg.segmentation.learn",
    "learn_costs": "sfseg.segmentation.learn",
    "load_model": "sfseg.prediction.model",
    "make_tissue": "sfseg.datasets.synthetic",
    "measure": "sfseg.segmentation.measure",
    "measure_file": "sfseg.segmentation.measure",
    "open_stack": "sfseg.io.open",
    "predict": "sfseg.prediction.predict",
    "predict_file": "sfseg.prediction.predict",
    "read_labels": "sfseg.io.labels",
    "score": "sfseg.scoring.score",
    "score_cell_files": "sfseg.scoring.cell_files",
    "score_cells": "sfseg.scoring.cells",
    "score_files": "sfseg.scoring.score_files",
    "segment": "sfseg.segmentation.segment",
    "segment_file": "sfseg.segmentation.segment",
    "train": "sfseg.training.train",
    "write_stack": "sfseg.io.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import sfseg` loads neither torch nor numpy."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
