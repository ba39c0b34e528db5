"""A second reader of TIFFs, plain and slow, that shares no code with the first.

It knows what most files are made of: strips or tiles of whole numbers or floats, one sample
a pixel, uncompressed, LZW, deflate or PackBits. What it reads is what is in the file.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_KINDS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
_KINDS |= {18: "Q"}


class UnknownError(Exception):
    """The file is of a kind that this reader does not know."""


class UnreadableError(Exception):
    """The pixels are not there."""


@dataclass(frozen=True)
class Entry:
    """A tag: its code, type, number of values, and where its 12 or 20 bytes and its values lie."""

    code: int
    kind: int
    count: int
    at: int
    values_at: int


@dataclass(frozen=True)
class Tiff:
    """A TIFF taken apart.

    Attributes
    ----------
    order : str
        ``<`` or ``>``.
    big : bool
        Whether it is a BigTIFF.
    pages : list of list of Entry
        The tags of each page.
    links : list of int
        Where the places of the pages are written.
    """

    data: bytes
    order: str
    big: bool
    pages: list[list[Entry]]
    links: list[int]

    def values(self, page: int, code: int, default: Any = None) -> tuple[int, ...]:
        """Read the values of a tag, the first of its code."""
        entry = next((each for each in self.pages[page] if each.code == code), None)
        if entry is None and default is None:
            raise UnreadableError(f"no tag {code}")
        if entry is None:
            return tuple(default)
        if entry.kind not in _KINDS or entry.count > len(self.data):
            raise UnreadableError(f"tag {code}")
        try:
            return struct.unpack_from(
                f"{self.order}{entry.count}{_KINDS[entry.kind]}", self.data, entry.values_at
            )
        except struct.error as error:
            raise UnreadableError(f"tag {code}") from error

    def size(self, page: int) -> tuple[int, int]:
        """Give rows and columns of a page."""
        return self.values(page, 257)[0], self.values(page, 256)[0]


def parse(data: bytes) -> Tiff:
    """Take a TIFF apart, as far as it goes."""
    order = ">" if data.startswith(b"M") else "<"
    big = 43 in data[2:4]
    number, count_format = (order + "Q", order + "Q") if big else (order + "I", order + "H")
    entry_bytes, inline = (20, 8) if big else (12, 4)
    tiff = Tiff(data, order, big, [], [8 if big else 4])
    try:
        while (at := struct.unpack_from(number, data, tiff.links[-1])[0]) and len(tiff.pages) < 999:
            (count,) = struct.unpack_from(count_format, data, at)
            start, entries = at + struct.calcsize(count_format), []
            for place in range(start, start + min(count, 999) * entry_bytes, entry_bytes):
                code, kind, length = struct.unpack_from(
                    order + ("HHQ" if big else "HHI"), data, place
                )
                size = length * struct.calcsize("=" + _KINDS.get(kind, "Q"))
                values = place + entry_bytes - inline
                if size > inline:
                    (values,) = struct.unpack_from(number, data, values)
                entries.append(Entry(code, kind, length, place, values))
            tiff.pages.append(entries)
            tiff.links.append(start + count * entry_bytes)
    except (OverflowError, struct.error):
        pass
    return tiff


def read(tiff: Tiff, page: int) -> np.ndarray:
    """Read the pixels of a page."""
    (compression,) = tiff.values(page, 259, (1,))[:1]
    bits, samples, kind, fill, predictor = (
        tiff.values(page, code, (default,))
        for code, default in ((258, 1), (277, 1), (339, 1), (266, 1), (317, 1))
    )
    letter = {1: "u", 2: "i", 3: "f"}.get(kind[0])
    plain = len(bits) == 1 == samples[0] == fill[0] and predictor[0] in (1, 2)
    if not plain or letter is None or bits[0] not in (8, 16, 32, 64) or 32997 in _codes(tiff, page):
        raise UnknownError
    if (letter == "f" and (bits[0] < 32 or predictor[0] == 2)) or compression not in _DECODERS:
        raise UnknownError
    dtype = np.dtype(f"{tiff.order}{letter}{bits[0] // 8}")
    height, width = tiff.size(page)
    pixels = np.empty((height, width), dtype.newbyteorder("="))
    for rows, columns, strip, shape in _strips(tiff, page, height, width):
        raw = _DECODERS[compression](strip, int(np.prod(shape)) * dtype.itemsize)
        block = np.frombuffer(raw, dtype).reshape(shape)
        if predictor[0] == 2 and compression != 1:
            block = np.cumsum(block, axis=1, dtype=block.dtype.newbyteorder("="))
        part = pixels[rows : rows + shape[0], columns : columns + shape[1]]
        part[...] = block[: part.shape[0], : part.shape[1]]
    return show(tiff, page, pixels)


def show(tiff: Tiff, page: int, pixels: np.ndarray) -> np.ndarray:
    """Turn sections, shape (..., Y, X), into what they show: min-is-white and orientation."""
    photometric = tiff.values(page, 262, (1,))
    if photometric == (3,):
        raise UnknownError  # a palette
    if photometric == (0,):
        pixels = 1 - pixels if pixels.dtype.kind == "f" else ~pixels
    try:
        orientation, *others = tiff.values(page, 274, (1,))
    except UnreadableError:
        return pixels
    if others or orientation not in range(2, 9):
        return pixels
    if orientation > 4:
        pixels = pixels.swapaxes(-1, -2)
    rows, columns = (
        slice(None, None, -1 if orientation in mirrored else 1)
        for mirrored in ((3, 4, 7, 8), (2, 3, 6, 7))
    )
    return pixels[..., rows, columns]


def _codes(tiff: Tiff, page: int) -> set[int]:
    return {entry.code for entry in tiff.pages[page]}


def _strips(
    tiff: Tiff, page: int, height: int, width: int
) -> Iterator[tuple[int, int, bytes, tuple[int, int]]]:
    """List the strips or tiles: first row and column, bytes, and shape once decoded."""
    tiled = 322 in _codes(tiff, page)
    if tiled:
        (columns,), (rows,) = tiff.values(page, 322)[:1], tiff.values(page, 323)[:1]
        offsets, counts = tiff.values(page, 324), tiff.values(page, 325)
    else:
        columns, rows = width, min(tiff.values(page, 278, (height,))[0], height)
        offsets = tiff.values(page, 273)
        plain = tiff.values(page, 259, (1,))[0] == 1 == len(offsets)
        counts = tiff.values(page, 279, (len(tiff.data) - offsets[0],) if plain else None)
    if not rows or not columns:
        raise UnreadableError("a strip or tile of nothing")
    corners = [(y, x) for y in range(0, height, rows) for x in range(0, width, columns)]
    if not len(corners) == len(offsets) == len(counts):
        raise UnreadableError(f"{len(offsets)} of {len(corners)} strips or tiles")
    for (y, x), offset, count in zip(corners, offsets, counts, strict=True):
        if offset + count > len(tiff.data) or not count:
            raise UnreadableError("a strip or tile beyond the end")
        lines = rows if tiled else min(rows, height - y)
        yield y, x, tiff.data[offset : offset + count], (lines, columns)


def _stored(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise UnreadableError("too few bytes")
    return data[:size]


def _inflated(data: bytes, size: int) -> bytes:
    try:
        return _stored(zlib.decompressobj().decompress(data, size), size)
    except zlib.error as error:
        raise UnreadableError("deflate") from error


def _unpacked(data: bytes, size: int) -> bytes:
    """Undo PackBits."""
    out, at = bytearray(), 0
    while at < len(data) and len(out) < size:
        head = data[at]
        if head < 128:
            out += data[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            out += data[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return _stored(bytes(out), size)


def _lzw(data: bytes, size: int) -> bytes:
    """Undo LZW as TIFF has it: most significant bits first, codes grow one early."""
    bits = int.from_bytes(data, "big")
    left, width, table, out, last = len(data) * 8, 9, _fresh(), bytearray(), b""
    while left >= width and len(out) < size:
        left -= width
        code = bits >> left & ((1 << width) - 1)
        if code == 256:
            width, table, last = 9, _fresh(), b""
            continue
        if code == 257:
            break
        if code > len(table) or (not last and code >= len(table)):
            raise UnreadableError("LZW")
        found = table[code] if code < len(table) else last + last[:1]
        out += found
        if last and len(table) < 4096:
            table.append(last + found[:1])
        last = found
        width = (
            9 if len(table) < 511 else 10 if len(table) < 1023 else 11 if len(table) < 2047 else 12
        )
    return _stored(bytes(out), size)


def _fresh() -> list[bytes]:
    return [bytes([n]) for n in range(256)] + [b"", b""]


_DECODERS = {1: _stored, 5: _lzw, 8: _inflated, 32773: _unpacked, 32946: _inflated}
