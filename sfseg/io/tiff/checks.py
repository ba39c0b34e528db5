"""Check the pages of a TIFF before any of its pixels are read.

tifffile loses tags in silence when a file is damaged, so what each page declares must agree with
the bytes that are there.
"""

import math

import numpy as np
import tifffile
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.io.guards import refuse_bomb
from sfseg.io.tiff.ifd import CUT_SHORT, Directory

LZW, JPEG = 5, 7
_COMPRESSIONS = {
    1: "none",
    LZW: "LZW",
    JPEG: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    50000: "zstd",
}
_PIXEL_TAGS = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 284}  # size, type, strips, axes
    | {317, 322, 323, 324, 325, 339, 347, 32997, 32998}  # predictor, tiles, JPEG tables, depth
)
"""Tags that decide what the pixels are; tifffile leaves out a tag that it cannot read."""

_DESCRIPTION = 270  # the one of these that writers, tifffile too, list twice
_JPEG_TABLES = 347
_WHOLE = frozenset({1, 3, 4, 16})  # BYTE, SHORT, LONG, LONG8

_RESAVE = "open it in Fiji and save it as TIFF"


def is_raw(page: tifffile.TiffPage) -> bool:
    """Tell whether a page's pixels lie in the file as in memory, so that rows can be read alone."""
    return bool(
        page.compression == page.predictor == page.fillorder == page.tiledepth == 1
        and page.dtype is not None
        and np.dtype(page.dtype).itemsize * 8 == page.bitspersample
        and not page.is_subsampled
    )


def check(page: tifffile.TiffPage, tags: tuple[int, ...], file_bytes: int, what: str) -> None:
    """Check that a page's pixels can be read, are all in the file, and fit in memory.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page as tifffile understood it.
    tags : tuple of int
        The tags that it lists.
    file_bytes : int
        Size of the file.
    what : str
        The file and page, for messages.

    Raises
    ------
    StackError
        If they cannot, are not, or do not.
    """
    _check_tags(page, tags, what)
    if page.compression not in _COMPRESSIONS:
        raise StackError(
            f"{what}: expected pixels stored as one of {', '.join(_COMPRESSIONS.values())}, "
            f"found compression {page.compression}",
            hint=_RESAVE,
        )
    if page.dtype is None or not isinstance(page.bitspersample, int) or 0 in page.shaped:
        raise StackError(
            f"{what}: expected pixels of a known type, found {page.bitspersample} bits of "
            f"sample format {int(page.sampleformat)} in {page.shape}",
            hint=_RESAVE,
        )
    _check_segments(page, file_bytes, what)


def _check_tags(page: tifffile.TiffPage, tags: tuple[int, ...], what: str) -> None:
    """Check that each tag that decides on pixels is there once, and a whole number."""
    lost = _PIXEL_TAGS.intersection(tags).difference(page.tags.keys())
    numbers = _PIXEL_TAGS - {_DESCRIPTION, _JPEG_TABLES}
    lost |= {each.code for each in page.tags if each.code in numbers and each.dtype not in _WHOLE}
    if lost:
        raise StackError(
            f"{what}: expected readable tags, found tag {min(lost)} damaged", hint=CUT_SHORT
        )
    twice = {code for code in _PIXEL_TAGS - {_DESCRIPTION} if tags.count(code) > 1}
    if twice:
        raise StackError(
            f"{what}: expected each tag once, found tag {min(twice)} again", hint=_RESAVE
        )


def _check_segments(page: tifffile.TiffPage, file_bytes: int, what: str) -> None:
    """Check the strips or tiles of a page against the file and against the pixels declared."""
    segments, segment_bytes = _segments(page)
    offsets, counts = page.dataoffsets, page.databytecounts
    # Both must be told: where the lengths are not, tifffile guesses them.
    listed = [
        {page.tags[code].count for code in codes if code in page.tags}
        for codes in ((273, 324), (279, 325))
    ]
    if not len(offsets) == len(counts) == segments or any(told != {segments} for told in listed):
        found = min(max(told, default=0) for told in listed)
        raise StackError(
            f"{what}: expected {segments} strips or tiles, found {found}",
            hint=CUT_SHORT,
        )
    if min(offsets) < 8 or min(counts) < 1:
        raise StackError(
            f"{what}: expected pixels for the whole page, found strips or tiles left out",
            hint=_RESAVE,
        )
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > file_bytes:
        raise StackError(
            f"{what}: expected pixels up to byte {end}, found a file of {file_bytes} bytes",
            hint=CUT_SHORT,
        )
    stored, decoded = sum(counts), _decoded_bytes(page, segments, segment_bytes)
    if not is_raw(page):
        refuse_bomb(what, decoded_bytes=decoded, encoded_bytes=stored, segment_bytes=segment_bytes)
    if page.compression == 1 and stored != decoded:
        raise StackError(
            f"{what}: expected {decoded} bytes for {page.shape}, found {stored}", hint=_RESAVE
        )


def _segments(page: tifffile.TiffPage) -> tuple[int, int]:
    """Give the number of strips or tiles and the decoded size of the largest."""
    lines = page.tilelength * page.tiledepth if page.is_tiled else page.rowsperstrip
    width = (page.tilewidth if page.is_tiled else page.imagewidth) * page.shaped[-1]
    return math.prod(page.chunked), lines * math.ceil(width * page.bitspersample / 8)


def _decoded_bytes(page: tifffile.TiffPage, segments: int, segment_bytes: int) -> int:
    """Give the size of the pixels once decoded; tiles are whole, the last strip is not."""
    if page.is_tiled:
        return segments * segment_bytes
    samples, depth, rows, columns, contiguous = page.shaped
    return samples * depth * rows * math.ceil(columns * contiguous * page.bitspersample / 8)


def spans(page: tifffile.TiffPage, directory: Directory) -> NDArray[np.int64]:
    """List where the parts of a page lie in the file.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page, which `check` found good.
    directory : Directory
        Its place in the chain of pages.

    Returns
    -------
    ndarray of int64, shape (N, 2)
        Where its tags and each of its strips or tiles begin and end.
    """
    begins = np.array((directory.start, *page.dataoffsets), np.int64)
    lengths = np.array((directory.end - directory.start, *page.databytecounts), np.int64)
    return np.stack([begins, begins + lengths], axis=1)
