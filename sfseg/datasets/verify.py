"""Check that what was delivered is what the table says."""

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
    """Check that a file is the one of the table.

    Parameters
    ----------
    file : DataFile
        What it should be.
    path : Path
        Where it is.

    Raises
    ------
    ChecksumError
        If its contents are known and these are others.
    StackError
        If its shape, type or values are not those of the table, or it is no image at all.
    """
    if file.has_identity and not _is_known(file, path):
        raise ChecksumError(
            f"{file.name}: expected the contents that are known, found others",
            hint="this copy is damaged or another edition: get another one",
        )
    if file.shape is not None:
        _check_image(file, path)


def _is_known(file: DataFile, path: Path) -> bool:
    """Compare with the known identities, the cheap ones first."""
    return (
        (file.sha256 is not None and sha256(path) == file.sha256)
        or (bool(file.git_blobs) and git_blob(path) in file.git_blobs)
        or (file.pixels is not None and pixel_hash(path) == file.pixels)
    )


def _check_image(file: DataFile, path: Path) -> None:
    with io.open_stack(path) as stack:
        if (stack.shape, stack.dtype.name) != (file.shape, file.dtype):
            raise StackError(
                f"{path}: expected shape {file.shape} of {file.dtype}, found {stack.describe()}"
            )
        if file.values is not None:
            values = tuple(int(value) for value in np.unique(stack.read()))
            if values != file.values:
                raise StackError(f"{path}: expected the values {file.values}, found {values[:10]}")


def check_parts(dataset: Dataset, folder: Path) -> None:
    """Check that images and labels fit each other, and that the labels say what the table says.

    Parameters
    ----------
    dataset : Dataset
        Whose parts to check.
    folder : Path
        Where its files are.

    Raises
    ------
    ShapeMismatchError
        If images and labels differ in shape.
    StackError
        If a part cannot be read, or the share of interior is not that of
        tissue, as when the polarity is the other one.
    OptionError
        If the split names sections that are not there.
    """
    for part in dataset.parts:
        with (
            io.open_stack(f"{folder}/{part.images}") as images,
            io.open_stack(f"{folder}/{part.labels}") as labels,
        ):
            if images.shape != labels.shape:
                raise ShapeMismatchError(
                    f"{labels.name}: expected labels of shape {images.shape}, found {labels.shape}"
                )
            if part.sections is not None:
                parse_sections(part.sections, len(images))
    if dataset.label_kind != "instances":  # numbers of cells have no polarity
        for labels_name in sorted({part.labels for part in dataset.parts}):
            _check_polarity(dataset, f"{folder}/{labels_name}")


def _check_polarity(dataset: Dataset, path: str) -> None:
    with io.open_stack(path) as labels:
        inside = sum(int(np.count_nonzero(section)) for section in labels) / math.prod(labels.shape)
    share = 1 - inside if dataset.label_kind == "membrane" else inside
    low, high = PLAUSIBLE_INTERIOR
    if not low <= share <= high:
        raise StackError(
            f"{path}: expected {low:.0%} to {high:.0%} of the pixels inside cells, "
            f"found {share:.0%} when read as {dataset.label_kind} labels",
            hint="look at the file and report what its labels are: the table of datasets is wrong",
        )
