"""Write a stack whole: an array, or its sections in order; see `formats` for the formats."""

import math
from collections.abc import Iterable
from pathlib import Path

from numpy.typing import DTypeLike

from sfseg.errors import StackError
from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.formats import Palette, create_canvas, require_pixels, require_writable
from sfseg.system import files
from sfseg.types import AnyArray, Shape, VoxelSize, format_count

_AGREE = "give the shape and the type that the sections have"


def write_stack(
    path: str | Path,
    array: AnyArray,
    *,
    voxel_size_nm: VoxelSize | None = None,
    palette: Palette | None = None,
    overwrite: bool = False,
) -> None:
    """Write an array as a stack, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write: OME-Zarr if the name ends in .zarr, MRC if it ends in .mrc, else TIFF.
    array : ndarray of uint8, uint16, float32, int32 or uint32, shape (Z, Y, X) or (Y, X)
        The pixels. NaN is written unchanged. 32-bit integers are numbers of cells, 0 = border; in
        a TIFF they get colours.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x); NaN for a length that is not known.
    palette : sequence of (int, int, int), optional
        Colours of the values 0, 1, 2 ... of uint8: red, green and blue, to 255. Other values are
        black. A TIFF shows them in any program; other formats have no place for them.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    StackError
        If the array or the voxel size cannot be written, or the name has another ending.
    OutputExistsError
        If the path exists and `overwrite` is False.
    OutputError
        If the disk is full or fails.
    MissingExtraError
        If zarr is needed and not installed.

    Notes
    -----
    The same pixels give the same bytes: no time and no random number is written.
    """
    target = as_path(path, "write_stack")
    stack = as_stack_array(array, "write_stack")
    stack = stack.astype(stack.dtype.newbyteorder("="), copy=False)
    write_sections(
        target,
        stack,
        stack.shape,
        stack.dtype,
        voxel_size_nm=voxel_size_nm,
        palette=palette,
        overwrite=overwrite,
    )


def write_sections(
    path: str | Path,
    sections: Iterable[AnyArray],
    shape: Shape,
    dtype: DTypeLike,
    *,
    voxel_size_nm: VoxelSize | None = None,
    palette: Palette | None = None,
    overwrite: bool = False,
) -> None:
    """Write a stack section by section, whole or not at all.

    Parameters
    ----------
    path : str or Path
        As for `write_stack`.
    sections : iterable of ndarray, shape (Y, X)
        The sections in order, of the type `dtype`. Only one at a time is in memory.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint8, uint16, float32, int32 or uint32.
    voxel_size_nm, palette, overwrite
        As for `write_stack`.

    Raises
    ------
    StackError
        If the number, shape or type of the sections differs from `shape` and `dtype`, or as for
        `write_stack`. No file is left behind.
    OutputExistsError, OutputError, MissingExtraError
        As for `write_stack`.
    """
    target = as_path(path, "write_sections")
    name, (depth, height, width) = str(target), shape
    _require_voxel_size(name, voxel_size_nm)
    dtype = require_writable(name, dtype)  # before the folder is made
    require_pixels(name, shape)
    announced = format_count(depth, "section")
    with files.atomic_path(target, overwrite=overwrite) as part:
        canvas = create_canvas(
            part, name, shape, dtype, voxel_size_nm=voxel_size_nm, palette=palette
        )
        with canvas:
            count = 0
            for section in sections:
                if count == depth:
                    raise StackError(f"{name}: there are more than {announced}", hint=_AGREE)
                canvas.put(count, slice(0, height), slice(0, width), section)
                count += 1
            if count < depth:
                raise StackError(f"{name}: {announced} announced, {count} came", hint=_AGREE)
            canvas.finish()


def _require_voxel_size(name: str, voxel_size_nm: VoxelSize | None) -> None:
    """Refuse a voxel size that is not three lengths, of which only z may be unknown."""
    if voxel_size_nm is None:
        return
    lengths = tuple(voxel_size_nm)
    if len(lengths) != 3 or not all(math.isfinite(n) and n > 0 for n in lengths[1:]):
        raise StackError(
            f"{name}: the voxel size {lengths} is not three lengths in nm",
            hint="give (z, y, x), for example (50, 4, 4); only z may be NaN",
        )
