"""Colour images that are grey, and colours that number the cells of labels.

An image is grey where red, green and blue are alike and nothing is transparent.
"""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sfseg.types import AnyArray

if TYPE_CHECKING:
    from sfseg.io.sources import ArraySource

_BAND_BYTES = 2**24
"""How many bytes are compared at once."""

_COLOURS = {("S", 2): 1, ("S", 3): 3, ("S", 4): 3, ("C", 3): 3}
"""How many samples or channels are colours; one more is opacity."""

_COLOUR_TYPES: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.uint8): np.dtype(np.uint32),
    np.dtype(np.uint16): np.dtype(np.uint64),
}
"""The type that holds red, green and blue of a type as one number."""


def find_grey_letter(source: "ArraySource") -> str:
    """Return the letter of samples or channels that are all alike.

    Parameters
    ----------
    source : ArraySource
        The array. It is read up to the first pixel with a colour, band by band.

    Returns
    -------
    str
        S or C where red, green and blue of all pixels are equal and no pixel is transparent.
        Else, and where the array has no colours, an empty text.
    """
    letters, shape = source.letters, source.shape
    for (letter, length), colours in _COLOURS.items():
        if letters.count(letter) == letters.count("Y") == letters.count("X") == 1:
            place = letters.index(letter)
            if shape[place] == length and _is_grey(source, place, colours):
                return letter
    return ""


def find_colours(source: "ArraySource") -> str:
    """Return the letter of red, green and blue, perhaps with opacity; an empty text without."""
    letters, shape = source.letters, source.shape
    for letter, length in _COLOURS:
        is_there = letters.count(letter) == 1 and shape[letters.index(letter)] == length
        if is_there and length > 2 and source.dtype in _COLOUR_TYPES:
            return letter
    return ""


class ColourNumbers:
    """Labels whose colours number the cells; see `sfseg.io.sources.ArraySource`.

    A pixel is red + 256 green + 65,536 blue, or the like for 16 bits. Opacity is left out.

    Parameters
    ----------
    source : ArraySource
        The labels in colour.
    letter : str
        The dimension of the colours.
    """

    def __init__(self, source: "ArraySource", letter: str) -> None:
        self._source, self._place = source, source.letters.index(letter)
        self.shape = _without(source.shape, self._place)
        self.letters = source.letters.replace(letter, "")
        self.dtype: np.dtype[Any] = _COLOUR_TYPES[source.dtype]
        self.voxel_size_nm, self.channel = source.voxel_size_nm, source.channel
        self.is_parallel = source.is_parallel
        self.notes = (*source.notes, "its colours are read as numbers: one for each colour")

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of numbers."""
        whole = (*box[: self._place], slice(0, 3), *box[self._place :])
        colours = np.moveaxis(self._source.read(whole), self._place, 0).astype(self.dtype)
        bits = 8 * self._source.dtype.itemsize
        return np.asarray(colours[0] | colours[1] << bits | colours[2] << 2 * bits)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _without(shape: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*shape[:place], *shape[place + 1 :])


def _is_grey(source: "ArraySource", place: int, colours: int) -> bool:
    """Compare the samples along one dimension of the array."""
    return all(
        _is_grey_block(np.moveaxis(source.read(box), place, 0), colours)
        for box in _bands(source, place)
    )


def _is_grey_block(samples: AnyArray, colours: int) -> bool:
    """Tell whether the colours, samples[:colours], are equal, and the opacity is full."""
    opaque = 1 if samples.dtype.kind in "bf" else np.iinfo(samples.dtype).max
    return bool((samples[1:colours] == samples[0]).all() and (samples[colours:] == opaque).all())


def _bands(source: "ArraySource", place: int) -> Iterator[tuple[slice, ...]]:
    """Cut the array into bands of rows of one page, with all samples."""
    letters, shape = source.letters, source.shape
    rows, columns = letters.index("Y"), letters.index("X")
    row_bytes = shape[columns] * shape[place] * source.dtype.itemsize
    lines = max(1, _BAND_BYTES // max(row_bytes, 1))
    steps = [1] * len(shape)
    steps[rows], steps[columns], steps[place] = lines, shape[columns], shape[place]
    starts = [range(0, length, max(step, 1)) for length, step in zip(shape, steps, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(at, min(at + step, length))
            for at, step, length in zip(corner, steps, shape, strict=True)
        )
