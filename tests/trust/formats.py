"""TIFFs of each type, byte order, compression and layout, and MRC: read right, or refused clearly.

Small ones, classic and BigTIFF; BigTIFFs of which all but the header lies behind 5 GiB; and stacks
of more than 4 GiB, by another writer and by ours, of which windows are read. What is large is full
of holes, and takes little of the disk.
"""

import functools
import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import mrcfile
import numpy as np
import tifffile

from sfseg.errors import StackError
from sfseg.io import create_canvas, open_stack
from sfseg.io.mrc import writer as mrc_out
from sfseg.io.tiff import writer as tiff_out
from tests.trust import cases
from tests.trust.rows import Row
from tests.trust.tiffs import require_windows

TYPES, ORDERS = ("u1", "u2", "f4"), ("<", ">")
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "LZW": {"compression": "lzw"},
    "LZW with a predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "deflate with a predictor": {"compression": "zlib", "predictor": True},
    "deflate by its old number": {"compression": 32946},
    "zstd": {"compression": "zstd"},
    "zstd with a predictor": {"compression": "zstd", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "JPEG": {"compression": "jpeg"},
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "in one strip": {},
    "in strips": {"rowsperstrip": 7},
    "in tiles": {"tile": (16, 32)},
}
FAR = "BigTIFF behind 5 GiB"
KINDS = ("classic TIFF", "BigTIFF", FAR)
FAR_BYTES = 5 * 2**30

SHAPE = (3, 40, 70)
LARGE = {"u1": (3, 40_000, 40_000), "u2": (3, 30_000, 30_000), "f4": (3, 20_000, 20_000)}
"""More than 4 GiB each."""

LARGE_LAYOUTS: dict[str, dict[str, Any]] = {
    "in one strip": {},
    "in strips": {"rowsperstrip": 100},
    "in tiles": {"tile": (2048, 2048)},
}
SIDE_PX, AROUND_PX = 9, 5
"""Of the squares that are written to a large stack, which is 0 otherwise; and of what is read."""

Case = tuple[Callable[..., str], tuple[str, ...]]
"""What tries a kind of file, and the kind."""

Square = tuple[int, slice, slice]
"""A section, and rows and columns of it."""


