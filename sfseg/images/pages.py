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
from sfseg.images.guards import refuse_bomb, refuse_untrusted

JPEG = 7
_COMPRESSIONS = {
    1: "none",
    5: "LZW",
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

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
"""Size of a value of each type of tags; TIFF 6.0, page 15, and BigTIFF."""

_MAX_TAGS = 4096
_MAX_PAGES = 50_000
"""More are no sections of an organ, and take longer to check than a person waits."""

_MAX_SHARING = 4
"""How often tags may use the same bytes of a file; a reader reads them each time."""

CUT_SHORT = "copy or download the file again; it may be cut short"
_RESAVE = "open it in Fiji and save it as TIFF"


class Directory(NamedTuple):
    """A page in the chain of pages.

    Attributes
    ----------
    start, end : int
        Where its list of tags lies in the file.
    tags : tuple of int
        The tags in it.
    value_bytes : int
        Size of the list and of all values in the file that it points to.
    """

    start: int
    end: int
    tags: tuple[int, ...]
    value_bytes: int


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
        If the chain leaves the file, comes back to itself, holds no page or more than any stack,
        or more tags than the file has room for.
    """
    pages: dict[int, Directory] = {}
    file_bytes, tags_bytes = path.stat().st_size, 0
    with path.open("rb") as file:
        header = file.read(16).ljust(16, b"\0")
        order = "<" if header.startswith(b"II") else ">"
        big = 43 in header[2:4]
        offset = _unpack(order + "Q", header[8:]) if big else _unpack(order + "I", header[4:8])
        while offset and offset not in pages:
            try:
                page, following = _directory(file, offset, order, file_bytes, big=big)
            except (struct.error, ValueError, OverflowError, OSError) as error:
                raise StackError(
                    f"{name}: expected page {len(pages) + 1} at byte {offset}, "
                    f"found none in a file of {file_bytes} bytes",
                    hint=CUT_SHORT,
                ) from error
            pages[offset], offset = page, following
            tags_bytes += page.value_bytes
            _refuse_many(name, len(pages), tags_bytes, file_bytes)
    if offset or not pages:
        raise StackError(
            f"{name}: expected a chain of pages with an end, "
            f"found {'a loop after page ' + str(len(pages)) if offset else 'no page'}",
            hint=CUT_SHORT,
        )
    return list(pages.values())


def _refuse_many(name: str, pages: int, tags_bytes: int, file_bytes: int) -> None:
    """Refuse what would take hours to check: too many pages, or tags that share their bytes."""
    if pages > _MAX_PAGES:
        refuse_untrusted(name, f"at most {_MAX_PAGES} pages", "more")
    if tags_bytes > _MAX_SHARING * file_bytes:
        raise StackError(
            f"{name}: expected tags beside each other, found {tags_bytes} bytes of them "
            f"up to page {pages} in a file of {file_bytes} bytes",
            hint=CUT_SHORT,
        )


def _directory(
    file: BinaryIO, offset: int, order: str, file_bytes: int, *, big: bool
) -> tuple[Directory, int]:
    """Read the page at `offset`, and where the next page is; 0 after the last."""
    count_format, entry_format, next_format = ("Q", "HHQ8x", "Q") if big else ("H", "HHI4x", "I")
    file.seek(offset)
    count = _unpack(order + count_format, file.read(struct.calcsize(count_format)))
    if not 0 < count <= _MAX_TAGS:
        raise ValueError(f"a page of {count} tags")
    entries = file.read(count * struct.calcsize(order + entry_format))
    following = _unpack(order + next_format, file.read(struct.calcsize(next_format)))
    tags = list(struct.iter_unpack(order + entry_format, entries))
    sizes = (number * _TYPE_BYTES.get(kind, 0) for _, kind, number in tags)
    # what is larger than the file is never read
    value_bytes = len(entries) + sum(size for size in sizes if size <= file_bytes)
    codes = tuple(code for code, _, _ in tags)
    return Directory(offset, file.tell(), codes, value_bytes), following


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
    lost = _PIXEL_TAGS.intersection(tags).difference(page.tags.keys())
    if lost:
        raise StackError(
            f"{what}: expected readable tags, found tag {min(lost)} damaged", hint=CUT_SHORT
        )
    twice = {code for code in _PIXEL_TAGS - {_DESCRIPTION} if tags.count(code) > 1}
    if twice:
        raise StackError(
            f"{what}: expected each tag once, found tag {min(twice)} again", hint=_RESAVE
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
