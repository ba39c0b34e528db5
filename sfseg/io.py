"""Stacks in, stacks out: the only door to image files.

`open_stack` reads, by sections or windows of them, a TIFF, a folder or pattern of numbered images,
a single PNG, JPEG or TIFF, an OME-Zarr, or an array ``file.h5:/path/in/file`` or
``store.zarr:/path/in/store``. `hash_input` tells one input from another. `read_labels` turns
labels of any polarity into 255 = interior, 0 = membrane. `write_stack` writes a TIFF as its
sections come. The voxel size is carried from the input's metadata to the output's.
"""

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import NonFiniteError, ShapeMismatchError, StackError, UnknownNameError
from sfseg.images.axes import settle
from sfseg.images.canvas import Canvas
from sfseg.images.folders import is_many, is_store, list_files
from sfseg.images.hashes import hash_file, hash_files, hash_store, hash_text
from sfseg.images.hdf5 import Hdf5Source
from sfseg.images.labels import interior
from sfseg.images.sources import Source, open_file, require_file
from sfseg.images.stack import Stack
from sfseg.images.write import create_canvas, reopen_canvas, write_stack
from sfseg.images.zarr_in import ZarrSource
from sfseg.terms import INTERIOR, AnyArray, LabelKind

__all__ = [
    "Canvas",
    "Stack",
    "container",
    "create_canvas",
    "hash_input",
    "list_files",
    "open_stack",
    "read_labels",
    "reopen_canvas",
    "require_finite",
    "write_stack",
]

_INSIDE = re.compile(r"(?P<file>.+\.(?:h5|hdf5?|zarr)):(?P<array>/?[^:]+)", re.IGNORECASE)
_READ_AS = {
    "bool": "uint8",
    "int8": "int32",
    "int16": "int32",
    "float16": "float32",
    "float64": "float32",
} | {name: name for name in ("uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32")}
"""What the types of files become in memory; other types, complex for one, are refused."""


def open_stack(source: str | Path, *, axes: str | None = None) -> Stack:
    """Open a stack, check it, and read no pixels yet.

    Parameters
    ----------
    source : str or Path
        An image file; a folder of images or a pattern such as ``raw/*.png``, one section a file,
        2 before 10; the folder of an OME-Zarr; ``file.h5:/path/in/file`` or
        ``store.zarr:/path/in/store``.
    axes : str, optional
        What the dimensions of the file's array are, one letter each, as in ``ZYX`` or ``YXS``: see
        `sfseg.images.axes`. By default what the file says; where a TIFF says nothing, its pages
        are sections. For a folder the axes are those of each file.

    Returns
    -------
    Stack
        The open stack.

    Raises
    ------
    StackError
        If it is missing, empty, no image, damaged, cut short, hostile, or ambiguous without
        `axes`.
    ShapeMismatchError
        If the images of a folder differ in shape or type.
    OptionError
        If `axes` do not fit the file.
    MissingExtraError
        If h5py or zarr is needed and not installed.

    Notes
    -----
    Pixels are the numbers in the file: no palette, no inversion, no scaling is applied.
    """
    name, path = str(source), Path(source)
    if is_many(path):
        return _open_members(name, list_files(source), axes)
    file, inside = _address(source)
    if is_store(file) or (inside and file.suffix.lower() == ".zarr"):
        return _open_one(ZarrSource(file, inside, name), name, axes)
    if inside:
        return _open_one(Hdf5Source(file, inside, name), name, axes)
    return _open_one(open_file(file, name), name, axes)


def container(source: str | Path) -> Path:
    """Return the file or store that a source is in: of ``file.h5:/path`` that is ``file.h5``."""
    return _address(source)[0]


def _address(source: str | Path) -> tuple[Path, str]:
    """Part a file or store from the path of an array in it; that is empty where none is named."""
    found = None if Path(source).exists() else _INSIDE.fullmatch(str(source))
    return (Path(source), "") if found is None else (Path(found["file"]), found["array"])


def _open_one(source: Source, name: str, axes: str | None) -> Stack:
    """Make a stack of one file."""
    try:
        layout = settle(name, source.shape, source.letters, axes)
        dtype = _readable(source.dtype, name)
    except ValueError:
        source.close()
        raise
    return Stack(
        name,
        layout.stack_shape,
        dtype,
        source.voxel_size_nm,
        read_window=lambda *window: layout.grey(source.read(layout.part(*window))),
        close=source.close,
    )


