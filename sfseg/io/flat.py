"""Pixels that lie in one piece in a file, one after the other: read windows, put rectangles.

The modules of such formats (MRC, NumPy, NRRD, NIfTI, DM) only read the header.
"""

import contextlib
import errno
import gzip
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from sfseg.errors import StackError
from sfseg.io.canvas import Canvas
from sfseg.io.guards import SMALL_BYTES, refuse_bomb, refuse_untrusted, translate_errors
from sfseg.types import AnyArray, VoxelSize

GZIP = b"\x1f\x8b"
_HEAD_BYTES = 2**16
_STEP_BYTES = 2**22
_CUT_SHORT = "copy or download the file again; it may be cut short"

_CANNOT_RESERVE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of file systems that cannot reserve space; there the disk may be full later."""


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a file lie, and what they are.

    Attributes
    ----------
    start : int
        Where the first pixel begins; in the unpacked data where they are packed.
    shape : tuple of int
        The array.
    dtype : dtype
        Type in the file, with its byte order.
    letters : str
        A letter for each dimension; empty where the file does not say.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x).
    notes : tuple of str
        What a person should know about how the file is read.
    packed_at : int or None
        Where data of gzip begin that hold the pixels; None where they are plain.
    order : {"C", "F"}
        Whether the last or the first dimension is the fastest.
    """

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    letters: str = ""
    voxel_size_nm: VoxelSize | None = None
    notes: tuple[str, ...] = ()
    packed_at: int | None = None
    order: Literal["C", "F"] = "C"

    @property
    def size_bytes(self) -> int:
        """Size of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize


class FlatSource:
    """An array that lies in one piece in a file; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    layout : Layout
        Where the pixels lie.
    show : callable, optional
        Turns stored pixels into those that are read, such as by a scale.

    Raises
    ------
    StackError
        If the file has fewer pixels than it declares, or is a bomb.

    Notes
    -----
    Pages of a map count as memory of the process, so each read maps the file anew. Packed pixels
    are unpacked once, at the first read, to a temporary file without a name.
    """

    channel = ""
    is_parallel = False

    def __init__(
        self,
        path: Path,
        name: str,
        layout: Layout,
        *,
        show: Callable[[AnyArray], AnyArray] | None = None,
    ) -> None:
        self._path, self._name, self._layout, self._show = path, name, layout, show
        self._unpacked: IO[bytes] | None = None
        self.shape, self.letters = layout.shape, layout.letters
        self.voxel_size_nm, self.notes = layout.voxel_size_nm, layout.notes
        if any(length < 0 for length in layout.shape) or layout.start < 0:
            raise StackError(
                f"{name}: the header gives sizes below 0: {layout.shape}", hint=_CUT_SHORT
            )
        self._native = layout.dtype.newbyteorder("=")
        shown = np.zeros(1, self._native) if show is None else show(np.zeros(1, self._native))
        self.dtype: np.dtype[Any] = shown.dtype
        self._check_size()

    def _check_size(self) -> None:
        """Refuse a file that is cut short, or that unpacks to far more than it has."""
        file_bytes, wanted = self._path.stat().st_size, self._layout.size_bytes
        if self._layout.packed_at is not None:
            refuse_bomb(
                self._name,
                decoded_bytes=self._layout.start + wanted,
                encoded_bytes=file_bytes,
                chunk_bytes=0,
            )
        elif self._layout.start + wanted > file_bytes:
            there = max(file_bytes - self._layout.start, 0)
            raise StackError(
                f"{self._name}: the file has {there} of {wanted} bytes of pixels", hint=_CUT_SHORT
            )

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        with translate_errors(self._name), self._file() as file:
            at = self._layout
            # np.memmap refuses a file that has become shorter
            whole = np.memmap(file, at.dtype, "r", at.start, at.shape, at.order)
            pixels = np.array(whole[box], self._native, order="C")
            del whole
        return pixels if self._show is None else self._show(pixels)

    def _file(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open the file with the plain pixels."""
        if self._layout.packed_at is None:
            return self._path.open("rb")
        if self._unpacked is None:
            self._unpacked = self._unpack(self._layout.packed_at)
        return contextlib.nullcontext(self._unpacked)

    def _unpack(self, packed_at: int) -> IO[bytes]:
        """Unpack what is wanted, and no more, to a temporary file; its checksum is checked."""
        left = self._layout.start + self._layout.size_bytes
        target = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        try:
            with self._path.open("rb") as file:
                file.seek(packed_at)
                with gzip.open(file) as stream:
                    while left and (data := stream.read(min(left, _STEP_BYTES))):
                        left -= target.write(data)
                    self._drain(stream)
            target.flush()
        except BaseException as error:
            target.close()
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise StackError(
                    f"{self._name}: no room in {tempfile.gettempdir()} to unpack "
                    f"{_in_words(self._layout.size_bytes)}",
                    hint="unpack the file first, or name another folder in TMPDIR",
                ) from error
            raise
        return target

    def _drain(self, stream: gzip.GzipFile) -> None:
        """Read on to the end, where the checksum is compared; little may lie behind the pixels."""
        behind = 0
        while data := stream.read(_STEP_BYTES):
            behind += len(data)
            if behind > max(SMALL_BYTES, self._layout.size_bytes):
                refuse_untrusted(self._name, f"more than {behind} bytes lie behind the pixels")

    def close(self) -> None:
        """Close and remove the temporary file."""
        if self._unpacked is not None:
            self._unpacked.close()
            self._unpacked = None


