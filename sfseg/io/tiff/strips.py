"""Read a window of a TIFF's page: only the strips, tiles or rows that it touches.

A page here has the five dimensions that tifffile calls ``shaped``: separate samples, depth, rows,
columns, contiguous samples. Its strips or tiles, the *chunks* of a page, form a grid in it.
"""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io import jpeg
from sfseg.io.tiff import checks, ifd, lzw
from sfseg.types import AnyArray

_Key = tuple[int, int]
"""The numbers of a page and of a chunk in it."""

Box = tuple[slice, ...]
"""A region of a page or chunk: a slice for each of the five dimensions, with start and stop."""

_ROWS_BYTES = 2**22
"""How many bytes of whole rows are read at once."""

_CACHE_BYTES = 2**26
"""Neighbouring windows share chunks: this many decoded bytes serve a row 32k pixels wide."""

_COPIES = {checks.LZW: 3, checks.JPEG: 4}
"""Decoding takes up to so many times the pixels, beside the encoded bytes: measured at 8000x8000,
3 of LZW without its end code, 3.5 of JPEG, 1 of all others, and 1 more to swap the bytes."""


class _Overlap(NamedTuple):
    """The overlap of a box and a chunk: the chunk's number, the place in it and in the box."""

    chunk: int
    inside: Box
    target: Box


class ChunkReader:
    """Read windows of the pages of one file, and keep the chunks that were decoded last.

    Several threads may read. Each chunk is decoded by one, and those that need it wait.

    Parameters
    ----------
    file : tifffile.FileHandle
        The open file, with a lock.
    name : str
        The file, for messages.
    """

    def __init__(self, file: tifffile.FileHandle, name: str) -> None:
        self._file, self._name = file, name
        self._kept: dict[_Key, tuple[Future[AnyArray], int]] = {}
        self._kept_bytes = 0

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
            data = self._read(
                start + row * row_bytes + first * pixel_bytes, height * count * pixel_bytes
            )
            block = np.frombuffer(data, stored)
            pixels[0, 0, row - rows.start :][:height] = block.reshape(height, count, contiguous)[
                :, columns.start - first : columns.stop - first, samples
            ]

    def _decode(self, page: tifffile.TiffPage, overlap: _Overlap) -> AnyArray:
        """Return the overlap of a box and an encoded chunk; decode the chunk unless it is kept."""
        key, size_bytes = (page.index, overlap.chunk), _chunk_bytes(page)
        with self._file.lock:
            is_new = key not in self._kept
            if is_new:
                self._make_room(size_bytes)
                self._kept[key] = Future(), size_bytes
            decoded, _ = self._kept[key]
        if is_new:
            self._fill(decoded, page, key)
        chunk = decoded.result()
        few = any(n < needed.stop for n, needed in zip(chunk.shape, overlap.inside, strict=True))
        if few or chunk.dtype != page.dtype:
            raise ValueError(f"{chunk.shape} of {chunk.dtype} in chunk {overlap.chunk}")
        return chunk[overlap.inside]

    def _fill(self, decoded: "Future[AnyArray]", page: tifffile.TiffPage, key: _Key) -> None:
        """Decode a chunk for all threads that wait for it; one that fails is not kept."""
        try:
            decoded.set_result(self._decode_chunk(page, key[1]))
        except BaseException as error:
            with self._file.lock:
                if key in self._kept and self._kept[key][0] is decoded:
                    self._kept_bytes -= self._kept.pop(key)[1]
            decoded.set_exception(error)
            raise

    def _read(self, start: int, size_bytes: int) -> bytes:
        """Read bytes of the file."""
        with self._file.lock:
            self._file.seek(start)
            return bytes(self._file.read(size_bytes))

    def _decode_chunk(self, page: tifffile.TiffPage, index: int) -> AnyArray:
        """Read and decode a chunk."""
        data = self._read(page.dataoffsets[index], page.databytecounts[index])
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
        while self._kept and self._kept_bytes + size_bytes > _CACHE_BYTES:
            self._kept_bytes -= self._kept.pop(next(iter(self._kept)))[1]
        self._kept_bytes += size_bytes


def decoding_bytes(page: tifffile.TiffPage) -> int:
    """Compute the memory to decode the largest strip or tile of a page; 0 if it is not encoded."""
    if checks.is_raw(page):
        return 0
    is_swapped = not np.dtype(page.dtype).newbyteorder(page.parent.byteorder).isnative
    copies = _COPIES.get(page.compression, 1) + is_swapped
    return copies * _chunk_bytes(page) + max(page.databytecounts)


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


def _chunk_bytes(page: tifffile.TiffPage) -> int:
    """Return the size of a decoded chunk."""
    return math.prod(_chunk_shape(page)) * np.dtype(page.dtype).itemsize


def _overlaps(page: tifffile.TiffPage, box: Box) -> Iterator[_Overlap]:
    """Cut a box where chunks meet."""
    cuts, step = [], 1
    # chunks are numbered in C order over the grid: the last dimension is the fastest
    for whole, size, span in reversed(list(zip(page.shaped, _chunk_shape(page), box, strict=True))):
        touched = range(span.start // size, math.ceil(span.stop / size))
        cuts.append([(place * step, *_cut(place, size, span)) for place in touched])
        step *= math.ceil(whole / size)
    for places in itertools.product(*reversed(cuts)):
        numbers, inside, target = zip(*places, strict=True)
        yield _Overlap(sum(numbers), inside, target)


def _cut(place: int, size: int, span: slice) -> tuple[slice, slice]:
    """Return the overlap of a chunk and a span along one dimension, counted in each of them."""
    start = place * size
    low, high = max(span.start, start), min(span.stop, start + size)
    return slice(low - start, high - start), slice(low - span.start, high - span.start)
