"""Predict an array in memory."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from sfseg import io
from sfseg.config import PredictConfig, configure
from sfseg.prediction.compute import predict_tiles
from sfseg.prediction.contrast import contrast_warning
from sfseg.prediction.planes import AXES, BACK, as_isotropic, config_of_planes, planes_along
from sfseg.prediction.setup import PredictSetup
from sfseg.prediction.tile_reader import read_tiles
from sfseg.prediction.tile_writer import (
    ArrayTarget,
    Facts,
    FinishedTile,
    OtherMap,
    finish_tile,
    make_writer,
)
from sfseg.types import AnyArray, Probability, Progress

_FILES = "use sfseg.predict_file for files, or open them: sfseg.open_stack(path).read()"

Prepare = Callable[[io.Stack, PredictConfig], PredictSetup]
"""Sets a network up for a stack: `Model.prepare`."""


def predict_array(
    array: AnyArray,
    options: Mapping[str, Any],
    load: Callable[[PredictConfig], Prepare],
    progress: Progress = lambda *_: None,
) -> Probability:
    """Check an array and the options, then load the network and predict the array.

    Parameters
    ----------
    array : array_like, shape (Z, Y, X) or (Y, X)
        Grey values.
    options : mapping
        Fields of `PredictConfig` by name.
    load : callable
        Loads the network for these options; called when array and options are checked.
    progress : callable
        See `Model.predict`.

    Returns
    -------
    ndarray of float32, shape as array
        Interior probability in [0, 1].

    Raises
    ------
    SfsegError
        As `Model.predict` and `load` do.
    """
    stack = io.open_array(array, "predict", hint=_FILES)
    config = configure(PredictConfig, None, options)
    if config.invert_image:
        stack = stack.inverted()
    pixels = predict_stack(stack, config, load(config), progress)
    return pixels.reshape(stack.shape[-np.ndim(array) :])


def predict_stack(
    stack: io.Stack,
    config: PredictConfig,
    prepare: Prepare,
    progress: Progress = lambda *_: None,
) -> Probability:
    """Predict an open stack to memory, shape (Z, Y, X)."""
    stack = stack.with_pixel_size(config.pixel_size)
    others: list[OtherMap] = []
    if config.planes:
        stack = as_isotropic(stack, config)
        for done, axis in enumerate(AXES):
            along, own = planes_along(axis, stack, config), config_of_planes(config)
            found, _ = _predict_sections(along, own, prepare, _third(progress, done))
            others.append(partial(_window, found.transpose(BACK[axis])))
        progress = _third(progress, len(others))
    probability, facts = _predict_sections(stack, config, prepare, progress, others)
    _warn_of_contrast(facts, probability, inverted=config.invert_image)
    return probability


def _predict_sections(
    stack: io.Stack,
    config: PredictConfig,
    prepare: Prepare,
    progress: Progress,
    others: Sequence[OtherMap] = (),
) -> tuple[Probability, list[Facts]]:
    """Predict each section to memory; return the facts of the tiles as well."""
    setup = prepare(stack, config)
    target = ArrayTarget(stack.shape)
    writer = make_writer(target, config)

    facts: list[Facts] = []
    numbers = range(len(stack) * len(setup.tiles))

    def write(tile: FinishedTile) -> None:
        facts.extend(fact for _, fact in writer.put(tile))
        progress(len(facts), len(numbers))

    progress(0, len(numbers))
    tiles = read_tiles(stack, setup.tiles, numbers, setup.scaling, workers=setup.workers)
    finish = partial(finish_tile, config=config, others=others)
    predict_tiles(tiles, setup.predictors, finish, write, workers=setup.workers)
    return target.pixels, facts


def _third(progress: Progress, done: int) -> Progress:
    """Return the progress of one of three predictions, after `done` others."""
    return lambda tiles, total: progress(done * total + tiles, 3 * total)


def _window(pixels: Probability, section: int, rows: slice, columns: slice) -> Probability:
    return pixels[section, rows, columns]


def _warn_of_contrast(facts: Sequence[Facts], probability: Probability, *, inverted: bool) -> None:
    """Warn a caller in Python, whose option has another spelling."""
    tissue_px = probability.size - sum(fact["empty"] for fact in facts)
    share = sum(fact["interior"] for fact in facts) / max(tissue_px, 1)
    if doubt := contrast_warning(facts, tissue_px, share, inverted=inverted):
        text = doubt.replace("--invert-image", "invert_image=True")
        warnings.warn(text, stacklevel=5)  # the line that calls `sfseg.predict`
