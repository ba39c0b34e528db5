"""Find colour images that are grey: red, green and blue alike, and nothing transparent."""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sfseg.types import AnyArray

if TYPE_CHECKING:
    from sfseg.io.sources import ArraySource

_BAND_BYTES = 2**24
"""How many bytes are compared at once."""

_COLOURS = {("S", 2): 1, ("S", 3): 3, ("S", 4): 3, ("C", 3): 3}
"""How many samples or channels are colours; one more is opacity."""


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
