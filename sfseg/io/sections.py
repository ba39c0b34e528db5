"""Sections that are read, and changed, one at a time: a large stack then needs little memory."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike

from sfseg.types import AnyArray, Shape


class Sections(Sequence[AnyArray]):
    """The sections of a stack, each made when it is asked for; several threads may ask.

    Parameters
    ----------
    read : callable
        Called with an index from 0; returns a section, ndarray of `dtype`, shape (Y, X).
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        Type of the pixels.
    """

    def __init__(
        self, read: Callable[[int], AnyArray], shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self._read, self.dtype = read, np.dtype[Any](dtype)
        self.shape: Shape = (shape[0], shape[1], shape[2])

    @classmethod
    def from_array(cls, array: AnyArray) -> "Sections":
        """Make the sections of an array, shape (Z, Y, X)."""
        return cls(array.__getitem__, array.shape, array.dtype)

    def map(
        self, change: Callable[[AnyArray], AnyArray], dtype: DTypeLike | None = None
    ) -> "Sections":
        """Return the same sections, each changed to one of the same shape, and perhaps a type."""
        return Sections(lambda index: change(self._read(index)), self.shape, dtype or self.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int) -> AnyArray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnyArray]: ...
    def __getitem__(self, index: int | slice) -> AnyArray | Sequence[AnyArray]:
        if isinstance(index, slice):
            return [self._read(each) for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):  # ends an iteration
            raise IndexError(index)
        return self._read(index)
