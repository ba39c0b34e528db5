"""Write stacks as TIFF files that Fiji opens with the right voxel size.

Floats and 8- and 16-bit integers are written in ImageJ's format while they fit in its 4 GiB; int32
segments, which ImageJ's format does not have, and larger stacks as OME-TIFF.
"""

import math
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike

from sfseg import files
from sfseg.errors import StackError
from sfseg.terms import AnyArray, Shape, VoxelSize

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32
_PAGE_BYTES = 512
"""More than what a page adds to its pixels."""

_AGREE = "give the shape and the type that the sections have"


def write_stack(
    path: Path,
    sections: Iterable[AnyArray],
    shape: Shape,
    dtype: DTypeLike,
    *,
    voxel_size_nm: VoxelSize | None = None,
    overwrite: bool = False,
) -> None:
    """Write a stack as its sections come, whole or not at all.

    Parameters
    ----------
    path : Path
        The TIFF file to write.
    sections : iterable of ndarray, shape (Y, X)
        The sections in order, of the type `dtype`. One at a time is in memory.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint8, uint16, float32 or int32.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x); NaN for a length that is not known.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    StackError
        If the type is another, or the sections are not as many, as large or of the type that was
        said. Nothing is left behind.
    OutputExistsError
        If the path is taken and may not be replaced.

    Notes
    -----
    The same pixels give the same bytes: no time and no random number is written.
    """
    dtype = np.dtype(dtype)
    if dtype not in (*_IMAGEJ_TYPES, "int32") or 0 in shape:
        raise StackError(
            f"{path}: expected pixels of uint8, uint16, float32 or int32 to write, "
            f"found {dtype} in {shape}",
            hint="convert them first",
        )
    bigtiff = not fits_imagej(shape, dtype)
    imagej = dtype in _IMAGEJ_TYPES and not bigtiff
    tags = _imagej_tags(voxel_size_nm) if imagej else _ome_tags(voxel_size_nm)
    if not imagej:
        # tifffile would make one up, and the same stack would be other bytes each time
        name = f"{path.name} {shape} {dtype} {voxel_size_nm}"
        tags["metadata"]["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    remaining = iter(sections)
    with (
        files.atomic_path(path, overwrite=overwrite) as part,
        tifffile.TiffWriter(part, imagej=imagej, ome=not imagej, bigtiff=bigtiff) as writer,
    ):
        checked = _checked(path, remaining, shape, dtype)
        writer.write(checked, shape=shape, dtype=dtype, photometric="minisblack", **tags)
        if next(remaining, None) is not None:
            raise StackError(f"{path}: expected {shape[0]} sections, found more", hint=_AGREE)


def fits_imagej(shape: Shape, dtype: DTypeLike) -> bool:
    """Tell whether a stack fits in a TIFF with 32-bit offsets, which ImageJ's format is."""
    pixels = math.prod(shape) * np.dtype(dtype).itemsize
    return pixels + (shape[0] + 1) * _PAGE_BYTES < _CLASSIC_BYTES


def _checked(
    path: Path, sections: Iterator[AnyArray], shape: Shape, dtype: np.dtype[Any]
) -> Iterator[AnyArray]:
    """Pass on as many sections as were said, if they are what was said."""
    for number in range(1, shape[0] + 1):
        section = next(sections, None)
        if section is None:
            raise StackError(
                f"{path}: expected {shape[0]} sections, found {number - 1}", hint=_AGREE
            )
        if (section.shape, section.dtype) != (shape[1:], dtype):
            raise StackError(
                f"{path}: section {number}: expected {shape[1]}x{shape[2]} of {dtype}, "
                f"found {'x'.join(map(str, section.shape))} of {section.dtype}",
                hint=_AGREE,
            )
        yield np.ascontiguousarray(section)


def _imagej_tags(voxel: VoxelSize | None) -> dict[str, Any]:
    """Tell the voxel size as ImageJ does: pixels per unit in the tags, the rest in words."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if voxel is None:
        return {"metadata": metadata}
    z, y, x = voxel
    unit, nm = ("um", 1e3) if x >= 1e3 else ("nm", 1.0)
    metadata["unit"] = unit
    if math.isfinite(z):
        metadata["spacing"] = z / nm
    return {"metadata": metadata, "resolution": (nm / x, nm / y)}


def _ome_tags(voxel: VoxelSize | None) -> dict[str, Any]:
    """Tell the voxel size as OME does, and in pixels per cm to readers that know only the tags."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if voxel is None:
        return {"metadata": metadata}
    for axis, length in zip("ZYX", voxel, strict=True):
        if math.isfinite(length):
            metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "nm"}
    per_cm = (1e7 / voxel[2], 1e7 / voxel[1])
    return {"metadata": metadata, "resolution": per_cm, "resolutionunit": "CENTIMETER"}
