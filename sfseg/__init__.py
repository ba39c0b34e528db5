"""Membrane maps of electron-microscopy stacks: fetch, train, predict, score.

Arrays in, arrays out: `predict`, `score`, `make_tissue`, and `Model` for many arrays. Files of any
size: `predict_file`, `score_files`, `open_stack`, `read_labels`, `write_stack`. Importing `sfseg`
imports neither torch nor numpy; a name is imported when it is first used.

The rooms, from the top down; a room imports from the rows below its own only::

    cli                                    the command line, a file for each command
    comparison   benchmark                 networks compared; speed measured
    training                               from stacks with labels to weights
    prediction   scoring   datasets        from a stack to a map; how good it is; data by name
    io   models   transforms               image files; networks; grey values and orientations
    system                                 files, locks, devices
    config recipes identity types errors   leaves
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfseg.config import PredictConfig, TrainConfig
    from sfseg.datasets.fetch import fetch
    from sfseg.datasets.synthetic import make_tissue
    from sfseg.errors import SfsegError
    from sfseg.io import Stack, open_stack, read_labels, write_stack
    from sfseg.prediction.model import Model, load_model, predict
    from sfseg.prediction.predict import predict_file
    from sfseg.prediction.run import PredictResult
    from sfseg.scoring.evaluate import Scores, score
    from sfseg.scoring.score import ScoreReport, score_files
    from sfseg.training.train import TrainResult, train

__version__ = "0.1.0"

__all__ = [
    "Model",
    "PredictConfig",
    "PredictResult",
    "ScoreReport",
    "Scores",
    "SfsegError",
    "Stack",
    "TrainConfig",
    "TrainResult",
    "__version__",
    "fetch",
    "load_model",
    "make_tissue",
    "open_stack",
    "predict",
    "predict_file",
    "read_labels",
    "score",
    "score_files",
    "train",
    "write_stack",
]

_HOMES = {
    "sfseg.config": ("PredictConfig", "TrainConfig"),
    "sfseg.datasets.fetch": ("fetch",),
    "sfseg.datasets.synthetic": ("make_tissue",),
    "sfseg.errors": ("SfsegError",),
    "sfseg.io": ("Stack", "open_stack", "read_labels", "write_stack"),
    "sfseg.prediction.model": ("Model", "load_model", "predict"),
    "sfseg.prediction.predict": ("predict_file",),
    "sfseg.prediction.run": ("PredictResult",),
    "sfseg.scoring.evaluate": ("Scores", "score"),
    "sfseg.scoring.score": ("ScoreReport", "score_files"),
    "sfseg.training.train": ("TrainResult", "train"),
}
"""Where each public name comes from; tests hold it against the imports above and `__all__`."""


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(home), name)
            return value
    raise AttributeError(f"module 'sfseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
