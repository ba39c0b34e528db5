"""Training data: sections in memory, to train on and held out for validation."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sfseg import io
from sfseg.config import LabelFormat, TrainConfig
from sfseg.datasets.dataset import LabelledStack
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.io.labels import LabelStack, read_label_stack
from sfseg.training.data_checks import PairFacts, count_pair, data_warnings, describe_labels
from sfseg.training.grid import Grid
from sfseg.training.pairs import pair_files
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.splits import number_through, pick, split_sections
from sfseg.types import LabelKind, Say, VoxelSize, format_sections


@dataclass(frozen=True)
class TrainingData:
    """The sections that a training run learns from, and those it is validated on.

    Attributes
    ----------
    training, validation : tuple of Section
        Sections with labels; no section is in both.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the first stack.
    description : str
        Names and sections, for the header of the weights.
    pairs : tuple of PairFacts
        Facts about the stacks that the sections come from.
    taught : tuple of Section
        More training sections; their labels are predictions of teachers, 255 for P(inside) = 1.
    validation_numbers : tuple of int
        Numbers of the sections for validation, from 1 through all stacks.
    """

    training: tuple[Section, ...]
    validation: tuple[Section, ...]
    voxel_size_nm: VoxelSize | None
    description: str
    pairs: tuple[PairFacts, ...] = ()
    taught: tuple[Section, ...] = ()
    validation_numbers: tuple[int, ...] = ()

    @property
    def epoch_sections(self) -> tuple[Section, ...]:
        """The sections of an epoch: those with labels twice, those marked by teachers once."""
        return self.training * 2 + self.taught if self.taught else self.training

    @cached_property
    def pixels(self) -> int:
        """Number of training pixels with labels."""
        return sum(section.known_px for section in self.training)

    @cached_property
    def interior_share(self) -> float:
        """Share of the training pixels that are inside cells."""
        inside = sum(int(np.count_nonzero(section.inside)) for section in self.training)
        return inside / self.pixels

    @cached_property
    def sha256(self) -> str:
        """Hash of all pixels, by which a resumed training checks that the data are the same."""
        digest = hashlib.sha256()
        for section in (*self.training, *self.validation):
            digest.update(section.image.tobytes())
            digest.update(section.labels.tobytes())
            if section.known is not None:
                digest.update(section.known.tobytes())
        for section in self.taught:  # not their labels: they depend on the teachers, up to rounding
            digest.update(section.image.tobytes())
        return digest.hexdigest()


def load_training_data(
    setup: TrainSetup, folder: Path | None, *, say: Say = lambda _: None
) -> TrainingData:
    """Read the sections that a configuration names, and hold some out for validation.

    Parameters
    ----------
    setup : TrainSetup
        Names a dataset, or the user's own images and labels.
    folder : Path or None
        Folder of the dataset; None for the user's own files.
    say : callable
        Called with a line for each pair of images and labels, and with warnings.

    Returns
    -------
    TrainingData
        Sections in memory.

    Raises
    ------
    OptionError
        If images or labels have no partner, or a named section does not exist.
    ShapeMismatchError
        If images and labels differ in shape.
    StackError
        If a file is not a stack, or the labels of a section have no interior.
    NonFiniteError
        If an image holds NaN or infinity.
    """
    config = setup.config
    parts, kind, voxel_size = _find_parts(setup, folder, say)
    counts = [_count_sections(part, config, say) for part in parts]
    training, held = split_sections(config, counts, [part.sections for part in parts])
    form = replace(config.label_format, kind=kind)
    say(describe_labels(form))
    used = {*training, *held}
    sections: dict[int, Section] = {}
    pairs: list[PairFacts] = []
    grid = Grid.from_setup(setup, voxel_size)
    for part, whole in zip(parts, number_through(counts), strict=True):
        wanted = [index for index in whole if index in used]
        numbers = f", numbered {format_sections(whole)}" if len(parts) > 1 else ""
        found, facts = _read_part(part, form, config, wanted, whole, numbers, grid, say)
        if facts.pixels.note:
            say(f"{part.images}: {facts.pixels.note}")
        grid = grid.after(facts)
        say(str(facts))
        sections |= found
        pairs.append(facts)
    for warning in (
        *data_warnings(pairs, kind, inverted=config.invert_image),
        *_test_warnings(setup, parts, counts, used),
    ):
        say(f"warning: {warning}")
    blank = {index for facts in pairs for index in facts.blank}
    training, held = (tuple(i for i in part if i not in blank) for part in (training, held))
    if not training:
        raise StackError(
            f"{config.images or config.dataset_name}: no section to train on holds tissue",
            hint="name others with --sections",
        )
    described = f"sections {format_sections(training)}" + (
        f" (validation {format_sections(held)})" if held else ""
    )
    return TrainingData(
        tuple(sections[index] for index in training),
        tuple(sections[index] for index in held),
        next((p.voxel_size_nm for p in pairs if p.voxel_size_nm), voxel_size),
        f"{_name(config, parts)} {described}",
        tuple(pairs),
        validation_numbers=tuple(index + 1 for index in held),
    )


def _find_parts(
    setup: TrainSetup, folder: Path | None, say: Say
) -> tuple[tuple[LabelledStack, ...], LabelKind, VoxelSize | None]:
    """Return the stacks to read, the kind of their labels, and their voxel size if it is known."""
    config, dataset = setup.config, setup.dataset
    if dataset is None or folder is None:
        if not (config.images and config.labels):
            raise OptionError(
                "training data: --images and --labels only work together, "
                f"and only {config.images or config.labels} is named",
                hint="--images X.tif --labels Y.tif --sections 1-24",
            )
        return pair_files(config.images, config.labels, say=say), config.labels_are, None
    parts = tuple(
        LabelledStack(str(folder / part.images), str(folder / part.labels), part.sections)
        for part in dataset.train
    )
    return parts, dataset.label_kind, dataset.voxel_size_nm


def _test_warnings(
    setup: TrainSetup, parts: Sequence[LabelledStack], counts: Sequence[int], used: set[int]
) -> Iterator[str]:
    """Warn if test sections of a dataset are trained on or held out for validation."""
    for test in setup.dataset.test if setup.dataset else ():
        for part, whole in zip(parts, number_through(counts), strict=True):
            if Path(part.images).name != Path(test.images).name:
                continue
            if seen := sorted(used.intersection(pick(whole, test.sections))):
                yield (
                    f"sections {format_sections(seen)} are test sections of "
                    f"{setup.config.dataset_name}: do not score these weights on them"
                )


def _name(config: TrainConfig, parts: Sequence[LabelledStack]) -> str:
    """Name the data: the dataset, and the stack or the number of stacks."""
    stacks = Path(parts[0].images).name if len(parts) == 1 else f"{len(parts)} pairs,"
    if config.dataset_name:
        return f"{config.dataset_name}: {stacks}"
    own = Path(config.images or "")
    folder = own.name if own.is_dir() else f"{own.parent.name}/{own.name}"
    return f"{folder}: {stacks}" if len(parts) > 1 else stacks


def _count_sections(part: LabelledStack, config: TrainConfig, say: Say) -> int:
    """Count the sections of a stack, and check that its labels have its shape."""
    label_axes = config.label_axes or config.axes
    if len({io.has_rows_from_below(source) for source in (part.images, part.labels)}) > 1:
        say(
            f"warning: of {part.images} and {part.labels} only one is MRC, whose first row 3dmod "
            "shows at the bottom: if IMOD or Fiji made one of the other, one is upside down"
        )
    with (
        io.open_stack(part.images, axes=config.axes) as images,
        io.open_stack(part.labels, axes=label_axes, labels=True) as labels,
    ):
        for stack in (images, labels):
            for note in stack.notes:
                say(f"warning: {stack.name}: {note}")
        if images.shape != labels.shape:
            raise ShapeMismatchError(
                f"{part.labels}: the labels have shape {labels.shape}, "
                f"the images {part.images} have {images.shape}",
                hint="name the labels that belong to these images",
            )
        return len(images)


def _read_part(
    part: LabelledStack,
    form: LabelFormat,
    config: TrainConfig,
    wanted: Sequence[int],
    whole: range,
    numbers: str,
    grid: Grid,
    say: Say,
) -> tuple[dict[int, Section], PairFacts]:
    """Read the wanted sections of one stack, and measure them; indices run through all stacks."""
    opened = io.open_stack(part.images, axes=config.axes).with_pixel_size(grid.said)
    with opened.inverted() if config.invert_image else opened as images:
        pixels, voxel_size = grid.choose(images.voxel_size_nm)
        sections: dict[int, Section] = {}
        if wanted:
            labels = read_label_stack(part.labels, form, axes=config.label_axes or config.axes)
            for warning in labels.warnings:
                say(f"warning: {warning}")
            sections = {i: _read_section(images, labels, i - whole.start) for i in wanted}
        if scaling := pixels.scaling((images.shape[1], images.shape[2])):
            shape = scaling.network_shape
            sections = {i: section.resampled(shape) for i, section in sections.items()}
            numbers += f", {pixels}"
        facts = count_pair(
            part.images,
            part.labels,
            images.describe() + numbers,
            voxel_size,
            sections,
            pixels,
        )
    return sections, facts


def _read_section(images: io.Stack, labels: LabelStack, index: int) -> Section:
    """Read one section; refuse images with NaN, and labels without an interior or membrane."""
    image = images.section(index)
    io.require_finite(image, images.name, index + 1)
    known = None if labels.known is None else labels.known[index]
    section = Section.from_pixels(image, labels.labels[index], known)
    if section.known_px == 0:
        return section
    for pixels, missing in ((section.inside, "inside cells"), (section.membrane, "of membrane")):
        if not pixels.any():
            raise StackError(
                f"{images.name}: section {index + 1}: its labels have no pixels {missing}",
                hint="leave sections that are not labelled out with --sections",
            )
    return section