def pixels(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Make pixels from 1 on; those of 16 bits fit in the 12 that JPEG has."""
    found = np.random.default_rng(1).random(shape) * {"u1": 250, "u2": 4000, "f4": 1}[dtype] + 1
    found[:, 5:20] = 7  # so that it can be compressed
    return found.astype(dtype)


def try_small(path: Path, dtype: str, order: str, compression: str, layout: str, kind: str) -> str:
    """Let another writer make a small stack, and read it; see `tests.trust.cases.Check`."""
    expected, options = pixels(dtype, SHAPE), {**COMPRESSIONS[compression], **LAYOUTS[layout]}
    with tifffile.TiffWriter(path, bigtiff=kind != "classic TIFF", byteorder=order) as writer:
        if kind == FAR:
            writer.filehandle.seek(FAR_BYTES)
        writer.write(expected, photometric="minisblack", metadata=None, **options)
    assert (path.stat().st_size > FAR_BYTES) == (kind == FAR)
    if compression == "JPEG":  # it loses something, in writing
        with tifffile.TiffFile(path) as tif:
            expected = np.stack([page.asarray() for page in tif.pages])
    try:
        with open_stack(path) as stack:
            found = stack.read()
            require_windows(stack, found, Random(f"{compression} {layout}"))
    except StackError as error:
        cases.require_clear(error)
        return "refused"
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    return "read"


def squares(shape: tuple[int, ...]) -> list[Square]:
    """Name squares in each section: in its corners, on its sides and in the middle."""
    starts = [(0, length // 2, length - SIDE_PX) for length in shape[1:]]
    parts = [[slice(start, start + SIDE_PX) for start in each] for each in starts]
    return list(itertools.product(range(shape[0]), *parts))


def places(tif: tifffile.TiffFile, square: Square) -> list[int]:
    """Tell where the pixels of a square lie in a file that is not compressed."""
    section, rows, columns = square
    page = tif.pages[section]
    height, width = page.chunks
    across = -(-page.imagewidth // width)
    return [
        page.dataoffsets[row // height * across + column // width]
        + (row % height * width + column % width) * page.dtype.itemsize
        for row in range(rows.start, rows.stop)
        for column in range(columns.start, columns.stop)
    ]


def try_large(path: Path, dtype: str, order: str, layout: str) -> str:
    """Let another writer make a stack of more than 4 GiB, and read windows of it."""
    shape, options = LARGE[dtype], dict(LARGE_LAYOUTS[layout])
    zeros = itertools.repeat(np.zeros(options["tile"], dtype)) if "tile" in options else None
    with (
        mock.patch.object(tifffile.FileHandle, "write_array", _write_hole),
        tifffile.TiffWriter(path, bigtiff=True, byteorder=order) as writer,
    ):
        options |= {"photometric": "minisblack", "metadata": None}
        writer.write(zeros, shape=shape, dtype=dtype, **options)
    marks = pixels(dtype, (len(squares(shape)), SIDE_PX, SIDE_PX))
    with tifffile.TiffFile(path) as tif, path.open("r+b") as file:
        for mark, square in zip(marks, squares(shape), strict=True):
            data = mark.astype(mark.dtype.newbyteorder(order)).tobytes()
            for number, place in enumerate(places(tif, square)):
                file.seek(place)
                file.write(data[number * mark.itemsize :][: mark.itemsize])
    require_marks(path, marks)
    return "read"


def _write_hole(file: tifffile.FileHandle, data: np.ndarray, *_: Any) -> int:
    return int(file.write_empty(data.nbytes))


def try_ours(path: Path, dtype: str) -> str:
    """Write a stack of more than 4 GiB; read windows of it, and its pixels one by one."""
    shape = LARGE[dtype]
    marks = pixels(dtype, (len(squares(shape)), SIDE_PX, SIDE_PX))
    with (
        mock.patch.object(tiff_out, "reserve"),  # else it would take its room on the disk
        create_canvas(path, path.name, shape, dtype) as canvas,
    ):
        for mark, square in zip(marks, squares(shape), strict=True):
            canvas.put(*square, mark)
        canvas.finish()
    require_marks(path, marks)
    with tifffile.TiffFile(path) as tif, path.open("rb") as file:
        for mark, square in zip(marks, squares(shape), strict=True):
            data = b""
            for place in places(tif, square):
                file.seek(place)
                data += file.read(mark.itemsize)
            assert data == mark.astype(mark.dtype.newbyteorder(tif.byteorder)).tobytes()
    return "read"


def try_mrc(path: Path, kind: str, order: str, packing: str) -> str:
    """Let mrcfile write a small MRC of a mode, and read it."""
    path = path.with_suffix(".mrc")
    with np.errstate(over="ignore"):
        expected = (pixels("u1", SHAPE) / 2).astype(kind)
    with mrcfile.new(path) as file:
        file.set_data(expected.astype(f"{order}{kind}"))
        file.set_extended_header(np.zeros(100, "V8"))
    if packing == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    with open_stack(path) as stack:
        found = stack.read()
        require_windows(stack, found, Random(f"{kind} {order}"))
    np.testing.assert_array_equal(found, expected)
    return "read"


def try_our_mrc(path: Path, dtype: str) -> str:
    """Write an MRC of more than 4 GiB; read windows of it, also with mrcfile.

    Without its statistics: to read all of its pixels takes longer than a case may.
    """
    path, shape = path.with_suffix(".mrc"), LARGE[dtype]
    marks = pixels(dtype, (len(squares(shape)), SIDE_PX, SIDE_PX))
    with (
        mock.patch.object(mrc_out, "reserve"),
        mock.patch.object(mrc_out.MrcCanvas, "_finite_blocks", return_value=()),
        create_canvas(path, path.name, shape, dtype) as canvas,
    ):
        for mark, square in zip(marks, squares(shape), strict=True):
            canvas.put(*square, mark)
        canvas.finish()
    require_marks(path, marks)
    with mrcfile.mmap(path) as file:
        for mark, square in zip(marks, squares(shape), strict=True):
            np.testing.assert_array_equal(file.data[square], mark)
    return "read"


def require_marks(path: Path, marks: np.ndarray) -> None:
    """Refuse a large stack whose squares are not the marks, or that is not 0 around them."""
    assert path.stat().st_size > 2**32
    with open_stack(path) as stack:
        assert (stack.shape, stack.dtype) == (LARGE[marks.dtype.str[1:]], marks.dtype)
        for mark, (section, *square) in zip(marks, squares(stack.shape), strict=True):
            wide = [
                slice(max(0, part.start - AROUND_PX), min(part.stop + AROUND_PX, length))
                for part, length in zip(square, stack.shape[1:], strict=True)
            ]
            window = stack.window(section, *wide)
            inside = tuple(
                slice(part.start - around.start, part.stop - around.start)
                for part, around in zip(square, wide, strict=True)
            )
            np.testing.assert_array_equal(window[inside], mark)
            assert np.count_nonzero(window) == mark.size


def every() -> list[Case]:
    """List all cases; JPEG is written of bytes, and of 12 bits in the order of the machine."""
    small = itertools.product(TYPES, ORDERS, COMPRESSIONS, LAYOUTS, KINDS)
    jpeg = [("u1", "<"), ("u1", ">"), ("u2", "<")]
    found = [(try_small, each) for each in small if each[2] != "JPEG" or each[:2] in jpeg]
    mrc = itertools.product(("i1", "i2", "u2", "f2", "f4"), ORDERS, ("plain", "gzip"))
    found += [(try_mrc, each) for each in mrc]
    large = itertools.product(TYPES, ORDERS, LARGE_LAYOUTS)
    found += [(try_large, each) for each in large]
    found += [(try_ours, (dtype,)) for dtype in TYPES]
    return found + [(try_our_mrc, (dtype,)) for dtype in ("f4",)]


def check(index: int, folder: Path, tried: list[Case]) -> str:
    """Try a case; see `tests.trust.cases.Check`."""
    attempt, kind = tried[index]
    try:
        return attempt(folder / "a.tif", *kind)
    except Exception as error:
        raise AssertionError(f"{', '.join(kind)}: {error!r}") from error


def run(count: int, seed: int) -> Row:
    """Try every case, or so many, drawn by the seed."""
    tried = every()
    if count:
        order = np.random.default_rng(seed).permutation(len(tried))[:count]
        tried = [tried[int(index)] for index in order]
    trial = functools.partial(check, tried=tried)
    return cases.row("TIFFs and MRC of every kind, also over 4 GiB", trial, len(tried), seed)