def _readable(stored: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Give the type in memory of a type in a file."""
    if stored.name not in _READ_AS:
        raise StackError(
            f"{name}: expected pixels that are whole or real numbers, found {stored}",
            hint="convert it to uint8, uint16 or float32",
        )
    return np.dtype(_READ_AS[stored.name])


def _open_members(name: str, members: list[Path], axes: str | None) -> Stack:
    """Make a stack of files with a section each."""
    endings = {path.suffix.lower()[:4] for path in members}  # .tiff and .tif are one
    if len(endings) != 1:
        raise StackError(
            f"{name}: expected images of one kind, found {', '.join(sorted(endings))}",
            hint=f"name them with a pattern, for example {Path(name) / '*.png'}",
        )
    with _open_member(members[0], axes) as first:
        pass
    voxel_sizes = {first.voxel_size_nm}
    for path in members[1:]:
        with _open_member(path, axes) as member:
            if (member.shape, member.dtype) != (first.shape, first.dtype):
                raise ShapeMismatchError(
                    f"{path}: expected {_size(first)} as in {members[0]}, found {_size(member)}",
                    hint="put only sections of one stack in the folder",
                )
            voxel_sizes.add(member.voxel_size_nm)

    sections = _Members(members, axes)
    return Stack(
        name,
        (len(members), *first.shape[1:]),
        first.dtype,
        first.voxel_size_nm if len(voxel_sizes) == 1 else None,
        read_window=sections.window,
        close=sections.close,
    )


class _Members:
    """Files with a section each, open one at a time: the one read last, as long as it is read."""

    def __init__(self, paths: list[Path], axes: str | None) -> None:
        self._paths, self._axes = paths, axes
        self._open: tuple[int, Stack] | None = None

    def window(self, index: int, rows: slice, columns: slice) -> AnyArray:
        """Read a window of the section of one file."""
        if self._open is None or self._open[0] != index:
            self.close()
            self._open = index, _open_member(self._paths[index], self._axes)
        return self._open[1].window(0, rows, columns)

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _open_member(path: Path, axes: str | None) -> Stack:
    """Open one file of a folder."""
    member = _open_one(open_file(path, str(path)), str(path), axes)
    if len(member) != 1:
        member.close()
        raise StackError(
            f"{path}: expected one section in each file of a folder, found {len(member)}",
            hint="name that file itself: it is a stack",
        )
    return member


def _size(stack: Stack) -> str:
    """Write the size and type of the sections."""
    return f"{stack.shape[1]}x{stack.shape[2]} of {stack.dtype}"


def hash_input(source: str | Path) -> str:
    """Hash all that reading a source depends on; the axes that a person gives are not of it.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.

    Returns
    -------
    str
        SHA-256 in hexadecimal. Of a file, that of its bytes; of a folder or pattern, that of the
        names and hashes of its images in their order; of a Zarr store, that of the names and
        hashes of all its files; with the path of an array, of that too.

    Raises
    ------
    StackError
        If there is nothing to read, or a file of a store is a link to one elsewhere.
    """
    path = Path(source)
    if is_many(path):
        members = list_files(source)
        for member in members:
            require_file(member, str(member))
        return hash_files((member.name, member) for member in members)
    file, inside = _address(source)
    if is_store(file):
        return hash_text(f"{hash_store(file, str(source))} {inside.strip('/')}")
    require_file(file, str(source))
    content = hash_file(file)
    return hash_text(f"{content} {inside.strip('/')}") if inside else content


def read_labels(
    source: str | Path, kind: LabelKind = "interior", *, axes: str | None = None
) -> NDArray[np.uint8]:
    """Read labels of any polarity as interior and membrane.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.
    kind : {"interior", "membrane", "instances"}
        What the labels mark. ``interior``: any number but 0 is the inside of a cell, as in the
        challenge. ``membrane``: any number but 0 is membrane. ``instances``: each cell has its
        number; membrane is 0, and a pixel one of whose 4 neighbours in the section has another.
    axes : str, optional
        As for `open_stack`.

    Returns
    -------
    ndarray of uint8, shape (Z, Y, X)
        255 inside a cell, 0 on membrane.

    Raises
    ------
    StackError
        If labels of two values hold others, or the result is all interior or all membrane; and
        what `open_stack` raises.
    NonFiniteError
        If a label is NaN or infinite.
    UnknownNameError
        If there is no such kind.
    """
    if kind not in get_args(LabelKind):
        raise UnknownNameError.of("kind of labels", kind, get_args(LabelKind))
    with open_stack(source, axes=axes) as stack:
        labels = np.empty(stack.shape, np.uint8)
        values: set[int | float] = set()
        for number, section in enumerate(stack, start=1):
            require_finite(section, stack.name, number)
            values |= {section.min().item(), section.max().item()}
            if kind != "instances":
                _require_two_values(section, values, stack.name, number)
            labels[number - 1] = np.where(interior(section, kind), INTERIOR, np.uint8(0))
    if labels.min() == labels.max():
        raise StackError(
            f"{stack.name}: expected both interior and membrane, "
            f"found only {', '.join(map(str, sorted(values)))}",
            hint="give the labels, not the images or a mask",
        )
    return labels


def _require_two_values(
    section: AnyArray, values: set[int | float], name: str, number: int
) -> None:
    """Refuse labels that hold more than 0 and one other number."""
    values = values | ({0} if len(values) > 1 else set())
    if len(values) > 2 or not np.isin(section, list(values)).all():
        found = sorted(values.union(np.unique(section).tolist()))
        raise StackError(
            f"{name}: section {number}: expected 0 and one other value, found "
            f"{', '.join(map(str, found[:5]))}{', ...' if len(found) > 5 else ''}",
            hint="if these are the numbers of cells, give --labels-are instances",
        )


def require_finite(section: AnyArray, name: str, number: int, first_row: int = 0) -> None:
    """Refuse a section with NaN or infinity in it.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The pixels, or some rows of them.
    name : str
        The stack, for the message.
    number : int
        The section, from 1, for the message.
    first_row : int
        Row of the section where the pixels begin, for the message.

    Raises
    ------
    NonFiniteError
        If a pixel is not finite; it names the first, by row and column from 0.
    """
    if section.dtype.kind != "f" or np.isfinite(section).all():
        return
    row, column = np.argwhere(~np.isfinite(section))[0]
    raise NonFiniteError(
        f"{name}: section {number}: expected finite pixels, "
        f"found {section[row, column]} in row {first_row + row}, column {column}",
        hint="replace NaN and infinity before, for example by the mean",
    )
