"""A stack on disk as an array: napari reads the sections that it shows."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from sfseg.io import Stack
from sfseg.types import AnyArray

Index = int | slice


class LazyStack:
    """An open stack with the interface of an array.

    Parameters
    ----------
    stack : Stack
        The open stack.
    close : callable
        Closes it; called when this object is not used any more.

    Attributes
    ----------
    shape : tuple of int
        (Z, Y, X).
    dtype : numpy.dtype
        Type of the pixels.
    ndim, size : int
        3, and the number of pixels.
    """

    ndim = 3

    def __init__(self, stack: Stack, close: Callable[[], None]) -> None:
        self._stack = stack
        weakref.finalize(self, close)
        self.shape, self.dtype = stack.shape, stack.dtype
        self.size = int(np.prod(stack.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> AnyArray:
        """Read a box; with other indices than numbers and slices, the whole stack."""
        indices = list(key) if isinstance(key, tuple) else [key]
        if any(not isinstance(each, int | np.integer | slice) for each in indices):
            pixels: AnyArray = self._stack.read()[key]  # ellipses, masks and arrays of indices
            return pixels
        indices += [slice(None)] * (self.ndim - len(indices))
        # shape (sections, rows, columns), each where NumPy would take it
        sections, rows, columns = (
            np.atleast_1d(np.arange(length)[index])
            for length, index in zip(self.shape, indices, strict=True)
        )
        box = np.empty((sections.size, rows.size, columns.size), self.dtype)
        if box.size:
            for position, section in enumerate(sections.tolist()):
                box[position] = self._read(section, rows, columns)
        return box[tuple(slice(None) if isinstance(each, slice) else 0 for each in indices)]

    def _read(self, section: int, rows: AnyArray, columns: AnyArray) -> AnyArray:
        """Read the window around rows and columns, and take them out of it."""
        around = [slice(int(each.min()), int(each.max()) + 1) for each in (rows, columns)]
        window = self._stack.window(section, *around)
        taken: AnyArray = window[np.ix_(rows - around[0].start, columns - around[1].start)]
        return taken

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        """Read the whole stack."""
        return self._stack.read().astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"LazyStack({self._stack!r})"
