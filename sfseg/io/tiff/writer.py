"""Write TIFF files in any order of pixels; Fiji opens them with the right voxel size.

Stacks up to 4 GiB are written in ImageJ's format, larger ones as OME-TIFF. Numbers of cells get
colours; ImageJ has no type of 32-bit integers, and shows them as floats of the same values. The
pixels are contiguous and uncompressed, so that the place of each is known in advance.
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
from sfseg.io.palette import ENTRIES, cell_colours
from sfseg.system import files
from sfseg.types import AnyArray, Shape, VoxelSize

_SEGMENT_TYPES = ("int32", "uint32")
_DESCRIPTION, _COLOURS = 270, 320
_CLASSIC_BYTES = 2**32
_PAGE_BYTES = 512
"""More bytes than a page adds to its pixels."""

_RANGE = "min={:+020.6f}\nmax={:+020.6f}\n"
"""The values that ImageJ shows in the first and the last colour; as long for all numbers."""


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
        self._range_at = _find_range(first)
        self._largest = 0 if self._range_at is None else _read_largest(first)
        self._open_pixels(start, dtype.newbyteorder(order))

    def _write(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        super()._write(section, rows, columns, pixels)
        if self._range_at is not None:
            self._largest = max(self._largest, int(pixels.max()))

    def flush(self) -> None:
        """Flush the pixels, and in the header the range of the numbers of cells so far."""
        if self._range_at is not None:
            self._write_at(self._range_at, memoryview(_format_range(self._largest)))
        super().flush()


def make(
    part: Path,
    name: str,
    shape: Shape,
    dtype: np.dtype[Any],
    voxel_size_nm: VoxelSize | None,
    palette: AnyArray | None = None,
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
        uint8, uint16, float32, int32 or uint32.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x); NaN for a length that is not known.
    palette : ndarray of uint8, shape (256, 3), optional
        Colours of the values of uint8.

    Raises
    ------
    OSError
        If the disk has no room for it, as far as the file system knows.

    Notes
    -----
    The same arguments give the same bytes: no time and no random number is written.
    """
    imagej = fits_imagej(shape, dtype)
    tags = _imagej_tags(voxel_size_nm) if imagej else _ome_tags(voxel_size_nm)
    if not imagej:
        # tifffile would make a random one, and the same stack would have other bytes each time
        words = f"{Path(name).name} {shape} {dtype} {voxel_size_nm}"
        tags["metadata"]["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, words))
    tags["photometric"] = "minisblack"
    if palette is not None:
        tags |= {"photometric": "palette", "colormap": _stretched(palette)}
    is_segments = imagej and dtype in _SEGMENT_TYPES
    if is_segments:  # tifffile refuses this type in ImageJ's format
        tags = _segment_tags(shape, tags)
    # give all six axes TZCYXS: with three, a width of 1 would be taken for samples
    full = (1, shape[0], 1, *shape[1:], 1) if imagej and not is_segments else shape
    with tifffile.TiffWriter(
        part, imagej=imagej and not is_segments, ome=not imagej, bigtiff=not imagej
    ) as writer:
        writer.write(None, shape=full, dtype=dtype, **tags)
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


def _segment_tags(shape: Shape, tags: dict[str, Any]) -> dict[str, Any]:
    """Write the metadata of ImageJ, and colours where ImageJ has them for 16 and 32 bits."""
    words = {"images": shape[0], "slices": shape[0], **tags.pop("metadata"), "loop": "false"}
    del words["axes"]
    lines = ["ImageJ=1.53t", *(f"{key}={value}" for key, value in words.items())]
    description = "\n".join(lines).encode() + b"\n" + _format_range(0)
    colours = _stretched(cell_colours())
    extra = [(_COLOURS, "H", colours.size, colours.ravel().tolist(), True)]
    tags.setdefault("resolutionunit", "NONE")
    return {**tags, "metadata": None, "description": description, "extratags": extra}


def _stretched(palette: AnyArray) -> AnyArray:
    """Turn colours into those of a TIFF: uint16, shape (3, 256)."""
    return palette.T.astype(np.uint16) * 257


def _format_range(largest: int) -> bytes:
    """Write the range in which the first colour is that of 0 alone, as 0 is no cell.

    ImageJ rounds value -> colour. So the first colour ends between 0 and 1.
    """
    last = ENTRIES - 1
    largest = max(largest, last)
    # (1/2 - lowest) * last / (largest - lowest) = 1/2, solved for lowest
    lowest = (last - largest) / (2 * last - 1)
    return _RANGE.format(lowest, largest).encode()


def _find_range(page: tifffile.TiffPage) -> int | None:
    """Return where the range stands in a file of segments; None in others."""
    tag = page.tags[_DESCRIPTION]
    place = str(tag.value).find("\nmin=")
    return None if place < 0 else tag.valueoffset + place + 1


def _read_largest(page: tifffile.TiffPage) -> int:
    """Return the largest number of a cell that was there when the file was last flushed."""
    _, _, rest = str(page.tags[_DESCRIPTION].value).partition("\nmax=")
    return int(float(rest.split()[0]))


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
