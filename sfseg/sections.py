"""Training data: sections in memory, what trains and what is held out."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np

from sfseg import datasets, io
from sfseg.config import TrainConfig
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.terms import AnyArray, LabelKind, VoxelSize, format_sections, parse_sections


@dataclass(frozen=True)
class Section:
    """One section and its truth.

    Attributes
    ----------
    image : ndarray, shape (Y, X)
        As on disk.
    labels : ndarray of uint8, shape (Y, X)
        255 = inside a cell, 0 = membrane.
    """

    image: AnyArray
    labels: AnyArray


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and what it is judged by.

    Attributes
    ----------
    training, validation : tuple of Section
        No section is in both.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the first stack.
    description : str
        Names and sections, for the weights' header.
    """

    training: tuple[Section, ...]
    validation: tuple[Section, ...]
    voxel_size_nm: VoxelSize | None
    description: str

    @cached_property
    def interior_share(self) -> float:
        """Share of the training pixels that are inside cells."""
        return float(np.mean([(section.labels > 0).mean() for section in self.training]))

    @cached_property
    def sha256(self) -> str:
        """Hash all pixels, so that a resumed training can tell that they are the same."""
        digest = hashlib.sha256()
        for section in (*self.training, *self.validation):
            digest.update(section.image.tobytes())
            digest.update(section.labels.tobytes())
        return digest.hexdigest()


def load_training_data(config: TrainConfig, folder: Path | None) -> TrainingData:
    """Read the sections that a configuration names and hold some out.

    Parameters
    ----------
    config : TrainConfig
        Names a dataset, or the user's own images and labels.
    folder : Path or None
        Where the dataset lies; None where the user's own files are used.

    Returns
    -------
    TrainingData
        Sections in memory.

    Raises
    ------
    OptionError
        If sections are named that are not there, twice, or in a dataset of several stacks.
    ShapeMismatchError
        If images and labels differ in shape.
    StackError
        If a file is not what it should be, or a section has no interior.
    NonFiniteError
        If an image holds NaN or infinity.
    """
    parts, kind, voxel_size = _parts(config, folder)
    if len(parts) > 1 and (config.sections or config.validation not in (None, "none")):
        raise OptionError(
            f"{config.dataset_name}: expected no --sections or --validation, found them",
            hint="it has several stacks; --images and --labels choose one of them",
        )
    training: list[Section] = []
    validation: list[Section] = []
    said: list[str] = []
    for part in parts:
        with io.open_stack(part.images, axes=config.axes) as images:
            labels = io.read_labels(part.labels, kind, axes=config.axes)
            if images.shape != labels.shape:
                raise ShapeMismatchError(
                    f"{part.labels}: expected labels of shape {images.shape} like {part.images}, "
                    f"found {labels.shape}",
                    hint="give the labels of these very images",
                )
            train, held = split_sections(config, len(images), part.sections)
            training += [_read_section(images, labels, i) for i in train]
            validation += [_read_section(images, labels, i) for i in held]
            voxel_size = voxel_size or images.voxel_size_nm
        said.append(
            f"{Path(part.images).name} sections {format_sections(train)}"
            + (f" (validation {format_sections(held)})" if held else "")
        )
    name = f"{config.dataset_name}: " if folder else ""
    return TrainingData(tuple(training), tuple(validation), voxel_size, name + "; ".join(said))


def _read_section(images: io.Stack, labels: AnyArray, index: int) -> Section:
    """Read one section and check that there is something to learn from it and to score."""
    image = images.section(index)
    io.require_finite(image, images.name, index + 1)
    if not labels[index].any():
        raise StackError(
            f"{images.name}: section {index + 1}: expected labels with pixels inside cells, "
            "found none",
            hint="leave unlabelled sections out with --sections",
        )
    return Section(image, labels[index])


def _parts(
    config: TrainConfig, folder: Path | None
) -> tuple[tuple[datasets.Part, ...], LabelKind, VoxelSize | None]:
    """Return the stacks to read, what their labels say, and the voxel size where it is known."""
    if folder is None or config.dataset_name is None:
        if not (config.images and config.labels):
            raise OptionError(
                "training data: expected both --images and --labels, "
                f"found only {config.images or config.labels}",
                hint="--images X.tif --labels Y.tif --sections 1-24",
            )
        own = datasets.Part(config.images, config.labels, config.sections)
        return (own,), config.labels_are, None
    dataset = datasets.find(config.dataset_name)
    parts = tuple(
        datasets.Part(str(folder / p.images), str(folder / p.labels), config.sections or p.sections)
        for p in dataset.train
    )
    return parts, dataset.label_kind, dataset.voxel_size_nm


def split_sections(
    config: TrainConfig, count: int, standard: str | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose which sections of one stack train and which are held out for validation.

    Parameters
    ----------
    config : TrainConfig
        Whose ``validation`` and recipe decide.
    count : int
        Sections in the stack.
    standard : str or None
        The sections to divide; None = all.

    Returns
    -------
    training, validation : tuple of int
        Indices from 0, no index in both.

    Raises
    ------
    OptionError
        If nothing is left to train on.

    Notes
    -----
    The held-out share is one block at the start: neighbouring sections look alike, so scattered
    ones would judge a network by what it has all but seen.
    """
    chosen = parse_sections(standard, count) if standard else tuple(range(count))
    if config.validation == "none":
        return chosen, ()
    if config.validation is not None:
        held = parse_sections(config.validation, count)
    else:
        share = config.recipe.validation_share if len(chosen) > 1 else 0
        held = chosen[: ceil(share * len(chosen))]
    training = tuple(index for index in chosen if index not in held)
    if not training:
        raise OptionError(
            f"validation {config.validation}: expected some sections left to train on, found none",
            hint="hold fewer sections out, or name more with --sections",
        )
    return training, held
