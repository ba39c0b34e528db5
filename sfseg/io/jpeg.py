"""Decode JPEG data and check that no pixel is missing: decoders fill gaps with grey."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from sfseg.errors import StackError
from sfseg.types import AnyArray

_SOF_HUFFMAN = (0xC0, 0xC1, 0xC2)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS, _EOI = 0xDA, 0xD9
_ALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})
"""Bytes after 0xFF that have no length: a zero or a restart in pixels, filling elsewhere."""

_FILLING = b"\x5a\xa5" * 32
"""Nonsense that a decoder skips if the pixels are whole, and decodes as pixels if not."""

_HINT = "copy or download the file again; it may be cut short"


class Frame(NamedTuple):
    """What JPEG data declare: the kind of coding, the size, and the place of the end marker."""

    coding: int
    rows: int
    columns: int
    end: int


def frame(data: bytes, what: str) -> Frame:
    """Find the size that JPEG data declare, and their end.

    Parameters
    ----------
    data : bytes
        A whole picture, or a strip or tile of a TIFF.
    what : str
        The file and page, for messages.

    Returns
    -------
    Frame
        The declared frame; ``end`` is the place of the marker that ends the data.

    Raises
    ------
    StackError
        If the data have no such parts, or end long before they should.
    """
    found, end = None, 0
    for marker, at in _markers(data):
        if marker in _SOF and found is None and at + 9 <= len(data):
            size = data[at + 5 : at + 9]
            found = marker, int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        if marker == _EOI:
            end = at
    if found is None or end == 0:
        raise StackError(
            f"{what}: {len(data)} bytes of JPEG data have no {'end' if found else 'size'}",
            hint=_HINT,
        )
    return Frame(*found, end)


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Go from marker to marker up to the end of the image; ITU T.81, B.1.1 and B.2.1."""
    at = 2
    while 0 <= (at := data.find(0xFF, at)) < len(data) - 1:
        marker = data[at + 1]
        if marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        yield marker, at
        if marker == _EOI:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def decoded(data: bytes, decode: Callable[[bytes], AnyArray], what: str) -> AnyArray:
    """Decode a picture, strip or tile, and check that all of its pixels are in the data.

    Parameters
    ----------
    data : bytes
        The encoded pixels.
    decode : callable
        Decodes them.
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
    Decoders skip bytes between the last pixel and the end marker. So nonsense in that place changes
    nothing, unless pixels are missing. Arithmetic coding, which is rare, is not checked: there it
    may change pixels.
    """
    found, pixels = frame(data, what), decode(data)
    if found.coding in _SOF_HUFFMAN:
        filled = decode(data[: found.end] + _FILLING + data[found.end :])
        if not np.array_equal(pixels, filled):
            raise StackError(
                f"{what}: {len(data)} bytes of JPEG data have too few pixels for "
                f"{found.rows}x{found.columns}",
                hint=_HINT,
            )
    return pixels
