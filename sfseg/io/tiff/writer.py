"""Write TIFF files in any order of pixels; Fiji opens them with the right voxel size.

Floats and 8- and 16-bit integers up to 4 GiB are written in ImageJ's format. Larger stacks are
OME-TIFF, and so are int32 segments, for which ImageJ has no type. The pixels are contiguous and
uncompressed, so that the place of each is known in advance.
"""

import math
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike

from sfseg.errors import StackError
from sfseg.io.flat import FlatCanvas, reserve
from sfseg.system import files
from sfseg.types import Shape, VoxelSize

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32
_PAGE_BYTES = 512
"""More bytes than a page adds to its pixels."""


class TiffCanvas(FlatCanvas):
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
        self._open_pixels(start, dtype.newbyteorder(order))


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
    reserve(part, name)
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
