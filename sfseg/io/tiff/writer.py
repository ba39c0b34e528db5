"""Write TIFF files in any order of pixels; Fiji opens them with the right voxel size.

Floats and 8- and 16-bit integers up to 4 GiB are written in ImageJ's format. Larger stacks are
OME-TIFF, and so are int32 segments, for which ImageJ has no type. The pixels are contiguous and
uncompressed, so that the place of each is known in advance.
"""

import errno
import math
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike

from sfseg.errors import StackError
from sfseg.io.canvas import Canvas
from sfseg.system import files
from sfseg.types import AnyArray, Shape, VoxelSize

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32
_PAGE_BYTES = 512
"""More bytes than a page adds to its pixels."""

_CANNOT_RESERVE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of file systems that cannot reserve space; there the disk may be full later."""


class TiffCanvas(Canvas):
    """A TIFF file made by `make`; see `sfseg.io.canvas.Canvas`.

    Raises
    ------
    StackError
        If the file has another layout or is cut short.
    """

    def __init__(self, part: Path, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        super().__init__(part, name, shape, dtype)
        with tifffile.TiffFile(part) as tif:
            first, last = tif.pages.first, tif.pages[-1]
            whole = len(tif.pages) == shape[0] and all(_has_all_tags(tif, p) for p in (first, last))
            series, order, size = tif.series[0], tif.byteorder, tif.filehandle.size
            height, width = first.imagelength, first.imagewidth
            self.require_found((series.size // (height * width), height, width), series.dtype)
        start = series.dataoffset
        if not whole or start is None or start + math.prod(shape) * dtype.itemsize > size:
            raise StackError(f"{part}: some of its {shape[0]} pages are missing")
        self._start, self._stored = start, dtype.newbyteorder(order)
        # unbuffered: pixels go to the system at once; and no memmap, whose pages count as memory
        self._file = part.open("r+b", buffering=0)

    def _write(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write whole rows at once, parts of rows one by one."""
        _, height, width = self.shape
        pixels = np.ascontiguousarray(pixels, self._stored)
        first = (section * height + rows.start) * width + columns.start
        runs = pixels.reshape(1, -1) if pixels.shape[1] == width else pixels
        for number, run in enumerate(runs):
            place = self._start + (first + number * width) * self._stored.itemsize
            self._write_at(place, memoryview(run.view(np.uint8)))

    def _write_at(self, place: int, data: memoryview) -> None:
        """Write all bytes; the system takes at most 2 GiB at a time."""
        self._file.seek(place)
        while data:
            data = data[self._file.write(data) :]

    def flush(self) -> None:
        """Make what was put survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def make(
    part: Path, name: str, shape: Shape, dtype: np.dtype[Any], voxel_size_nm: VoxelSize | None
) -> None:
    """Make a TIFF of full size whose pixels are zeros.

    Parameters
    ----------
    part : Path
        The file to make; an existing one is replaced.
    name : str
        Its final name.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint8, uint16, float32 or int32.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x); NaN for a length that is not known.

    Raises
    ------
    OSError
        If the disk has no room for it, as far as the file system knows.

    Notes
    -----
    The same arguments give the same bytes: no time and no random number is written.
    """
    bigtiff = not fits_imagej(shape, dtype)
    imagej = dtype in _IMAGEJ_TYPES and not bigtiff
    tags = _imagej_tags(voxel_size_nm) if imagej else _ome_tags(voxel_size_nm)
    if not imagej:
        # tifffile would make a random one, and the same stack would have other bytes each time
        words = f"{Path(name).name} {shape} {dtype} {voxel_size_nm}"
        tags["metadata"]["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, words))
    with tifffile.TiffWriter(part, imagej=imagej, ome=not imagej, bigtiff=bigtiff) as writer:
        # give all six axes TZCYXS: with three, a width of 1 would be taken for samples
        full = (1, shape[0], 1, *shape[1:], 1) if imagej else shape
        writer.write(None, shape=full, dtype=dtype, photometric="minisblack", **tags)
    _reserve(part, name)
    files.sync(part)
    files.sync(part.parent)


def _has_all_tags(tif: tifffile.TiffFile, page: Any) -> bool:
    """Tell whether a page has as many tags as it says: tifffile skips those that are cut off."""
    tif.filehandle.seek(page.offset)
    count = tif.filehandle.read(tif.tiff.tagnosize)
    return len(page.tags) == int.from_bytes(count, "little" if tif.byteorder == "<" else "big")


def fits_imagej(shape: Shape, dtype: DTypeLike) -> bool:
    """Tell whether a stack fits in ImageJ's format, a TIFF with 32-bit offsets."""
    pixels = math.prod(shape) * np.dtype(dtype).itemsize
    return pixels + (shape[0] + 1) * _PAGE_BYTES < _CLASSIC_BYTES


def _reserve(part: Path, name: str) -> None:
    """Reserve the disk space of a file, so that a full disk is an error now and not hours later."""
    if not hasattr(os, "posix_fallocate"):
        return
    size = part.stat().st_size
    try:
        with part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in _CANNOT_RESERVE:
            return
        part.unlink()  # it may have taken all that was free
        free = shutil.disk_usage(part.parent).free
        words = f"disk full: needs {_in_words(size)}, {_in_words(free)} are free"
        if error.errno != errno.ENOSPC:
            words = os.strerror(error.errno or 0)
        raise OSError(error.errno, words, name) from error


def _in_words(count: float) -> str:
    """Write a number of bytes in words: 31.5 MB."""
    size, unit = count, "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def _imagej_tags(voxel: VoxelSize | None) -> dict[str, Any]:
    """Write the voxel size as ImageJ does: pixels per unit in tags, unit and spacing in words."""
    metadata: dict[str, Any] = {"axes": "TZCYXS"}
    if voxel is None:
        return {"metadata": metadata}
    z, y, x = voxel
    unit, nm = ("um", 1e3) if x >= 1e3 else ("nm", 1.0)
    metadata["unit"] = unit
    if math.isfinite(z):
        metadata["spacing"] = z / nm
    return {"metadata": metadata, "resolution": (nm / x, nm / y)}


def _ome_tags(voxel: VoxelSize | None) -> dict[str, Any]:
    """Write the voxel size as OME does, and in pixels per cm for readers that know only tags."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if voxel is None:
        return {"metadata": metadata}
    for axis, length in zip("ZYX", voxel, strict=True):
        if math.isfinite(length):
            metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "nm"}
    per_cm = (1e7 / voxel[2], 1e7 / voxel[1])
    return {"metadata": metadata, "resolution": per_cm, "resolutionunit": "CENTIMETER"}
