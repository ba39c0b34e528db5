"""Sections without labels, marked by teachers: trained networks whose mean one network learns."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from sfseg import io
from sfseg.config import TrainConfig
from sfseg.datasets import registry
from sfseg.errors import OptionError
from sfseg.models.weights import load_weights
from sfseg.prediction.predictor import Predictor
from sfseg.system import devices
from sfseg.training.data import Section, TrainingData
from sfseg.training.distributed import own_device
from sfseg.types import AnyArray, Probability

Predict = Callable[[AnyArray], Probability]


def add_pseudo_labels(
    data: TrainingData, config: TrainConfig, folder: Path | None, *, say: Callable[[str], None]
) -> TrainingData:
    """Add sections that have no labels, marked by the mean of the teachers.

    Each teacher sees a section in all eight orientations. What it says is turned into the
    probability that it stands for, see `posterior`.

    Parameters
    ----------
    data : TrainingData
        The sections with labels.
    config : TrainConfig
        Names the teachers and the stack without labels.
    folder : Path or None
        Where the dataset lies; None where the user's own files are used.
    say : callable
        Is told what is marked.

    Returns
    -------
    TrainingData
        As it was where there are no teachers.

    Raises
    ------
    OptionError
        If there is no stack for the teachers, or no teacher for the stack.
    UnknownNameError, CheckpointError
        If a teacher is not to be had.
    StackError, OSError
        If the stack cannot be read.
    NonFiniteError
        If it holds NaN or infinity.
    """
    source = find_unlabelled(config, folder)
    if source is None:
        return data
    say(f"marking {Path(source).name} with {', '.join(config.teachers)}")
    with io.open_stack(source, axes=config.axes) as stack:
        images = [stack.section(index) for index in range(len(stack))]
        for number, image in enumerate(images, start=1):
            io.require_finite(image, stack.name, number)
    teachers = [make_teacher(spec, config) for spec in config.teachers]
    taught = tuple(Section(image, mark(image, teachers)) for image in images)
    description = f"{data.description}; {Path(source).name}, marked by teachers"
    return dataclasses.replace(data, taught=taught, description=description)


def find_unlabelled(config: TrainConfig, folder: Path | None) -> str | None:
    """Find the stack for the teachers; None where there are no teachers.

    Raises
    ------
    OptionError
        If there is one without the other.
    """
    if not config.teachers:
        if config.unlabelled:
            raise OptionError(
                f"unlabelled: expected teachers for {config.unlabelled}, found none",
                hint="--teacher names weights; give it several times for their mean",
            )
        return None
    if config.unlabelled:
        return config.unlabelled
    own = registry.find(config.dataset_name).unlabelled if config.dataset_name else None
    if own is None or folder is None:
        raise OptionError(
            "teachers: expected images without labels for them, found none",
            hint="--unlabelled names a stack",
        )
    return str(folder / own)


def mark(image: AnyArray, teachers: Sequence[Predict]) -> AnyArray:
    """Let teachers mark a section (Y, X): uint8, 255 = surely inside a cell."""
    mean = np.mean([teacher(image) for teacher in teachers], axis=0)
    marks: AnyArray = np.round(255 * mean).astype(np.uint8)
    return marks


def make_teacher(spec: str, config: TrainConfig) -> Predict:
    """Make a network ready to mark sections with calibrated probabilities.

    Raises
    ------
    UnknownNameError, CheckpointError
        If there are no such weights.
    """
    network, header = load_weights(spec)
    device = own_device(devices.pick_device(config.device))
    dtype = devices.pick_dtype(config.precision, device)
    predict = Predictor.from_network(network, device, dtype, input_px=header.input_px, tta="d4")
    recipe = header.training.get("recipe", {})
    return lambda image: posterior(predict(image), recipe)


def posterior(said: Probability, recipe: Mapping[str, Any]) -> Probability:
    """Undo what a recipe does to the probabilities of a network that it trains.

    Parameters
    ----------
    said : ndarray of float32, shape (Y, X)
        What the network says, in [0, 1].
    recipe : mapping
        With ``label_smoothing`` s, ``membrane_weight`` w and ``logit_adjustment`` a; without them
        nothing is undone.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        P(inside a cell).

    Notes
    -----
    The loss is least at q (1 - 2 s) + s, where q = p / (p + w (1 - p)) and p is the probability;
    what the network says has odds exp(a) times as high.
    """
    smoothing, weight = recipe.get("label_smoothing", 0.0), recipe.get("membrane_weight", 1.0)
    seen = said / (said + exp(recipe.get("logit_adjustment", 0.0)) * (1 - said))
    straight = ((seen - smoothing) / (1 - 2 * smoothing)).clip(0, 1)
    inside: Probability = weight * straight / (weight * straight + 1 - straight)
    return inside.astype(np.float32)
