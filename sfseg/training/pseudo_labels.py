"""Sections without labels, marked by teachers: a network learns the mean of other networks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from sfseg import io
from sfseg.errors import OptionError
from sfseg.models.weights import WeightsFile
from sfseg.prediction.predictor import Predictor
from sfseg.training.data import TrainingData
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section, resample_image
from sfseg.transforms.pixel_size import choose_pixels
from sfseg.types import AnyArray, Probability, Say, VoxelSize

Predict = Callable[[AnyArray], Probability]


def add_pseudo_labels(
    data: TrainingData, setup: TrainSetup, folder: Path | None, *, say: Say
) -> TrainingData:
    """Add sections that have no labels, marked by the mean of the teachers.

    Each teacher predicts a section in all eight orientations. Its output is corrected for the
    recipe that it was trained with, see `posterior`.

    Parameters
    ----------
    data : TrainingData
        The sections with labels.
    setup : TrainSetup
        Names the teachers and the stack without labels.
    folder : Path or None
        Folder of the dataset; None for the user's own files.
    say : callable
        Called with a line that names the stack and the teachers.

    Returns
    -------
    TrainingData
        `data` itself if there are no teachers.

    Raises
    ------
    OptionError
        If there is no stack for the teachers, or no teacher for the stack.
    CheckpointError
        If the weights of a teacher cannot be used.
    StackError, OSError
        If the stack cannot be read.
    NonFiniteError
        If it holds NaN or infinity.
    """
    config = setup.config
    source = find_unlabelled(setup, folder)
    if source is None:
        return data
    say(f"marking {Path(source).name} with {', '.join(config.teachers)}")
    opened = io.open_stack(source, axes=config.axes).with_pixel_size(config.pixel_size)
    with opened.inverted() if config.invert_image else opened as stack:
        images = [stack.section(index) for index in range(len(stack))]
        for number, image in enumerate(images, start=1):
            io.require_finite(image, stack.name, number)
        own = stack.voxel_size_nm or (setup.dataset.voxel_size_nm if setup.dataset else None)
    goal = data.voxel_size_nm if config.recipe.input_px is None else None
    pixels = choose_pixels(own, goal, config.rescale, goal_of="the training data")
    if pixels.note:
        say(f"{source}: {pixels.note}")
    if scaling := pixels.scaling((images[0].shape[0], images[0].shape[1])):
        say(f"{source}: {pixels}")
        images = [resample_image(image, scaling.network_shape) for image in images]
    teachers = [make_teacher(weights, setup, goal) for weights in setup.teachers]
    taught = tuple(Section.from_pixels(image, mark(image, teachers)) for image in images)
    description = f"{data.description}; {Path(source).name}, marked by teachers"
    return dataclasses.replace(data, taught=taught, description=description)


def find_unlabelled(setup: TrainSetup, folder: Path | None) -> str | None:
    """Find the stack for the teachers; None if there are no teachers.

    Raises
    ------
    OptionError
        If there are teachers and no stack, or a stack and no teachers.
    """
    config = setup.config
    if not config.teachers:
        if config.unlabelled:
            raise OptionError(
                "--unlabelled only works with --teacher",
                hint="add --teacher WEIGHTS; several times for the mean of several networks",
            )
        return None
    if config.unlabelled:
        return config.unlabelled
    own = setup.dataset.unlabelled if setup.dataset else None
    if own is None or folder is None:
        raise OptionError(
            "--teacher needs a stack without labels",
            hint="add --unlabelled STACK",
        )
    return str(folder / own)


def mark(image: AnyArray, teachers: Sequence[Predict]) -> AnyArray:
    """Predict a section (Y, X) by the mean of the teachers: uint8, 255 for P(inside) = 1."""
    mean = np.mean([teacher(image) for teacher in teachers], axis=0)
    marks: AnyArray = np.round(255 * mean).astype(np.uint8)
    return marks


def make_teacher(
    weights: WeightsFile, setup: TrainSetup, voxel_size_nm: VoxelSize | None = None
) -> Predict:
    """Load a network that predicts sections with calibrated probabilities.

    Sections of `voxel_size_nm` are resampled to the pixel size of the teacher, as in prediction.

    Raises
    ------
    CheckpointError
        If the weights cannot be used.
    """
    predict = Predictor.from_network(
        weights.load(), setup.device, setup.dtype, input_px=weights.header.input_px, tta="d4"
    )
    recipe = weights.header.training.get("recipe", {})
    trained = weights.header.voxel_size_nm if weights.header.input_px is None else None
    pixels = choose_pixels(voxel_size_nm, trained, setup.config.rescale)

    def teach(image: AnyArray) -> Probability:
        scaling = pixels.scaling((image.shape[0], image.shape[1]))
        if scaling is None:
            return posterior(predict(image), recipe)
        output = predict(resample_image(image, scaling.network_shape))
        return posterior(scaling.back.whole(output).clip(0, 1), recipe)

    return teach


def posterior(output: Probability, recipe: Mapping[str, Any]) -> Probability:
    """Compute the probability of the interior from an output that a recipe has shifted.

    Parameters
    ----------
    output : ndarray of float32, shape (Y, X)
        Output of the network, in [0, 1].
    recipe : mapping
        With ``label_smoothing`` s, ``membrane_weight`` w and ``logit_adjustment`` a; a missing one
        has no effect.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        P(inside a cell).

    Notes
    -----
    At a probability p the loss is least at q (1 - 2 s) + s, where q = p / (p + w (1 - p)). The
    odds of the output are exp(a) times as high.
    """
    smoothing, weight = recipe.get("label_smoothing", 0.0), recipe.get("membrane_weight", 1.0)
    odds = exp(recipe.get("logit_adjustment", 0.0))
    adjusted = output / (output + odds * (1 - output))
    q = ((adjusted - smoothing) / (1 - 2 * smoothing)).clip(0, 1)
    inside: Probability = weight * q / (weight * q + 1 - q)
    return inside.astype(np.float32)
