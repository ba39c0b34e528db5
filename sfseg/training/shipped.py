"""The shipped weights on the held-out sections: what a training run has to beat."""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from sfseg import io
from sfseg.config import SHIPPED_MODEL
from sfseg.models.weights_files import find_weights
from sfseg.prediction.model import load_model
from sfseg.system import devices
from sfseg.training.data import TrainingData
from sfseg.training.progress import ShippedScore
from sfseg.training.run_setup import TrainSetup
from sfseg.training.samples import Crop
from sfseg.training.validation import score_maps
from sfseg.types import AnyArray, Probability


def hash_shipped() -> str:
    """Return the SHA-256 of the shipped weights."""
    return io.hash_input(find_weights(SHIPPED_MODEL))


def score_shipped(
    setup: TrainSetup, data: TrainingData, crops: Sequence[Crop], stopped: Callable[[], bool]
) -> ShippedScore | None:
    """Predict the held-out sections with the shipped weights as `sfseg predict` does, and score.

    Parameters
    ----------
    setup : TrainSetup
        Device and arithmetic.
    data : TrainingData
        The held-out sections.
    crops : sequence of Crop
        The parts to keep pictures of.
    stopped : callable
        As for `sfseg.training.validation.validate`.

    Returns
    -------
    ShippedScore or None
        None if it was stopped.

    Raises
    ------
    SfsegError
        If the weights cannot be loaded, or the device has too little memory.
    """
    started = time.monotonic()
    precision = devices.arithmetic_name(setup.dtype)
    model = load_model(
        SHIPPED_MODEL,
        device=str(setup.device),
        engine="torch",
        precision=precision,  # type: ignore[arg-type]  # one of those of training
    )
    is_rescaled = setup.config.rescale != "none" and data.voxel_size_nm is not None
    size_nm = data.voxel_size_nm[1:] if is_rescaled and data.voxel_size_nm else None
    maps: list[Probability] = []
    predict = partial(_predict_quietly, partial(model.predict, pixel_size_nm=size_nm))
    scores = score_maps(predict, data.validation, stopped, maps.append)
    if scores is None:
        return None
    return ShippedScore(
        SHIPPED_MODEL,
        model.header.data,
        scores,
        time.monotonic() - started,
        [crop.cut(maps) for crop in crops],
    )


def _predict_quietly(predict: Callable[[AnyArray], Probability], image: AnyArray) -> Probability:
    """Predict without warnings of contrast: of the training data they are said already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return predict(image)
