"""Walk the chain of a TIFF's pages; tifffile drops damaged pages without an error."""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.io.guards import is_transient, refuse_untrusted

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
"""Size of a value of each type of tags; TIFF 6.0, page 15, and BigTIFF."""

_MAX_TAGS = 4096
_MAX_PAGES = 50_000
"""No stack has more sections, and checking more takes longer than a person waits."""

_MAX_SHARING = 4
"""How often tags may share the same bytes of a file: a reader reads them each time."""

CUT_SHORT = "copy or download the file again; it may be cut short"


class Directory(NamedTuple):
    """A page in the chain of pages.

    Attributes
    ----------
    start, end : int
        Where its list of tags lies in the file, in bytes.
    tags : tuple of int
        The codes of the tags.
    value_bytes : int
        Size of the list and of all values that it points to.
    reach : int
        Where the last of them ends in the file.
    """

    start: int
    end: int
    tags: tuple[int, ...]
    value_bytes: int
    reach: int


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
        If the chain leaves the file, loops, has no page or too many, or lists more tags than the
        file has room for.
    OSError
        If the system cannot read.
    """
    pages: dict[int, Directory] = {}
    file_bytes, tags_bytes = path.stat().st_size, 0
    with path.open("rb") as file:
        header = file.read(16).ljust(16, b"\0")
        # "II" or "MM" is the byte order; version 42 is classic TIFF with a 4-byte offset of the
        # first page at byte 4, version 43 is BigTIFF with an 8-byte offset at byte 8
        order = "<" if header.startswith(b"II") else ">"
        big = 43 in header[2:4]
        offset = _unpack(order + "Q", header[8:]) if big else _unpack(order + "I", header[4:8])
        while offset and offset not in pages:
            try:
                page, following = _directory(file, offset, order, file_bytes, big=big)
            except (struct.error, ValueError, OverflowError, OSError) as error:
                if is_transient(error):
                    raise
                raise StackError(
                    f"{name}: page {len(pages) + 1} is missing at byte {offset} "
                    f"of {file_bytes} bytes",
                    hint=CUT_SHORT,
                ) from error
            pages[offset], offset = page, following
            tags_bytes += page.value_bytes
            _refuse_many(name, len(pages), tags_bytes, file_bytes)
    if offset or not pages:
        wrong = f"the pages loop after page {len(pages)}" if offset else "the file has no page"
        raise StackError(f"{name}: {wrong}", hint=CUT_SHORT)
    return list(pages.values())


def _refuse_many(name: str, pages: int, tags_bytes: int, file_bytes: int) -> None:
    """Refuse files that take hours to check: too many pages, or tags that share their bytes."""
    if pages > _MAX_PAGES:
        refuse_untrusted(name, f"there are more than {_MAX_PAGES} pages")
    if tags_bytes > _MAX_SHARING * file_bytes:
        raise StackError(
            f"{name}: the tags up to page {pages} overlap: {tags_bytes} bytes of tags in a file "
            f"of {file_bytes} bytes",
            hint=CUT_SHORT,
        )


def _directory(
    file: BinaryIO, offset: int, order: str, file_bytes: int, *, big: bool
) -> tuple[Directory, int]:
    """Read the page at `offset` and the offset of the next page, 0 after the last."""
    # an entry is code, type, number of values and the value, or its offset where it is larger
    count_format, entry_format, next_format = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    inline_bytes = 8 if big else 4
    file.seek(offset)
    count = _unpack(order + count_format, file.read(struct.calcsize(count_format)))
    if not 0 < count <= _MAX_TAGS:
        raise ValueError(f"a page of {count} tags")
    entries = file.read(count * struct.calcsize(order + entry_format))
    following = _unpack(order + next_format, file.read(struct.calcsize(next_format)))
    tags = list(struct.iter_unpack(order + entry_format, entries))
    sizes = [(number * _TYPE_BYTES.get(kind, 0), place) for _, kind, number, place in tags]
    # values larger than the file cannot be read, so they cost nothing
    value_bytes = len(entries) + sum(size for size, _ in sizes if size <= file_bytes)
    ends = (place + size for size, place in sizes if inline_bytes < size <= file_bytes - place)
    codes = tuple(code for code, _, _, _ in tags)
    end = file.tell()
    return Directory(offset, end, codes, value_bytes, max(end, *ends, end)), following


def _unpack(layout: str, data: bytes) -> int:
    """Read one whole number."""
    return int(struct.unpack(layout, data)[0])


def refuse_overlap(name: str, spans: NDArray[np.int64]) -> None:
    """Refuse spans of a file that overlap, which is a sign of a damaged offset.

    Parameters
    ----------
    name : str
        The file, for messages.
    spans : ndarray of int64, shape (N, 2)
        Begin and end of each strip, tile or list of tags, in bytes.

    Raises
    ------
    StackError
        If two spans overlap.
    """
    ordered = spans[np.argsort(spans[:, 0])]
    # sorted by begin, two spans overlap exactly if a begin lies before the end of the one before
    bad = np.flatnonzero(ordered[1:, 0] < ordered[:-1, 1])
    if bad.size:
        raise StackError(
            f"{name}: two strips or tiles overlap at byte {ordered[bad[0] + 1, 0]}",
            hint=CUT_SHORT,
        )
