"""Read a window of a TIFF's page: only the strips, tiles or rows that it touches.

A page here has the five dimensions that tifffile calls ``shaped``: separate samples, depth, rows,
columns, contiguous samples. Its strips or tiles, the *chunks* of a page, form a grid in it.
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
"""A region of a page or chunk: a slice for each of the five dimensions, with start and stop."""

_ROWS_BYTES = 2**22
"""How many bytes of whole rows are read at once."""

_CACHE_BYTES = 2**26
"""Neighbouring windows share chunks: this many decoded bytes serve a row 32k pixels wide."""


class _Overlap(NamedTuple):
    """The overlap of a box and a chunk: the chunk's number, the place in it and in the box."""

    chunk: int
    inside: Box
    target: Box


class ChunkReader:
    """Read windows of the pages of one file, and keep the chunks that were decoded last.

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
        """Read a box of a page.

        Parameters
        ----------
        page : tifffile.TiffPage
            The page, which `sfseg.io.tiff.checks.check` found good.
        box : tuple of slice
            The region to read, not empty.
        shift : int
            Bytes from the pixels of the page to the pixels to read; both have the same layout.

        Returns
        -------
        ndarray of the page's type, five dimensions
            The pixels in native byte order.

        Raises
        ------
        StackError
            If a JPEG chunk is cut short, or larger than the page declares.
        ValueError
            If another chunk has too few pixels; and what tifffile and its codecs raise.
        """
        pixels = np.empty([span.stop - span.start for span in box], page.dtype)
        raw = checks.is_raw(page)
        for overlap in _overlaps(page, box):
            if raw:
                self._copy_rows(page, overlap, pixels[overlap.target], shift)
            else:
                pixels[overlap.target] = self._decode(page, overlap)
        return pixels

    def _copy_rows(
        self, page: tifffile.TiffPage, overlap: _Overlap, pixels: AnyArray, shift: int
    ) -> None:
        """Read rows of a chunk that is not encoded: whole rows, or the wanted pixels of each."""
        _, _, rows, columns, samples = overlap.inside
        width, contiguous = _chunk_shape(page)[3:]
        stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        pixel_bytes = contiguous * stored.itemsize
        row_bytes = width * pixel_bytes
        start = page.dataoffsets[overlap.chunk] + shift
        first, count, lines = columns.start, columns.stop - columns.start, 1
        # pixels of the block: (height, count, contiguous); pixels is (1, 1, rows, columns, samples)
        if count * 4 >= width:  # reading up to 4 times too much costs less than a read per row
            first, count, lines = 0, width, max(1, _ROWS_BYTES // row_bytes)
        for row in range(rows.start, rows.stop, lines):
            height = min(lines, rows.stop - row)
            self._file.seek(start + row * row_bytes + first * pixel_bytes)
            block = np.frombuffer(self._file.read(height * count * pixel_bytes), stored)
            pixels[0, 0, row - rows.start :][:height] = block.reshape(height, count, contiguous)[
                :, columns.start - first : columns.stop - first, samples
            ]

    def _decode(self, page: tifffile.TiffPage, overlap: _Overlap) -> AnyArray:
        """Return the overlap of a box and an encoded chunk; decode the chunk unless it is kept."""
        key = (page.index, overlap.chunk)
        if key not in self._decoded:
            self._make_room(math.prod(_chunk_shape(page)) * np.dtype(page.dtype).itemsize)
            self._decoded[key] = self._decode_chunk(page, overlap.chunk)
            self._decoded_bytes += self._decoded[key].nbytes
        chunk = self._decoded[key]
        few = any(n < needed.stop for n, needed in zip(chunk.shape, overlap.inside, strict=True))
        if few or chunk.dtype != page.dtype:
            raise ValueError(f"{chunk.shape} of {chunk.dtype} in chunk {overlap.chunk}")
        return chunk[overlap.inside]

    def _decode_chunk(self, page: tifffile.TiffPage, index: int) -> AnyArray:
        """Read and decode a chunk."""
        self._file.seek(page.dataoffsets[index])
        data = self._file.read(page.databytecounts[index])
        tables = {"jpegtables": page.jpegtables} if page.jpegtables else {}

        def decode(data: bytes) -> AnyArray:
            try:
                # (depth, rows, columns, samples) gets a leading 1 for the separate samples
                return np.asarray(page.decode(data, index, **tables)[0])[None]
            except (RuntimeError, ValueError):
                if page.is_tiled or page.imagelength % page.rowsperstrip == 0 or index == 0:
                    raise
                # the last strip may be padded: it is then as long as the first
                pixels = np.asarray(page.decode(data, 0, **tables)[0])[None]
                if pixels.shape[2] != page.rowsperstrip:
                    raise
                return pixels

        what = f"{self._name}: page {page.index + 1}"
        if page.compression == checks.LZW:
            return lzw.decoded(data, decode, what)
        if page.compression == checks.JPEG:
            _refuse_larger(page, jpeg.frame(data, what), what)
            return jpeg.decoded(data, decode, what)
        return decode(data)

    def _make_room(self, size_bytes: int) -> None:
        """Forget the oldest chunks until a new one fits; a single one may exceed the limit."""
        while self._decoded and self._decoded_bytes + size_bytes > _CACHE_BYTES:
            self._decoded_bytes -= self._decoded.pop(next(iter(self._decoded))).nbytes


def _refuse_larger(page: tifffile.TiffPage, frame: jpeg.Frame, what: str) -> None:
    """Refuse a JPEG strip or tile that declares more pixels than its page."""
    height, width = page.chunks[:2]
    if frame.rows > height or frame.columns > width:
        raise StackError(
            f"{what}: a JPEG strip or tile has {frame.rows}x{frame.columns} pixels, "
            f"the page declares {height}x{width}",
            hint=ifd.CUT_SHORT,
        )


def _chunk_shape(page: tifffile.TiffPage) -> tuple[int, ...]:
    """Return the shape of a chunk, five dimensions. The last strip may be shorter, tiles never."""
    contiguous = page.shaped[-1]
    if page.is_tiled:
        return 1, page.tiledepth, page.tilelength, page.tilewidth, contiguous
    return 1, 1, page.rowsperstrip, page.imagewidth, contiguous


def _overlaps(page: tifffile.TiffPage, box: Box) -> Iterator[_Overlap]:
    """Cut a box where chunks meet."""
    sizes = _chunk_shape(page)
    grid = tuple(math.ceil(n / size) for n, size in zip(page.shaped, sizes, strict=True))
    touched = [
        range(span.start // size, math.ceil(span.stop / size))
        for span, size in zip(box, sizes, strict=True)
    ]
    for place in itertools.product(*touched):
        cuts = [_cut(*each) for each in zip(place, sizes, box, strict=True)]
        inside, target = zip(*cuts, strict=True)
        # chunks are numbered in C order over the grid
        yield _Overlap(int(np.ravel_multi_index(place, grid)), inside, target)


def _cut(place: int, size: int, span: slice) -> tuple[slice, slice]:
    """Return the overlap of a chunk and a span along one dimension, counted in each of them."""
    start = place * size
    low, high = max(span.start, start), min(span.stop, start + size)
    return slice(low - start, high - start), slice(low - span.start, high - span.start)
