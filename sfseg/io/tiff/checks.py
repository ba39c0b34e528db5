"""Check the pages of a TIFF before any of its pixels are read.

tifffile drops damaged tags without an error. So what each page declares must agree with the bytes
in the file. A *chunk* is a strip or a tile of a page.
"""

import math

import numpy as np
import tifffile
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.io.guards import refuse_bomb
from sfseg.io.tiff.ifd import CUT_SHORT, Directory
from sfseg.types import format_shape

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
"""Tags that decide what the pixels are; tifffile skips a tag that it cannot read."""

_DESCRIPTION = 270  # the only one that writers, also tifffile, list twice
_JPEG_TABLES = 347
_WHOLE = frozenset({1, 3, 4, 16})  # BYTE, SHORT, LONG, LONG8

_RESAVE = "open it in Fiji and save it as TIFF"


def is_raw(page: tifffile.TiffPage) -> bool:
    """Tell whether pixels lie in the file exactly as in memory: then single rows can be read."""
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
        The page as tifffile parsed it.
    tags : tuple of int
        All tags that the file lists for it.
    file_bytes : int
        Size of the file.
    what : str
        The file and page, for messages.

    Raises
    ------
    StackError
        If any of this is not so.
    """
    _check_tags(page, tags, what)
    if page.compression not in _COMPRESSIONS:
        raise StackError(
            f"{what}: compression {page.compression} cannot be read, only "
            f"{', '.join(dict.fromkeys(_COMPRESSIONS.values()))}",
            hint=_RESAVE,
        )
    if 0 in page.shaped:  # what tifffile writes for an array without sections
        raise StackError(
            f"{what}: no section: an image of {format_shape(page.shape)} has no pixels",
            hint="check the program that wrote the file",
        )
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise StackError(
            f"{what}: pixels of {page.bitspersample} bits and sample format "
            f"{int(page.sampleformat)} in {page.shape} cannot be read",
            hint=_RESAVE,
        )
    _check_chunks(page, file_bytes, what)


def _check_tags(page: tifffile.TiffPage, tags: tuple[int, ...], what: str) -> None:
    """Check that each tag that decides on pixels is readable, there once, and a whole number."""
    lost = _PIXEL_TAGS.intersection(tags).difference(page.tags.keys())
    numbers = _PIXEL_TAGS - {_DESCRIPTION, _JPEG_TABLES}
    lost |= {each.code for each in page.tags if each.code in numbers and each.dtype not in _WHOLE}
    if lost:
        raise StackError(f"{what}: tag {min(lost)} is damaged", hint=CUT_SHORT)
    twice = {code for code in _PIXEL_TAGS - {_DESCRIPTION} if tags.count(code) > 1}
    if twice:
        raise StackError(f"{what}: tag {min(twice)} is there twice", hint=_RESAVE)


def _check_chunks(page: tifffile.TiffPage, file_bytes: int, what: str) -> None:
    """Check the strips or tiles of a page against the file and against the pixels declared."""
    chunks, chunk_bytes = _chunk_grid(page)
    offsets, counts = page.dataoffsets, page.databytecounts
    # offsets (273, 324) and byte counts (279, 325) must both be there: tifffile guesses the counts
    listed = [
        {page.tags[code].count for code in codes if code in page.tags}
        for codes in ((273, 324), (279, 325))
    ]
    if not len(offsets) == len(counts) == chunks or any(each != {chunks} for each in listed):
        found = min(max(each, default=0) for each in listed)
        raise StackError(
            f"{what}: {found} of {chunks} strips or tiles are listed",
            hint=CUT_SHORT,
        )
    if min(offsets) < 8 or min(counts) < 1:
        raise StackError(
            f"{what}: some strips or tiles are left out",
            hint=_RESAVE,
        )
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > file_bytes:
        raise StackError(
            f"{what}: the pixels end at byte {end}, but the file has {file_bytes} bytes",
            hint=CUT_SHORT,
        )
    stored, decoded = sum(counts), _decoded_bytes(page, chunks, chunk_bytes)
    if not is_raw(page):
        refuse_bomb(what, decoded_bytes=decoded, encoded_bytes=stored, chunk_bytes=chunk_bytes)
    if page.compression == 1 and stored - _padding(page, chunk_bytes) != decoded:
        raise StackError(
            f"{what}: {page.shape} needs {decoded} bytes of pixels, the page has {stored}",
            hint=_RESAVE,
        )


def _chunk_grid(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return the number of chunks and the decoded size of the largest in bytes."""
    lines = page.tilelength * page.tiledepth if page.is_tiled else page.rowsperstrip
    # each line is padded to whole bytes, which matters for pixels of 1 bit
    width = (page.tilewidth if page.is_tiled else page.imagewidth) * page.shaped[-1]
    return math.prod(page.chunked), lines * math.ceil(width * page.bitspersample / 8)


def _decoded_bytes(page: tifffile.TiffPage, chunks: int, chunk_bytes: int) -> int:
    """Return the decoded size of all pixels. Tiles are padded, the last strip is not."""
    if page.is_tiled:
        return chunks * chunk_bytes
    samples, depth, rows, columns, contiguous = page.shaped
    return samples * depth * rows * math.ceil(columns * contiguous * page.bitspersample / 8)


def _padding(page: tifffile.TiffPage, chunk_bytes: int) -> int:
    """Return the bytes that the last strips have beyond the last row, where they are full.

    A single strip that is longer than its page is a damaged page: it would lose most of its rows.
    """
    strips = math.ceil(page.imagelength / page.rowsperstrip) if page.rowsperstrip else 0
    if page.is_tiled or page.imagedepth > 1 or strips < 2:
        return 0
    lasts = page.databytecounts[strips - 1 :: strips]  # of each plane
    if any(count != chunk_bytes for count in lasts):
        return 0
    missing = strips * page.rowsperstrip - page.imagelength
    return missing * (chunk_bytes // page.rowsperstrip) * len(lasts)


def spans(page: tifffile.TiffPage, directory: Directory) -> NDArray[np.int64]:
    """List where the tags and chunks of a page lie in the file.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page, which `check` found good.
    directory : Directory
        Its place in the chain of pages.

    Returns
    -------
    ndarray of int64, shape (N, 2)
        Begin and end in bytes: first of the tags, then of each of the N - 1 chunks.
    """
    begins = np.array((directory.start, *page.dataoffsets), np.int64)
    lengths = np.array((directory.end - directory.start, *page.databytecounts), np.int64)
    return np.stack([begins, begins + lengths], axis=1)
