"""Open image files as stacks.

`open_stack` reads sections, or windows of them. The input is a file of an image or a stack, a
folder or pattern of numbered images, a store of chunks (OME-Zarr, N5, precomputed), or an array
``file.h5:/path/in/file`` or ``store.zarr:/path/in/store``. `open_array` makes a stack of
an array in memory.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfseg.errors import ShapeMismatchError, StackError
from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.axes import describe_conflict, resolve_axes
from sfseg.io.colours import ColourNumbers, find_colours, find_grey_letter
from sfseg.io.folders import address, is_many, list_files, store_kind
from sfseg.io.hashing import hash_input
from sfseg.io.hdf5 import Hdf5Source
from sfseg.io.n5 import N5Source
from sfseg.io.numbering import list_numbers, missing_numbers, section_numbers
from sfseg.io.precomputed import PrecomputedSource
from sfseg.io.sources import ArraySource, open_file
from sfseg.io.stack import Stack
from sfseg.io.zarr.reader import ZarrSource
from sfseg.system.remote import is_remote
from sfseg.types import AnyArray, Shape, VoxelSize

_KINDS = {".tiff": ".tif", ".jpeg": ".jpg"}
"""Endings that mean the same format."""

_MOST_NAMED = 3

_STORES: dict[str, Callable[[Path, str, str], ArraySource]] = {
    "zarr": ZarrSource,
    "n5": N5Source,
    "precomputed": lambda store, _, name: PrecomputedSource(store, name),
}
"""What opens each kind of store: called with the folder, the path in it, and both for messages."""

_READ_AS = {
    "bool": "uint8",
    "int8": "int32",
    "int16": "int32",
    "float16": "float32",
    "float64": "float32",
} | {name: name for name in ("uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32")}
"""The type in memory for each type in a file. Other types, such as complex, are refused."""


def open_stack(source: str | Path, *, axes: str | None = None, labels: bool = False) -> Stack:
    """Open a stack and check it, without reading its pixels yet.

    Only colours are read: where red, green and blue are equal, the image is grey.

    Parameters
    ----------
    source : str or Path
        An image file; a folder of images or a pattern such as ``raw/*.png``, one section a file,
        2 before 10; the folder of an OME-Zarr, of N5 or precomputed; ``file.h5:/path/in/file`` or
        ``store.zarr:/path/in/store``; the address of a Zarr store, ``s3://bucket/store.zarr``,
        ``gs://`` or ``https://``.
    axes : str, optional
        The dimensions of the file's array, one letter each, as in ``ZYX`` or ``YXS``: see
        `sfseg.io.axes`. By default the file's metadata; the pages of a TIFF without metadata are
        sections. For a folder these are the axes of each file.
    labels : bool
        Whether the pixels are labels: the numbers of a palette, or of a min-is-white TIFF, count
        unless they show only black and white, and colours count as numbers of cells.

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
        If h5py, zarr or obstore is needed and not installed.
    RemoteError
        If the server of an address does not answer, or does not permit to read.

    Notes
    -----
    Images are read as image programs show them: a grey palette, min-is-white and the orientation
    tag are applied, and `Stack.notes` says so. Else pixels are the numbers in the file.
    """
    path = as_path(source, "open_stack", hint="open_stack reads files; an array needs no opening")
    stack = _open_path(path, axes, labels=labels)
    # not resolved: a link may lead elsewhere on another machine
    where = str(path if is_remote(path) else path.absolute())
    return stack.with_source(partial(open_stack, where, axes=axes, labels=labels))


def _open_path(path: Path, axes: str | None, *, labels: bool) -> Stack:
    """Open a file, a folder, a pattern, or an array in a file."""
    name = str(path)
    if is_many(path):
        return _open_members(name, list_files(path), axes, labels=labels)
    file, inside = address(path)
    kind = store_kind(file) or (file.suffix.lower().removeprefix(".") if inside else "")
    if kind in _STORES:
        return _open_one(_STORES[kind](file, inside, name), name, axes, labels=labels)
    if inside:
        return _open_one(Hdf5Source(file, inside, name), name, axes, labels=labels)
    return _open_one(open_file(file, name, labels=labels), name, axes, labels=labels)


def _open_one(source: ArraySource, name: str, axes: str | None, *, labels: bool) -> Stack:
    """Make a stack of one file."""
    option = "--label-axes" if labels else "--axes"
    try:
        dtype = _readable(source.dtype, name)
        alike = find_grey_letter(source) if axes is None else ""
        colours = find_colours(source) if labels and axes is None and not alike else ""
        if colours:
            source, dtype = (numbers := ColourNumbers(source, colours)), numbers.dtype
        layout = resolve_axes(name, source.shape, source.letters, axes, alike=alike, option=option)
    except BaseException:
        source.close()
        raise
    return Stack(
        name,
        layout.stack_shape,
        dtype,
        source.voxel_size_nm,
        sha256=lambda: hash_input(name),
        read_window=lambda *window: layout.grey(source.read(layout.box(*window))),
        is_parallel=source.is_parallel,
        close=source.close,
        notes=[*source.notes, *filter(None, [describe_conflict(source.letters, layout, option)])],
        decoding_bytes=getattr(source, "decoding_bytes", 0),
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
        is_parallel=True,
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


class _Facts(NamedTuple):
    """What a file of a folder is, once it is closed again."""

    path: Path
    shape: Shape
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None
    notes: tuple[str, ...]
    channel: str
    decoding_bytes: int

    def describe(self) -> str:
        """Write the size and type of the section."""
        return f"{self.shape[1]}x{self.shape[2]} of {self.dtype}"


def _open_members(name: str, members: list[Path], axes: str | None, *, labels: bool) -> Stack:
    """Make a stack of files with a section each."""
    kinds = {_KINDS.get(path.suffix.lower(), path.suffix.lower()) for path in members}
    if len(kinds) != 1:
        raise StackError(
            f"{name}: the images are of several kinds: {', '.join(sorted(kinds))}",
            hint=f"name them with a pattern, for example {Path(name) / '*.png'}",
        )
    sections = _SectionFiles(members, axes, labels=labels)
    first, *others = facts = [sections.look(index) for index in range(len(members))]
    for each in others:
        if (each.shape, each.dtype) != (first.shape, first.dtype):
            raise ShapeMismatchError(
                f"{each.path}: {each.describe()} does not match {first.path}, {first.describe()}",
                hint="put only sections of one stack in the folder",
            )
        if each.channel != first.channel:
            raise StackError(
                f"{name}: {first.path.name} is {first.channel or 'a file of its own'} of a set, "
                f"{each.path.name} is {each.channel or 'a file of its own'}",
                hint="name the files of one channel with a pattern",
            )
    voxel_sizes = {each.voxel_size_nm for each in facts}
    numbers = section_numbers(members)
    return Stack(
        name,
        (len(members), *first.shape[1:]),
        first.dtype,
        first.voxel_size_nm if len(voxel_sizes) == 1 else None,
        sha256=lambda: hash_input(name),
        read_window=sections.window,
        is_parallel=True,
        close=sections.close,
        notes=[*_join_notes(facts), *_describe_gaps(numbers)],
        numbers=numbers,
        decoding_bytes=max(each.decoding_bytes for each in facts),
    )


def _join_notes(facts: Sequence[_Facts]) -> Iterator[str]:
    """Say each note once, and of which files."""
    notes = dict.fromkeys(note for each in facts for note in each.notes)
    for note in notes:
        which = [each.path.name for each in facts if note in each.notes]
        whose = "each file" if len(which) == len(facts) else ", ".join(which[:_MOST_NAMED])
        more = f" and {len(which) - _MOST_NAMED} more" if len(which) > _MOST_NAMED else ""
        yield f"{whose}{more if whose != 'each file' else ''}: {note}"


def _describe_gaps(numbers: Sequence[int] | None) -> Iterator[str]:
    """Say which numbers are missing in the names of the files."""
    if numbers and (missing := missing_numbers(numbers)):
        have, are = ("number", "is") if len(missing) == 1 else ("numbers", "are")
        yield (
            f"the names of the files go from {min(numbers)} to {max(numbers)}, but the {have} "
            f"{list_numbers(missing)} {are} missing: the sections there are neighbours now"
        )


class _SectionFiles:
    """Files with one section each; several threads may read them.

    A read closes all files but its own and those that other threads read.
    """

    def __init__(self, paths: list[Path], axes: str | None, *, labels: bool) -> None:
        self._paths, self._axes, self._labels = paths, axes, labels
        self._open: dict[int, Stack] = {}
        self._readers: Counter[int] = Counter()
        self._lock = threading.Lock()

    def look(self, index: int) -> _Facts:
        """Open a file, check it, and close it again."""
        path = self._paths[index]
        source = open_file(path, str(path), labels=self._labels, is_member=True)
        with self._member(source, path) as member:
            facts = (member.shape, member.dtype, member.voxel_size_nm, member.notes)
            return _Facts(path, *facts, source.channel, member.decoding_bytes)

    def window(self, index: int, rows: slice, columns: slice) -> AnyArray:
        """Read a window of the section of one file."""
        with self._lock:
            for other in set(self._open) - {index, *self._readers}:
                self._open.pop(other).close()
            if index not in self._open:
                path = self._paths[index]
                source = open_file(path, str(path), labels=self._labels, is_member=True)
                self._open[index] = self._member(source, path)
            member = self._open[index]
            self._readers[index] += 1
        try:
            return member.window(0, rows, columns)
        finally:
            with self._lock:
                self._readers -= Counter([index])  # an index without readers is dropped

    def _member(self, source: ArraySource, path: Path) -> Stack:
        """Make a stack of one file; it must be one section."""
        member = _open_one(source, str(path), self._axes, labels=self._labels)
        if len(member) != 1:
            member.close()
            raise StackError(
                f"{path}: a file of a folder must be one section, this one has {len(member)}",
                hint="give this file itself as the input: it is a stack",
            )
        return member

    def close(self) -> None:
        """Close the files that are open."""
        while self._open:
            self._open.popitem()[1].close()
