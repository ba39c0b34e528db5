"""Training data: sections in memory, what trains and what is held out."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sfseg import io
from sfseg.config import TrainConfig
from sfseg.datasets import registry
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.training.data_checks import PairFacts, count_pair, data_warnings, describe_labels
from sfseg.training.pairs import pair_files
from sfseg.training.splits import number_through, pick, split_sections
from sfseg.types import AnyArray, LabelKind, VoxelSize, format_sections

Say = Callable[[str], None]


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
    pairs : tuple of PairFacts
        The stacks that they come from, and what was counted in them.
    taught : tuple of Section
        More to train on: sections without labels, marked by teachers; 0 to 255 for P(inside).
    """

    training: tuple[Section, ...]
    validation: tuple[Section, ...]
    voxel_size_nm: VoxelSize | None
    description: str
    pairs: tuple[PairFacts, ...] = ()
    taught: tuple[Section, ...] = ()

    @property
    def epoch_sections(self) -> tuple[Section, ...]:
        """What an epoch visits: sections with labels twice as often as taught ones."""
        return self.training * 2 + self.taught if self.taught else self.training

    @property
    def pixels(self) -> int:
        """Number of the training pixels."""
        return sum(section.labels.size for section in self.training)

    @cached_property
    def interior_share(self) -> float:
        """Share of the training pixels that are inside cells."""
        inside = sum(int(np.count_nonzero(section.labels)) for section in self.training)
        return inside / self.pixels

    @cached_property
    def sha256(self) -> str:
        """Hash all pixels, so that a resumed training can tell that they are the same."""
        digest = hashlib.sha256()
        for section in (*self.training, *self.validation):
            digest.update(section.image.tobytes())
            digest.update(section.labels.tobytes())
        for section in self.taught:  # their marks follow from the teachers, up to rounding
            digest.update(section.image.tobytes())
        return digest.hexdigest()


def load_training_data(
    config: TrainConfig, folder: Path | None, *, say: Say = lambda _: None
) -> TrainingData:
    """Read the sections that a configuration names and hold some out.

    Parameters
    ----------
    config : TrainConfig
        Names a dataset, or the user's own images and labels.
    folder : Path or None
        Where the dataset lies; None where the user's own files are used.
    say : callable
        Is told, line by line, which images and labels belong together, what is in them, and what
        looks wrong with them.

    Returns
    -------
    TrainingData
        Sections in memory.

    Raises
    ------
    OptionError
        If images or labels have no partner, or sections are named that are not there.
    ShapeMismatchError
        If images and labels differ in shape.
    StackError
        If a file is not what it should be, or a section has no interior.
    NonFiniteError
        If an image holds NaN or infinity.
    """
    parts, kind, voxel_size = _parts(config, folder, say)
    counts = [_count_sections(part, config.axes) for part in parts]
    training, held = split_sections(config, counts, [part.sections for part in parts])
    say(describe_labels(kind))
    used = {*training, *held}
    sections: dict[int, Section] = {}
    pairs: list[PairFacts] = []
    for part, whole in zip(parts, number_through(counts), strict=True):
        wanted = [index for index in whole if index in used]
        numbers = f", numbered {format_sections(whole)}" if len(parts) > 1 else ""
        found, facts = _read_part(part, kind, config.axes, wanted, whole, numbers)
        say(str(facts))
        sections |= found
        pairs.append(facts)
    for doubt in [*data_warnings(pairs, kind), *_doubt_protocol(config, parts, counts, used)]:
        say(f"warning: {doubt}")
    described = f"sections {format_sections(training)}" + (
        f" (validation {format_sections(held)})" if held else ""
    )
    return TrainingData(
        tuple(sections[index] for index in training),
        tuple(sections[index] for index in held),
        voxel_size or next((p.voxel_size_nm for p in pairs if p.voxel_size_nm), None),
        f"{_name(config, parts)} {described}",
        tuple(pairs),
    )


def _parts(
    config: TrainConfig, folder: Path | None, say: Say
) -> tuple[tuple[registry.Part, ...], LabelKind, VoxelSize | None]:
    """Return the stacks to read, what their labels say, and the voxel size where it is known."""
    if folder is None or config.dataset_name is None:
        if not (config.images and config.labels):
            raise OptionError(
                "training data: expected both --images and --labels, "
                f"found only {config.images or config.labels}",
                hint="--images X.tif --labels Y.tif --sections 1-24",
            )
        return pair_files(config.images, config.labels, say=say), config.labels_are, None
    dataset = registry.find(config.dataset_name)
    parts = tuple(
        registry.Part(str(folder / part.images), str(folder / part.labels), part.sections)
        for part in dataset.train
    )
    return parts, dataset.label_kind, dataset.voxel_size_nm


def _doubt_protocol(
    config: TrainConfig, parts: Sequence[registry.Part], counts: Sequence[int], used: set[int]
) -> Iterator[str]:
    """Say which sections of a dataset's test are trained on or choose the epoch."""
    if config.dataset_name is None:
        return
    for test in registry.find(config.dataset_name).test:
        for part, whole in zip(parts, number_through(counts), strict=True):
            if Path(part.images).name != Path(test.images).name:
                continue
            if seen := sorted(used.intersection(pick(whole, test.sections))):
                yield (
                    f"sections {format_sections(seen)} are the test of {config.dataset_name}: "
                    "these weights cannot be judged by them any more"
                )


def _name(config: TrainConfig, parts: Sequence[registry.Part]) -> str:
    """Name the data: the dataset, and the stack or the number of stacks."""
    stacks = Path(parts[0].images).name if len(parts) == 1 else f"{len(parts)} pairs,"
    if config.dataset_name:
        return f"{config.dataset_name}: {stacks}"
    own = Path(config.images or "")
    folder = own.name if own.is_dir() else f"{own.parent.name}/{own.name}"
    return f"{folder}: {stacks}" if len(parts) > 1 else stacks


def _count_sections(part: registry.Part, axes: str | None) -> int:
    """Count the sections of a stack, and check that its labels are of its shape."""
    with (
        io.open_stack(part.images, axes=axes) as images,
        io.open_stack(part.labels, axes=axes) as labels,
    ):
        if images.shape != labels.shape:
            raise ShapeMismatchError(
                f"{part.labels}: expected labels of shape {images.shape} like {part.images}, "
                f"found {labels.shape}",
                hint="give the labels of these very images",
            )
        return len(images)


def _read_part(
    part: registry.Part,
    kind: LabelKind,
    axes: str | None,
    wanted: Sequence[int],
    whole: range,
    numbers: str,
) -> tuple[dict[int, Section], PairFacts]:
    """Read the wanted sections of one stack, by their number in all, and count what is in them."""
    with io.open_stack(part.images, axes=axes) as images:
        sections: dict[int, Section] = {}
        if wanted:
            labels = io.read_labels(part.labels, kind, axes=axes)
            sections = {i: _read_section(images, labels, i - whole.start) for i in wanted}
        facts = count_pair(
            part.images,
            part.labels,
            images.describe() + numbers,
            images.voxel_size_nm,
            [(index, section.image, section.labels) for index, section in sections.items()],
        )
    return sections, facts


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