def read_head(path: Path, name: str, *, is_packed: bool) -> bytes:
    """Read the first 64 KiB of a file, or of what it unpacks to."""
    with translate_errors(name), path.open("rb") as file:
        if not is_packed:
            return file.read(_HEAD_BYTES)
        with gzip.open(file) as stream:
            return stream.read(_HEAD_BYTES)


class FlatCanvas(Canvas):
    """A canvas whose pixels lie in one piece in the file, uncompressed.

    A subclass checks the file and then calls `_open_pixels`.
    """

    def _open_pixels(self, start: int, stored: np.dtype[Any]) -> None:
        """Open the file; say where its pixels begin, and their type with the byte order."""
        self._start, self._stored = start, stored
        # unbuffered: pixels go to the system at once; and no memmap, whose pages count as memory
        self._file = self._part.open("r+b", buffering=0)

    def _write(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write whole rows at once, parts of rows one by one."""
        _, height, width = self.shape
        pixels = np.ascontiguousarray(pixels, self._stored)
        first = (section * height + rows.start) * width + columns.start
        runs = pixels.reshape(1, -1) if pixels.shape[1] == width else pixels
        for number, run in enumerate(runs):
            place = self._start + (first + number * width) * self._stored.itemsize
            self._write_at(place, memoryview(run.view(np.uint8)))

    def _write_at(self, place: int, data: memoryview) -> None:
        """Write all bytes; the system takes at most 2 GiB at a time."""
        self._file.seek(place)
        while data:
            data = data[self._file.write(data) :]

    def flush(self) -> None:
        """Make what was put survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def reserve(part: Path, name: str) -> None:
    """Reserve the disk space of a file, so that a full disk is an error now and not hours later.

    Parameters
    ----------
    part : Path
        The file, at its full size. It is removed if there is no room for it.
    name : str
        Its final name, for the message.

    Raises
    ------
    OSError
        If the disk has no room for it, as far as the file system knows.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = part.stat().st_size
    try:
        with part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in _CANNOT_RESERVE:
            return
        part.unlink()  # it may have taken all that was free
        free = shutil.disk_usage(part.parent).free
        words = f"disk full: needs {_in_words(size)}, {_in_words(free)} are free"
        if error.errno != errno.ENOSPC:
            words = os.strerror(error.errno or 0)
        raise OSError(error.errno, words, name) from error


def _in_words(count: float) -> str:
    """Write a number of bytes in words: 31.5 MB."""
    size, unit = count, "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
