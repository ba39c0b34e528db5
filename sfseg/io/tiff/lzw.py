"""Decode LZW data, whose decoder makes a pixel of half a code where the end is cut off."""

from collections.abc import Callable

import numpy as np

from sfseg.errors import StackError
from sfseg.types import AnyArray

_END, _END_BITS = 257, 9
_FILLINGS = (bytes(4), b"\x55" * 4, b"\xff" * 4)


def decoded(data: bytes, decode: Callable[[bytes], AnyArray], what: str) -> AnyArray:
    """Decode a strip or tile, all of whose pixels are in it.

    Parameters
    ----------
    data : bytes
        The encoded pixels.
    decode : callable
        What decodes them.
    what : str
        The file and page, for messages.

    Returns
    -------
    ndarray
        The pixels.

    Raises
    ------
    StackError
        If the data end before the last pixel; and what `decode` raises.

    Notes
    -----
    Some writers leave out the code for the end, which TIFF 6.0, page 61, asks for. Then imagecodecs
    may take the last code for another; so bytes are put behind it, which change nothing unless
    a part of it is missing.
    """
    tail = int.from_bytes(data[-3:], "big")
    padding = (tail & -tail).bit_length() - 1
    if tail and padding < 8 and tail >> padding & (1 << _END_BITS) - 1 == _END:
        return decode(data)
    pixels, *others = (decode(data + filling) for filling in _FILLINGS)
    if not all(np.array_equal(pixels, other) for other in others):
        raise StackError(
            f"{what}: expected whole LZW strips or tiles, found one that ends within a pixel",
            hint="copy or download the file again; it may be cut short",
        )
    return pixels
