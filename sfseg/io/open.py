"""Open image files as stacks.

`open_stack` reads sections, or windows of them. The input is a TIFF, PNG or JPEG, a folder or
pattern of numbered images, an OME-Zarr, or an array ``file.h5:/path/in/file`` or
``store.zarr:/path/in/store``. `open_array` makes a stack of an array in memory.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import ShapeMismatchError, StackError
from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.axes import resolve_axes
from sfseg.io.folders import address, is_many, is_store, list_files
from sfseg.io.hashing import hash_input
from sfseg.io.hdf5 import Hdf5Source
from sfseg.io.sources import ArraySource, open_file
from sfseg.io.stack import Stack
from sfseg.io.zarr.reader import ZarrSource
from sfseg.types import AnyArray

_READ_AS = {
    "bool": "uint8",
    "int8": "int32",
    "int16": "int32",
    "float16": "float32",
    "float64": "float32",
} | {name: name for name in ("uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32")}
"""The type in memory for each type in a file. Other types, such as complex, are refused."""


def open_stack(source: str | Path, *, axes: str | None = None) -> Stack:
    """Open a stack and check it, without reading its pixels yet.

    Parameters
    ----------
    source : str or Path
        An image file; a folder of images or a pattern such as ``raw/*.png``, one section a file,
        2 before 10; the folder of an OME-Zarr; ``file.h5:/path/in/file`` or
        ``store.zarr:/path/in/store``.
    axes : str, optional
        The dimensions of the file's array, one letter each, as in ``ZYX`` or ``YXS``: see
        `sfseg.io.axes`. By default the file's metadata; the pages of a TIFF without metadata are
        sections. For a folder these are the axes of each file.

    Returns
    -------
    Stack
        The open stack.

    Raises
    ------
    StackError
        If the input is missing, empty, not an image, damaged, cut short or hostile, or ambiguous
        without `axes`.
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
    path = as_path(source, "open_stack", hint="open_stack reads files; an array needs no opening")
    name = str(source)
    if is_many(path):
        return _open_members(name, list_files(source), axes)
    file, inside = address(source)
    if is_store(file) or (inside and file.suffix.lower() == ".zarr"):
        return _open_one(ZarrSource(file, inside, name), name, axes)
    if inside:
        return _open_one(Hdf5Source(file, inside, name), name, axes)
    return _open_one(open_file(file, name), name, axes)


def _open_one(source: ArraySource, name: str, axes: str | None) -> Stack:
    """Make a stack of one file."""
    try:
        layout = resolve_axes(name, source.shape, source.letters, axes)
        dtype = _readable(source.dtype, name)
    except ValueError:
        source.close()
        raise
    return Stack(
        name,
        layout.stack_shape,
        dtype,
        source.voxel_size_nm,
        sha256=lambda: hash_input(name),
        read_window=lambda *window: layout.grey(source.read(layout.box(*window))),
        close=source.close,
    )


def open_array(array: object, function: str, *, hint: str | None = None) -> Stack:
    """Open an array in memory as a stack, as if it came from a file.

    Parameters
    ----------
    array : array_like, shape (Z, Y, X) or (Y, X)
        Whole or real numbers.
    function : str
        The function that was called, for messages.
    hint : str, optional
        What to do with a path instead, for the message.

    Returns
    -------
    Stack
        The open stack, without a voxel size.

    Raises
    ------
    StackError
        If it is a path, is not a stack of numbers, or looks like a colour image.
    """
    pixels = as_stack_array(array, function, hint=hint)
    depth, height, width = pixels.shape
    if width in (3, 4) and min(depth, height) > 4:
        raise StackError(
            f"{function}: an array of shape {pixels.shape} looks like a colour image (Y, X, RGB)",
            hint="pass grey values, for example image.mean(axis=-1)",
        )
    return Stack(
        function,
        pixels.shape,
        _readable(pixels.dtype, function),
        None,
        sha256=lambda: hashlib.sha256(pixels.tobytes()).hexdigest(),
        read_window=lambda section, rows, columns: pixels[section, rows, columns],
        close=lambda: None,
    )


def _readable(stored: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Return the type in memory for a type in a file."""
    if stored.name not in _READ_AS:
        raise StackError(
            f"{name}: pixels of type {stored} cannot be read",
            hint="convert it to uint8, uint16 or float32",
        )
    return np.dtype(_READ_AS[stored.name])


def _open_members(name: str, members: list[Path], axes: str | None) -> Stack:
    """Make a stack of files with a section each."""
    endings = {path.suffix.lower()[:4] for path in members}  # .tiff and .tif are one
    if len(endings) != 1:
        raise StackError(
            f"{name}: the images are of several kinds: {', '.join(sorted(endings))}",
            hint=f"name them with a pattern, for example {Path(name) / '*.png'}",
        )
    with _open_member(members[0], axes) as first:
        pass
    voxel_sizes = {first.voxel_size_nm}
    for path in members[1:]:
        with _open_member(path, axes) as member:
            if (member.shape, member.dtype) != (first.shape, first.dtype):
                raise ShapeMismatchError(
                    f"{path}: {_size(member)} does not match {members[0]}, {_size(first)}",
                    hint="put only sections of one stack in the folder",
                )
            voxel_sizes.add(member.voxel_size_nm)

    sections = _SectionFiles(members, axes)
    return Stack(
        name,
        (len(members), *first.shape[1:]),
        first.dtype,
        first.voxel_size_nm if len(voxel_sizes) == 1 else None,
        sha256=lambda: hash_input(name),
        read_window=sections.window,
        close=sections.close,
    )


class _SectionFiles:
    """Files with one section each. Only the file that was read last is open."""

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
            f"{path}: a file of a folder must be one section, this one has {len(member)}",
            hint="give this file itself as the input: it is a stack",
        )
    return member


def _size(stack: Stack) -> str:
    """Write the size and type of the sections."""
    return f"{stack.shape[1]}x{stack.shape[2]} of {stack.dtype}"
