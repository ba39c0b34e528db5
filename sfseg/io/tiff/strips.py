"""Read a window of a TIFF's page: only the strips and tiles, or rows of them, that it touches.

A page here has the five dimensions that tifffile calls ``shaped``: separate samples, depth, rows,
columns, contiguous samples. Its strips and tiles are *segments*, which lie in it as a grid.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io import jpeg
from sfseg.io.tiff import checks, ifd, lzw
from sfseg.types import AnyArray

Box = tuple[slice, ...]
"""A part of a page or of a segment: where it starts and stops in each of the five dimensions."""

_ROWS_BYTES = 2**22
"""How much of whole rows is read at once."""

_CACHE_BYTES = 2**26
"""Windows side by side share segments: this much, decoded, is a row of windows 32k pixels wide."""


class _Part(NamedTuple):
    """What a box has of one segment: the segment's number, where in it, and where in the box."""

    segment: int
    inside: Box
    target: Box


class SegmentReader:
    """Reads windows of the pages of one file, and keeps the segments that it decoded last.

    Parameters
    ----------
    file : tifffile.FileHandle
        The open file.
    name : str
        The file, for messages.
    """

    def __init__(self, file: tifffile.FileHandle, name: str) -> None:
        self._file, self._name = file, name
        self._decoded: dict[tuple[int, int], AnyArray] = {}
        self._decoded_bytes = 0

    def read(self, page: tifffile.TiffPage, box: Box, *, shift: int = 0) -> AnyArray:
        """Read a part of a page.

        Parameters
        ----------
        page : tifffile.TiffPage
            The page, which `sfseg.io.tiff.checks.check` found good.
        box : tuple of slice
            The part, not empty.
        shift : int
            Bytes from the pixels of the page to those to read, which are stored as the page's are.

        Returns
        -------
        ndarray of the page's type, five dimensions
            The pixels in native byte order.

        Raises
        ------
        StackError
            If a JPEG segment is cut short, or larger than the page declares.
        ValueError
            If another holds fewer pixels than that; and what tifffile and its codecs raise.
        """
        pixels = np.empty([part.stop - part.start for part in box], page.dtype)
        raw = checks.is_raw(page)
        for part in _parts(page, box):
            if raw:
                self._copy_rows(page, part, pixels[part.target], shift)
            else:
                pixels[part.target] = self._decode(page, part)
        return pixels

    def _copy_rows(
        self, page: tifffile.TiffPage, part: _Part, pixels: AnyArray, shift: int
    ) -> None:
        """Read rows of a segment that is not encoded: whole ones, or the pixels of each."""
        _, _, rows, columns, samples = part.inside
        width, contiguous = _segment_shape(page)[3:]
        stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        pixel_bytes = contiguous * stored.itemsize
        row_bytes = width * pixel_bytes
        start = page.dataoffsets[part.segment] + shift
        first, count, lines = columns.start, columns.stop - columns.start, 1
        if count * 4 >= width:  # a few pixels too many cost less than a read for each row
            first, count, lines = 0, width, max(1, _ROWS_BYTES // row_bytes)
        for row in range(rows.start, rows.stop, lines):
            height = min(lines, rows.stop - row)
            self._file.seek(start + row * row_bytes + first * pixel_bytes)
            block = np.frombuffer(self._file.read(height * count * pixel_bytes), stored)
            pixels[0, 0, row - rows.start :][:height] = block.reshape(height, count, contiguous)[
                :, columns.start - first : columns.stop - first, samples
            ]

    def _decode(self, page: tifffile.TiffPage, part: _Part) -> AnyArray:
        """Give what a box has of a segment that is encoded."""
        key = (page.index, part.segment)
        if key not in self._decoded:
            self._make_room(math.prod(_segment_shape(page)) * np.dtype(page.dtype).itemsize)
            self._decoded[key] = self._decode_segment(page, part.segment)
            self._decoded_bytes += self._decoded[key].nbytes
        segment = self._decoded[key]
        few = any(n < needed.stop for n, needed in zip(segment.shape, part.inside, strict=True))
        if few or segment.dtype != page.dtype:
            raise ValueError(f"{segment.shape} of {segment.dtype} in segment {part.segment}")
        return segment[part.inside]

    def _decode_segment(self, page: tifffile.TiffPage, index: int) -> AnyArray:
        """Read and decode a segment."""
        self._file.seek(page.dataoffsets[index])
        data = self._file.read(page.databytecounts[index])
        tables = {"jpegtables": page.jpegtables} if page.jpegtables else {}

        def decode(data: bytes) -> AnyArray:
            return np.asarray(page.decode(data, index, **tables)[0])[None]

        what = f"{self._name}: page {page.index + 1}"
        if page.compression == checks.LZW:
            return lzw.decoded(data, decode, what)
        if page.compression == checks.JPEG:
            _refuse_larger(page, jpeg.frame(data, what), what)
            return jpeg.decoded(data, decode, what)
        return decode(data)

    def _make_room(self, size_bytes: int) -> None:
        """Forget the oldest segments until one more fits; alone it may be as large as it is."""
        while self._decoded and self._decoded_bytes + size_bytes > _CACHE_BYTES:
            self._decoded_bytes -= self._decoded.pop(next(iter(self._decoded))).nbytes


def _refuse_larger(page: tifffile.TiffPage, frame: jpeg.Frame, what: str) -> None:
    """Refuse a JPEG strip or tile that says itself that it is larger than its page does."""
    height, width = page.chunks[:2]
    if frame.rows > height or frame.columns > width:
        raise StackError(
            f"{what}: expected JPEG strips or tiles of {height}x{width}, "
            f"found one of {frame.rows}x{frame.columns}",
            hint=ifd.CUT_SHORT,
        )


def _segment_shape(page: tifffile.TiffPage) -> tuple[int, ...]:
    """Give the shape of the strips, of which the last may be shorter, or tiles, all whole."""
    contiguous = page.shaped[-1]
    if page.is_tiled:
        return 1, page.tiledepth, page.tilelength, page.tilewidth, contiguous
    return 1, 1, page.rowsperstrip, page.imagewidth, contiguous


def _parts(page: tifffile.TiffPage, box: Box) -> Iterator[_Part]:
    """Cut a box where segments meet."""
    sizes = _segment_shape(page)
    grid = tuple(math.ceil(n / size) for n, size in zip(page.shaped, sizes, strict=True))
    touched = [
        range(part.start // size, math.ceil(part.stop / size))
        for part, size in zip(box, sizes, strict=True)
    ]
    for place in itertools.product(*touched):
        cuts = [_cut(*each) for each in zip(place, sizes, box, strict=True)]
        inside, target = zip(*cuts, strict=True)
        yield _Part(int(np.ravel_multi_index(place, grid)), inside, target)


def _cut(place: int, size: int, part: slice) -> tuple[slice, slice]:
    """Give the overlap of a segment and a part, along one dimension, as each counts it."""
    start = place * size
    low, high = max(part.start, start), min(part.stop, start + size)
    return slice(low - start, high - start), slice(low - part.start, high - part.start)
