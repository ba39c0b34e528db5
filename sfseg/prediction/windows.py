"""What a tile reads of its section, mirrored where it lies outside of it."""

import numpy as np
from numpy.typing import NDArray

from sfseg.prediction.tiles import Box, Shape2D, padded_shape
from sfseg.types import AnyArray


def needed_of(read: Box, shape: Shape2D) -> Box:
    """Return the rows and columns of a section, shape (Y, X), that a tile's `read` needs.

    What a tile reads below and right of the section is mirrored from inside of it.
    """
    rows, columns = (
        slice(int(m[part].min()), int(m[part].max()) + 1)
        for m, part in zip(_mirrors(shape), read, strict=True)
    )
    return rows, columns


def window_of(section: AnyArray, read: Box, shape: Shape2D, origin: Shape2D = (0, 0)) -> AnyArray:
    """Cut out what a tile reads, mirrored where that lies outside of the section.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The section, or the part of it that `needed_of` tells.
    read : tuple of slice
        Of a `Tile` of `Predictor.tiles`.
    shape : tuple of int
        (Y, X) of the whole section.
    origin : tuple of int
        Row and column of the whole section where `section` begins.

    Returns
    -------
    ndarray, shape of `read`
        Grey values; a view where nothing is mirrored.
    """
    for axis, (mirror, part) in enumerate(zip(_mirrors(shape), read, strict=True)):
        wanted = mirror[part] - origin[axis]
        if (np.diff(wanted) == 1).all():
            cut = [slice(None)] * axis + [slice(int(wanted[0]), int(wanted[-1]) + 1)]
            section = section[tuple(cut)]
        else:
            section = section.take(wanted, axis)
    return section


def _mirrors(shape: Shape2D) -> list[NDArray[np.int64]]:
    """For rows and columns: which of the section stands at each place of the padded section."""
    return [
        np.pad(np.arange(length), (0, padded - length), mode="reflect")
        for length, padded in zip(shape, padded_shape(shape), strict=True)
    ]
