"""Decode JPEG data, whose decoders fill up with grey what is missing, without a word."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from sfseg.errors import StackError
from sfseg.types import AnyArray

_SOF_HUFFMAN = (0xC0, 0xC1, 0xC2)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS, _EOI = 0xDA, 0xD9
_ALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})
"""What may follow 0xFF without a length: in pixels a zero or a restart, elsewhere filling."""

_FILLING = b"\x5a\xa5" * 32
"""Nonsense that a decoder passes over where the pixels are whole, and takes for pixels else."""

_HINT = "copy or download the file again; it may be cut short"


class Frame(NamedTuple):
    """What JPEG data say of themselves: the kind of coding, the size, and where they end."""

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
            f"{what}: expected whole JPEG pixels, found no {'end' if found else 'size'} in "
            f"{len(data)} bytes",
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
    """Decode a picture, strip or tile, all of whose pixels are in it.

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
    Bytes between the last pixel and the end are passed over. So nonsense put there changes
    nothing, unless pixels are missing. With arithmetic coding, which is rare, it may.
    """
    found, pixels = frame(data, what), decode(data)
    if found.coding in _SOF_HUFFMAN:
        filled = decode(data[: found.end] + _FILLING + data[found.end :])
        if not np.array_equal(pixels, filled):
            raise StackError(
                f"{what}: expected JPEG pixels for {found.rows}x{found.columns}, "
                f"found too few in {len(data)} bytes",
                hint=_HINT,
            )
    return pixels
