"""Check the pages of a TIFF before any of its pixels are read.

tifffile loses pages and tags in silence when a file is damaged, so the chain of pages is walked
here, and what each page declares must agree with the bytes that are there.
"""

import math
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.images.guards import refuse_bomb

_JPEG = 7
_COMPRESSIONS = {
    1: "none",
    5: "LZW",
    _JPEG: "JPEG",
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

_MAX_TAGS = 4096
CUT_SHORT = "copy or download the file again; it may be cut short"
_RESAVE = "open it in Fiji and save it as TIFF"


class Directory(NamedTuple):
    """A page in the chain of pages: where its list of tags lies in the file, and the tags."""

    start: int
    end: int
    tags: frozenset[int]


def walk(path: Path, name: str) -> list[Directory]:
    """Walk a TIFF's chain of pages to its end.

    Parameters
    ----------
    path : Path
        The file, which begins as a TIFF does.
    name : str
        The file, for messages.

    Returns
    -------
    list of Directory
        The pages; at least one.

    Raises
    ------
    StackError
        If the chain leaves the file, comes back to itself, or holds no page.
    """
    pages: dict[int, Directory] = {}
    with path.open("rb") as file:
        header = file.read(16).ljust(16, b"\0")
        order = "<" if header.startswith(b"II") else ">"
        big = 43 in header[2:4]
        offset = _unpack(order + "Q", header[8:]) if big else _unpack(order + "I", header[4:8])
        while offset and offset not in pages:
            try:
                pages[offset], offset = _directory(file, offset, order, big=big)
            except (struct.error, ValueError, OverflowError, OSError) as error:
                raise StackError(
                    f"{name}: expected page {len(pages) + 1} at byte {offset}, "
                    f"found none in a file of {path.stat().st_size} bytes",
                    hint=CUT_SHORT,
                ) from error
    if offset or not pages:
        raise StackError(
            f"{name}: expected a chain of pages with an end, "
            f"found {'a loop after page ' + str(len(pages)) if offset else 'no page'}",
            hint=CUT_SHORT,
        )
    return list(pages.values())


def _directory(file: BinaryIO, offset: int, order: str, *, big: bool) -> tuple[Directory, int]:
    """Read the page at `offset`, and where the next page is; 0 after the last."""
    count_format, entry_bytes, next_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    file.seek(offset)
    count = _unpack(order + count_format, file.read(struct.calcsize(count_format)))
    if not 0 < count <= _MAX_TAGS:
        raise ValueError(f"a page of {count} tags")
    entries = file.read(count * entry_bytes)
    following = _unpack(order + next_format, file.read(struct.calcsize(next_format)))
    codes = struct.iter_unpack(f"{order}H{entry_bytes - 2}x", entries)
    return Directory(offset, file.tell(), frozenset(code for (code,) in codes)), following


def _unpack(layout: str, data: bytes) -> int:
    """Read one whole number."""
    return int(struct.unpack(layout, data)[0])


def is_raw(page: tifffile.TiffPage) -> bool:
    """Tell whether a page's pixels lie in the file as in memory, so that rows can be read alone."""
    return bool(
        page.compression == page.predictor == page.fillorder == page.tiledepth == 1
        and page.dtype is not None
        and np.dtype(page.dtype).itemsize * 8 == page.bitspersample
        and not page.is_subsampled
    )


def check(page: tifffile.TiffPage, tags: frozenset[int], file_bytes: int, what: str) -> None:
    """Check that a page's pixels can be read, are all in the file, and fit in memory.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page as tifffile understood it.
    tags : frozenset of int
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
    lost = (tags & _PIXEL_TAGS) - set(page.tags.keys())
    if lost:
        raise StackError(
            f"{what}: expected readable tags, found tag {min(lost)} damaged", hint=CUT_SHORT
        )
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


def _check_segments(page: tifffile.TiffPage, file_bytes: int, what: str) -> None:
    """Check the strips or tiles of a page against the file and against the pixels declared."""
    segments, segment_bytes = _segments(page)
    offsets, counts = page.dataoffsets, page.databytecounts
    listed = [page.tags[code].count for code in (273, 279, 324, 325) if code in page.tags]
    if not len(offsets) == len(counts) == segments or set(listed) != {segments}:
        raise StackError(
            f"{what}: expected {segments} strips or tiles, found {max(listed, default=0)}",
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


def refuse_overlap(name: str, parts: NDArray[np.int64]) -> None:
    """Refuse parts of a file that lie in one another, as a damaged offset makes them.

    Parameters
    ----------
    name : str
        The file, for messages.
    parts : ndarray of int64, shape (N, 2)
        Where each part begins and ends.

    Raises
    ------
    StackError
        If two parts overlap.
    """
    ordered = parts[np.argsort(parts[:, 0])]
    bad = np.flatnonzero(ordered[1:, 0] < ordered[:-1, 1])
    if bad.size:
        raise StackError(
            f"{name}: expected strips or tiles beside each other, "
            f"found two that overlap at byte {ordered[bad[0] + 1, 0]}",
            hint=CUT_SHORT,
        )


def check_jpeg(page: tifffile.TiffPage, data: bytes, what: str) -> None:
    """Check a JPEG strip or tile, which says once more how large it is.

    Parameters
    ----------
    page : tifffile.TiffPage
        Its page; nothing is done if that is not compressed as JPEG.
    data : bytes
        The strip or tile.
    what : str
        The file and page, for messages.

    Raises
    ------
    StackError
        If it has no end, or is larger than the page declares: the decoder would fill up the
        missing part with grey, or the memory.
    """
    if page.compression != _JPEG:
        return
    height, width = page.chunks[:2]
    rows, columns = _jpeg_size(data)
    if rows > height or columns > width or b"\xff\xd9" not in data[-16:]:
        raise StackError(
            f"{what}: expected whole JPEG strips or tiles of {height}x{width}, "
            f"found one of {rows}x{columns} in {len(data)} bytes",
            hint=CUT_SHORT,
        )


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read rows and columns from the frame header of a JPEG stream; ITU T.81, B.2.2."""
    at = 2
    while not (0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC)):
        at += 2 + _unpack(">H", data[at + 2 : at + 4])
    return _unpack(">H", data[at + 5 : at + 7]), _unpack(">H", data[at + 7 : at + 9])
