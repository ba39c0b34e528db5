"""The type `Stack`: sections of one size, read from a file on request."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from sfseg.errors import NonFiniteError, StackError
from sfseg.types import AnyArray, PixelSize, Shape, VoxelSize, describe_shape


class Stack:
    """A stack of sections, each read from the file on request; a context manager.

    Several threads may read it.

    Parameters
    ----------
    name : str
        The input as the user typed it, for messages.
    shape : tuple of int
        (Z, Y, X).
    dtype : numpy.dtype
        Type of the sections as they are read, in native byte order.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x). z is NaN if the file has only the size of its pixels; None if it has
        neither.
    read_window : callable
        Called with the index of a section, from 0, and two slices of rows and columns, with a
        start and a stop each. Returns the pixels, shape (rows, columns).
    is_parallel : bool
        Whether several threads may call it at the same time; else one waits for the other.
    sha256 : callable
        Returns a hash of all that the pixels depend on.
    close : callable
        Closes the files.
    notes : sequence of str
        What a person should know about how the files are read, a sentence each.
    numbers : tuple of int, optional
        The numbers of the sections in the names of their files.
    buffer_bytes : int
        Memory that it takes, beside that of the windows; see `sfseg.io.turned`.
    decoding_bytes : int
        Memory that each thread takes that reads, where a file can only be decoded as a whole, or
        strip by strip.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        dtype: np.dtype[Any],
        voxel_size_nm: VoxelSize | None,
        *,
        read_window: Callable[[int, slice, slice], AnyArray],
        is_parallel: bool = False,
        sha256: Callable[[], str],
        close: Callable[[], None],
        notes: Sequence[str] = (),
        numbers: tuple[int, ...] | None = None,
        buffer_bytes: int = 0,
        decoding_bytes: int = 0,
    ) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.voxel_size_nm = voxel_size_nm
        self.notes, self.numbers = tuple(notes), numbers
        self.buffer_bytes, self.decoding_bytes = buffer_bytes, decoding_bytes
        self._read_window, self._is_parallel = read_window, is_parallel
        self._sha256 = sha256
        self._close = close
        self._hash, self._hashing = "", threading.Lock()
        self._turn = contextlib.nullcontext() if is_parallel else threading.Lock()
        self._reopen: Callable[[], Stack] | None = None

    def with_source(self, reopen: Callable[[], "Stack"]) -> "Stack":
        """Return this stack, which can be pickled then: a process that loads it calls `reopen`."""
        known = Stack.__new__(Stack)
        known.__dict__.update(self.__dict__, _reopen=reopen)
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopen is None:
            raise TypeError(f"{self.name}: only a stack as it is in a file can be pickled")
        return _open_again, (self._reopen, self.shape, str(self.dtype))

    def with_pixel_size(self, pixel_size_nm: PixelSize | None) -> "Stack":
        """Return this stack with pixels of another size, (y, x); None = the stack as it is."""
        if pixel_size_nm is None:
            return self
        thickness = self.voxel_size_nm[0] if self.voxel_size_nm else math.nan
        return self.with_voxel_size((thickness, *pixel_size_nm))

    def with_voxel_size(self, voxel_size_nm: VoxelSize) -> "Stack":
        """Return this stack with voxels of another size, (z, y, x)."""
        return Stack(
            self.name,
            self.shape,
            self.dtype,
            voxel_size_nm,
            read_window=self._read_window,
            is_parallel=self._is_parallel,
            sha256=self._sha256,
            close=self._close,
            notes=self.notes,
            numbers=self.numbers,
            buffer_bytes=self.buffer_bytes,
            decoding_bytes=self.decoding_bytes,
        )

    def section(self, index: int) -> AnyArray:
        """Read one whole section; see `window`."""
        return self.window(index, slice(0, self.shape[1]), slice(0, self.shape[2]))

    def window(self, index: int, rows: slice, columns: slice) -> AnyArray:
        """Read a window of one section, and little more of the file if the format allows.

        From uncompressed files only the window is read, from others the strips, tiles or chunks
        that it touches. A PNG or JPEG is decoded as a whole.

        Parameters
        ----------
        index : int
            The section, from 0.
        rows, columns : slice
            Where the window lies, with a start and a stop from 0 each; not empty.

        Returns
        -------
        ndarray of `dtype`, shape (len of rows, len of columns)
            Its pixels.

        Raises
        ------
        IndexError
            If there is no such section, or the window leaves it or is empty.
        StackError
            If it cannot be decoded.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: there is no section {index} below {len(self)}")
        for span, length in zip((rows, columns), self.shape[1:], strict=True):
            if not 0 <= span.start < span.stop <= length:
                raise IndexError(f"{self.name}: {span} is not a window within {length}")
        # a float64 too large for float32 becomes infinite, which `require_finite` finds
        with self._turn, np.errstate(over="ignore"):
            return self._read_window(index, rows, columns).astype(self.dtype, copy=False)

    def read(self, sections: Sequence[int] | None = None) -> AnyArray:
        """Read sections, all by default, into memory.

        Returns
        -------
        ndarray of `dtype`, shape (Z, Y, X)
            Z is the number of sections read.

        Raises
        ------
        StackError
            If they do not fit in memory; and what `window` raises.
        """
        indices = range(len(self)) if sections is None else sections
        try:
            pixels = np.empty((len(indices), *self.shape[1:]), self.dtype)
        except MemoryError as error:
            raise StackError(
                f"{self.name}: {self.describe()} do not fit in memory",
                hint="take fewer sections",
            ) from error
        for position, index in enumerate(indices):
            pixels[position] = self.section(index)
        return pixels

    def inverted(self) -> "Stack":
        """Return this stack with dark and bright swapped; closing it closes this one.

        Notes
        -----
        In 8 and 16 bit the smallest value becomes the largest: of (255 - image) this gives the
        image, to the bit. Other numbers change their sign. Then unsigned ones need another type.
        """
        is_short = self.dtype.kind == "u" and self.dtype.itemsize <= 2
        dtype = np.dtype(np.float64) if self.dtype.kind == "u" and not is_short else self.dtype

        def read_window(index: int, rows: slice, columns: slice) -> AnyArray:
            pixels = self.window(index, rows, columns)
            return ~pixels if is_short else -pixels.astype(dtype, copy=False)

        return Stack(
            self.name,
            self.shape,
            dtype,
            self.voxel_size_nm,
            read_window=read_window,
            is_parallel=True,
            sha256=self.sha256,
            close=self.close,
            notes=self.notes,
            numbers=self.numbers,
            buffer_bytes=self.buffer_bytes,
            decoding_bytes=self.decoding_bytes,
        )

    def sha256(self) -> str:
        """Hash the files that it is read from, once, in hexadecimal; see `sfseg.io.hashing`."""
        with self._hashing:
            self._hash = self._hash or self._sha256()
            return self._hash

    def describe(self) -> str:
        """Describe it, for example ``30 sections of 512x512, uint8, voxel 50x4x4 nm``."""
        text = f"{describe_shape(self.shape)}, {self.dtype}"
        if self.voxel_size_nm is None:
            return f"{text}, no voxel size"
        depth, height, width = self.voxel_size_nm
        if math.isnan(depth):
            side = f"{width:g}" if height == width else f"{height:g}x{width:g}"
            return f"{text}, pixel {side} nm, section thickness unknown"
        return f"{text}, voxel {depth:g}x{height:g}x{width:g} nm"

    def close(self) -> None:
        """Close the file."""
        self._close()

    def __repr__(self) -> str:
        return f"Stack({self.name!r}, {self.describe()})"

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[AnyArray]:
        return map(self.section, range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_again(reopen: Callable[[], Stack], shape: Shape, dtype: str) -> Stack:
    """Open a stack that another process has open; refuse another one under its name."""
    stack = reopen()
    if (stack.shape, str(stack.dtype)) != (shape, dtype):
        stack.close()
        raise StackError(
            f"{stack.name}: another process finds another stack here, {stack.describe()}",
            hint="let all of them see the same folders under the same names",
        )
    return stack


def require_finite(
    section: AnyArray, name: str, number: int, first_row: int = 0, first_column: int = 0
) -> None:
    """Refuse a section with NaN or infinity in it.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The pixels, or a window of them.
    name : str
        The stack, for the message.
    number : int
        The section, from 1, for the message.
    first_row, first_column : int
        Where the pixels begin in the section, for the message.

    Raises
    ------
    NonFiniteError
        If a pixel is not finite; it names the first, by row and column from 0.
    """
    if section.dtype.kind != "f" or np.isfinite(section).all():
        return
    row, column = np.argwhere(~np.isfinite(section))[0]
    raise NonFiniteError(
        f"{name}: section {number}: the pixel in row {first_row + row}, "
        f"column {first_column + column} is {section[row, column]}",
        hint="replace NaN and infinity first, for example by the mean",
    )
