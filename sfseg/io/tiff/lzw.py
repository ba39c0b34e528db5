"""Decode LZW data and check its end: the decoder makes a pixel of half a code."""

from collections.abc import Callable

import numpy as np

from sfseg.errors import StackError
from sfseg.io.tiff.ifd import CUT_SHORT
from sfseg.types import AnyArray

_END, _END_BITS = 257, 9
_FILLINGS = (bytes(4), b"\x55" * 4, b"\xff" * 4)


def decoded(data: bytes, decode: Callable[[bytes], AnyArray], what: str) -> AnyArray:
    """Decode a strip or tile, and check that all of its pixels are in the data.

    Parameters, result and errors are those of `sfseg.io.jpeg.decoded`.

    Notes
    -----
    Some writers leave out the end code that TIFF 6.0, page 61, requires. Then imagecodecs may read
    beyond the last code. So three different fillings are put behind the data: they change the
    pixels only if a part of the last code is missing.
    """
    tail = int.from_bytes(data[-3:], "big")
    # the last 1 bit ends the end code 257; the zero bits after it fill up the last byte
    padding = (tail & -tail).bit_length() - 1
    if tail and padding < 8 and tail >> padding & (1 << _END_BITS) - 1 == _END:
        return decode(data)
    first, *others = _FILLINGS
    pixels = decode(data + first)
    if not all(np.array_equal(pixels, decode(data + other)) for other in others):
        raise StackError(
            f"{what}: an LZW strip or tile ends within a pixel",
            hint=CUT_SHORT,
        )
    return pixels
