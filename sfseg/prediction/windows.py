"""Cut the window that a tile reads out of its section; beyond the far borders mirror it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sfseg.prediction.tiles import Rectangle, Shape2D, padded_shape
from sfseg.transforms.normalise import Normalisation
from sfseg.types import AnyArray, Normalised


@dataclass(frozen=True)
class Window:
    """What a tile reads of its section.

    Attributes
    ----------
    pixels : ndarray, shape (Y, X)
        Grey values of the core and the halo.
    empty : ndarray of bool, shape (Y, X), or None
        Which of them hold no tissue; None if all do.
    normalisation : Normalisation
        Of the whole section.
    normalised : ndarray of float32, shape (Y, X), or None
        The result of `standardise`, if it is made already.
    """

    pixels: AnyArray
    empty: AnyArray | None
    normalisation: Normalisation
    normalised: Normalised | None = None

    @property
    def is_empty(self) -> bool:
        """Whether none of them holds tissue."""
        return self.empty is not None and bool(self.empty.all())

    def standardise(self) -> Normalised:
        """Normalise the grey values: float32, shape (Y, X); 0 where there is no tissue."""
        if self.normalised is not None:
            return self.normalised
        return self.normalisation.standardise(self.pixels, self.empty)

    def part(self, rectangle: Rectangle) -> "Window":
        """Cut out some of its rows and columns."""
        empty, normalised = (
            None if pixels is None else pixels[rectangle]
            for pixels in (self.empty, self.normalised)
        )
        return Window(self.pixels[rectangle], empty, self.normalisation, normalised)

    def swapped(self) -> "Window":
        """Return the window as it would be in an image with dark and bright swapped."""
        return replace(self, normalised=-self.standardise())


def cut_window(
    pixels: AnyArray,
    empty: AnyArray | None,
    normalisation: Normalisation,
    read: Rectangle,
    shape: Shape2D,
    origin: Shape2D = (0, 0),
) -> Window:
    """Cut out the window that a tile reads, and its part of the mask; see `window_of`."""
    return Window(
        window_of(pixels, read, shape, origin),
        None if empty is None else window_of(empty, read, shape, origin),
        normalisation,
    )


def needed_of(read: Rectangle, shape: Shape2D) -> Rectangle:
    """Return the rows and columns of a section, shape (Y, X), that the window of a tile needs.

    Pixels below and right of the section are mirrored ones, so they need rows and columns inside.
    """
    rows, columns = (
        slice(int(mirror[span].min()), int(mirror[span].max()) + 1)
        for mirror, span in zip(_mirrors(shape), read, strict=True)
    )
    return rows, columns


def window_of(
    section: AnyArray, read: Rectangle, shape: Shape2D, origin: Shape2D = (0, 0)
) -> AnyArray:
    """Cut out the window that a tile reads; pixels outside of the section are mirrored ones.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The section, or at least the rows and columns of `needed_of`.
    read : tuple of slice
        The attribute ``read`` of a `Tile`.
    shape : tuple of int
        (Y, X) of the whole section.
    origin : tuple of int
        Row and column of the whole section where `section` begins.

    Returns
    -------
    ndarray, shape of `read`
        Grey values; a view where nothing is mirrored.
    """
    for axis, (mirror, span) in enumerate(zip(_mirrors(shape), read, strict=True)):
        wanted = mirror[span] - origin[axis]  # rows or columns of `section`, in order
        if (np.diff(wanted) == 1).all():  # nothing is mirrored: a slice, which copies no pixel
            cut = [slice(None)] * axis + [slice(int(wanted[0]), int(wanted[-1]) + 1)]
            section = section[tuple(cut)]
        else:
            section = section.take(wanted, axis)
    return section


def _mirrors(shape: Shape2D) -> list[NDArray[np.int64]]:
    """Return the row, and the column, of the section for each one of the padded section."""
    # for 3 rows padded to 16: 0 1 2 1 0 1 2 ...
    return [
        np.pad(np.arange(length), (0, padded - length), mode="reflect")
        for length, padded in zip(shape, padded_shape(shape), strict=True)
    ]
