"""Check fetched files against the table of datasets."""

import hashlib
import math
from pathlib import Path

import numpy as np

from sfseg import io
from sfseg.datasets.dataset import DataFile, Dataset
from sfseg.errors import ChecksumError, ShapeMismatchError, StackError
from sfseg.types import PLAUSIBLE_INTERIOR, parse_sections


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob(path: Path) -> str:
    """Return the git blob id of a file's bytes."""
    start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: start).hexdigest()


def pixel_hash(path: Path) -> str:
    """Return the sha256 of the decoded pixels, in C order.

    Raises
    ------
    StackError
        If the file is not an image.
    """
    with io.open_stack(path) as stack:
        digest = hashlib.sha256()
        for section in stack:
            digest.update(np.ascontiguousarray(section).data)
    return digest.hexdigest()


def check_file(file: DataFile, path: Path) -> None:
    """Check a file against its entry in the table.

    Parameters
    ----------
    file : DataFile
        The entry.
    path : Path
        The file.

    Raises
    ------
    ChecksumError
        If its hash is known and this file has another one.
    StackError
        If its shape, type or values are not those of the table, or it is not an image.
    """
    if file.has_identity and not _is_known(file, path):
        raise ChecksumError(
            f"{file.name}: its contents differ from the known ones",
            hint="this copy is damaged, or another edition: use another copy",
        )
    if file.shape is not None:
        _check_image(file, path)


def _is_known(file: DataFile, path: Path) -> bool:
    """Compare with the known hashes, the cheap ones first."""
    return (
        (file.sha256 is not None and sha256(path) == file.sha256)
        or (bool(file.git_blobs) and git_blob(path) in file.git_blobs)
        or (file.pixels is not None and pixel_hash(path) == file.pixels)
    )


def _check_image(file: DataFile, path: Path) -> None:
    with io.open_stack(path) as stack:
        if (stack.shape, stack.dtype.name) != (file.shape, file.dtype):
            raise StackError(
                f"{path}: the shape is {stack.shape}, {stack.dtype.name}; "
                f"it should be {file.shape}, {file.dtype}"
            )
        if file.values is not None:
            values = tuple(int(value) for value in np.unique(stack.read()))
            if values != file.values:
                raise StackError(
                    f"{path}: the values are {values[:10]}; they should be {file.values}"
                )


def check_parts(dataset: Dataset, folder: Path) -> None:
    """Check that images and labels fit each other, and that the labels have the right polarity.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    folder : Path
        The folder of its files.

    Raises
    ------
    ShapeMismatchError
        If images and labels differ in shape.
    StackError
        If a part cannot be read, or its share of interior is not plausible, as with the opposite
        polarity.
    OptionError
        If the split names sections that do not exist.
    """
    for part in dataset.parts:
        with (
            io.open_stack(f"{folder}/{part.images}") as images,
            io.open_stack(f"{folder}/{part.labels}") as labels,
        ):
            if images.shape != labels.shape:
                raise ShapeMismatchError(
                    f"{labels.name}: the labels have shape {labels.shape}, "
                    f"the images {images.shape}"
                )
            if part.sections is not None:
                parse_sections(part.sections, len(images))
    if dataset.label_kind != "instances":  # numbers of cells have no polarity
        for labels_name in sorted({part.labels for part in dataset.parts}):
            _check_polarity(dataset, f"{folder}/{labels_name}")


def _check_polarity(dataset: Dataset, path: str) -> None:
    with io.open_stack(path) as labels:
        counts = [int(np.count_nonzero(section)) for section in labels]
        labelled = int(np.count_nonzero(counts))  # a lost section has no label
        inside = sum(counts) / (max(labelled, 1) * math.prod(labels.shape[1:]))
    share = 1 - inside if dataset.label_kind == "membrane" else inside
    low, high = PLAUSIBLE_INTERIOR
    if not low <= share <= high:
        raise StackError(
            f"{path}: read as {dataset.label_kind} labels, {share:.0%} of the pixels are inside "
            f"cells; {low:.0%} to {high:.0%} are plausible",
            hint="look at the file; if it is right, please report that the table is wrong",
        )
