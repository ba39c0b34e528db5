"""The base class of output files: made at full size, then filled in any order."""

import abc
from pathlib import Path
from typing import Any, Self

import numpy as np

from sfseg.errors import StackError
from sfseg.types import AnyArray, Shape, describe_shape, format_shape


class Canvas(abc.ABC):
    """A stack on disk in the making: put rectangles of its sections in any order.

    The same pixels give the same bytes, in any order and however often they are put; so after a
    kill they can be put again. The file does not say which pixels are still missing. Only one
    thread at a time may use it.

    Parameters
    ----------
    part : Path
        The file or folder on disk.
    name : str
        Its final name, for messages.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        Type of the pixels.
    """

    def __init__(self, part: Path, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._part, self._name, self.shape, self.dtype = part, name, shape, dtype

    def put(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write a rectangle of a section.

        Parameters
        ----------
        section : int
            Index of the section, from 0.
        rows, columns : slice
            Where the rectangle lies; both with a start and a stop.
        pixels : ndarray, shape (rows, columns)
            The pixels, in the type of the canvas.

        Raises
        ------
        StackError
            If the rectangle lies outside the stack, or the pixels have another shape or type.
        OSError
            If the disk is full or fails.
        """
        depth, height, width = self.shape
        is_inside = (
            0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
        )
        if not (0 <= section < depth and is_inside):
            raise StackError(
                f"{self._name}: rows {rows.start} to {rows.stop} and columns {columns.start} to "
                f"{columns.stop} of section {section + 1} lie outside {describe_shape(self.shape)}",
                hint="give the shape that the sections have",
            )
        size = (rows.stop - rows.start, columns.stop - columns.start)
        if (pixels.shape, pixels.dtype) != (size, self.dtype):
            raise StackError(
                f"{self._name}: section {section + 1}: {format_shape(pixels.shape)} of "
                f"{pixels.dtype} do not fill {size[0]}x{size[1]} of {self.dtype}",
                hint="give the shape and the type that the sections have",
            )
        try:
            self._write(section, rows, columns, pixels)
        except OSError as error:
            error.filename = error.filename or self._name  # a failed write names no file
            raise

    def require_found(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Refuse a file on disk whose shape or type is not that of the canvas.

        Raises
        ------
        StackError
            If the shape or the type differs.
        """
        if (shape, dtype) != (self.shape, self.dtype):
            raise StackError(
                f"{self._part}: this is {format_shape(shape)} of {dtype}, "
                f"not {format_shape(self.shape)} of {self.dtype}"
            )

    @abc.abstractmethod
    def _write(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write a rectangle; `put` has checked it."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Flush to the disk: pixels that were put so far survive a power cut."""

    def finish(self) -> None:
        """Do what needs all pixels, such as smaller levels; then flush and close."""
        self.flush()
        self.close()

    def add_levels(self, section: int) -> None:  # noqa: B027 - most formats have none
        """Make the smaller levels of a section, from 0, whose pixels are all put."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file; closing again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
