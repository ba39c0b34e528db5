"""The protocol: which sections are trained on, and which are tested on and never looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfseg import io
from sfseg.datasets.dataset import Dataset, LabelledStack
from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.types import AnyArray, Shape, VoxelSize, format_sections, parse_sections


@dataclass(frozen=True)
class DataSplit:
    """The sections to train on and those to test on; no section is in both.

    Attributes
    ----------
    fold : int or None
        Number of the held-out block, from 1; None = the dataset's own split.
    training : str or None
        The sections to train on, as `sfseg.config.TrainConfig` takes them; None = the standard
        ones.
    test : tuple of LabelledStack
        The sections to test on; for folds they are training sections of the dataset.
    """

    fold: int | None
    training: str | None
    test: tuple[LabelledStack, ...]

    @property
    def suffix(self) -> str:
        """The ending of the names of its files."""
        return "" if self.fold is None else f"-fold{self.fold}"


@dataclass(frozen=True)
class TestSet:
    """The test sections of a split, as files.

    Attributes
    ----------
    volume, labels : Path
        Stacks of these sections only; in the labels 255 = inside a cell, 0 = membrane.
    sections : tuple of int
        Their numbers in the dataset, from 1.
    shape : tuple of int
        (Z, Y, X).
    """

    volume: Path
    labels: Path
    sections: tuple[int, ...]
    shape: Shape


def make_splits(dataset: Dataset, folder: Path, folds: int | None) -> tuple[DataSplit, ...]:
    """Divide a dataset into sections to train on and to test on.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    folder : Path
        Its folder.
    folds : int or None
        Number of blocks for a cross-validation; None = the dataset's own split. Each block of
        neighbouring training sections tests the networks that were trained on the other blocks.
        Neighbouring sections look alike, so the scores of scattered ones would be too high.

    Returns
    -------
    tuple of DataSplit
        One, or one for each fold.

    Raises
    ------
    OptionError
        If there are fewer sections than folds, or several stacks to train on.
    """
    if folds is None:
        return (DataSplit(None, None, dataset.test),)
    if len(dataset.train) > 1:
        raise OptionError(
            f"--folds only works with one training stack, {dataset.name} has {len(dataset.train)}",
            hint="leave --folds out to use the split of the dataset",
        )
    (part,) = dataset.train
    with io.open_stack(folder / part.images) as stack:
        chosen = _indices(part, len(stack))
    if len(chosen) < folds:
        raise OptionError(
            f"--folds: must be at most {len(chosen)}, the number of sections, not {folds}",
            hint=f"--folds {len(chosen)}",
        )
    blocks = [tuple(block.tolist()) for block in np.array_split(chosen, folds)]
    return tuple(
        DataSplit(
            number,
            format_sections([index for index in chosen if index not in block]),
            (LabelledStack(part.images, part.labels, format_sections(block)),),
        )
        for number, block in enumerate(blocks, start=1)
    )


def write_test_set(split: DataSplit, dataset: Dataset, folder: Path, out: Path) -> TestSet:
    """Copy the test sections to files of their own, so that only they are predicted.

    Parameters
    ----------
    split : DataSplit
        Names the test sections.
    dataset : Dataset
        Has the kind of the labels, and the voxel size.
    folder : Path
        The folder of the dataset.
    out : Path
        The folder to write to; files of an earlier call are replaced.

    Returns
    -------
    TestSet
        The files.

    Raises
    ------
    ShapeMismatchError
        If the test sections differ in size or type, or their labels in size.
    StackError, OptionError
        If a file is not what the table of datasets says.
    OSError
        If a file cannot be read or written.
    """
    volumes: list[AnyArray] = []
    labels: list[AnyArray] = []
    numbers: list[int] = []
    voxel_size = dataset.voxel_size_nm
    for part in split.test:
        with io.open_stack(folder / part.images) as stack:
            indices = _indices(part, len(stack))
            volumes.extend(stack.read(indices))
            voxel_size = voxel_size or stack.voxel_size_nm
        labels.extend(io.read_labels(folder / part.labels, dataset.label_kind)[list(indices)])
        numbers += [index + 1 for index in indices]
    sizes = {(array.shape, array.dtype) for array in volumes}
    if len(sizes) > 1 or {array.shape for array in labels} != {shape for shape, _ in sizes}:
        raise ShapeMismatchError(
            f"{dataset.name}: the test sections, or their labels, differ in size or type: "
            f"{', '.join(sorted(f'{s[0]}x{s[1]} {t}' for s, t in sizes))}",
            hint="compare on another dataset",
        )
    named = out / f"test{split.suffix}"
    test_set = TestSet(
        named / "volume.tif",
        named / "labels.tif",
        tuple(numbers),
        (len(volumes), *volumes[0].shape),
    )
    _write(test_set.volume, volumes, test_set.shape, voxel_size)
    _write(test_set.labels, labels, test_set.shape, voxel_size)
    return test_set


def _write(
    path: Path, sections: Sequence[AnyArray], shape: Shape, voxel_size_nm: VoxelSize | None
) -> None:
    dtype = sections[0].dtype
    io.write_sections(path, sections, shape, dtype, voxel_size_nm=voxel_size_nm, overwrite=True)


def _indices(part: LabelledStack, count: int) -> tuple[int, ...]:
    return parse_sections(part.sections, count) if part.sections else tuple(range(count))


def describe_protocol(dataset: Dataset, splits: Sequence[DataSplit]) -> str:
    """Say in sentences what was trained on, and what was tested on."""
    trained, tested = _describe(dataset.train), _describe(dataset.test)
    if splits[0].fold is None:
        return (
            f"Trained on {trained}, none of them held out; the weights of the last step tested on "
            f"{tested}, in a single pass. Nothing in the training looked at those."
        )
    blocks = ", ".join(part.sections or "" for split in splits for part in split.test)
    return (
        f"Cross-validation inside {trained}: {len(splits)} blocks of neighbouring sections "
        f"({blocks}), each tested in a single pass on the last weights of networks trained on the "
        f"others. {tested[0].upper()}{tested[1:]}, the test, had no part in it."
    )


def _describe(parts: Sequence[LabelledStack]) -> str:
    """Name sections, and their stacks if there are several."""
    words = [f"sections {part.sections}" if part.sections else "all sections" for part in parts]
    if len(parts) > 1:
        words = [f"{w} of {Path(p.images).name}" for w, p in zip(words, parts, strict=True)]
    return " and ".join(words)
