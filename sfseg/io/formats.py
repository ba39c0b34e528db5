"""The formats of stacks that are written, and a canvas of each: rectangles are put in any order.

The name decides on the format: .zarr is OME-Zarr, .mrc, .rec and .map are MRC, .tif and .tiff are
TIFF.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from sfseg.errors import START_AGAIN, MissingExtraError, OptionError, StackError
from sfseg.io.canvas import Canvas
from sfseg.io.guards import translate_errors
from sfseg.io.mrc import writer as mrc_writer
from sfseg.io.mrc.writer import MrcCanvas
from sfseg.io.palette import ENTRIES, fill_palette
from sfseg.io.tiff import writer as tiff_writer
from sfseg.io.tiff.writer import TiffCanvas
from sfseg.system import files
from sfseg.system.remote import RemotePath
from sfseg.types import AnyArray, Shape, VoxelSize, describe_shape

_TYPES = ("uint8", "uint16", "float32", "int32", "uint32")
_TIFF_SUFFIXES, _MRC_SUFFIXES, _ZARR = (".tif", ".tiff"), (".mrc", ".rec", ".map"), ".zarr"
Palette = Sequence[tuple[int, int, int]] | AnyArray
"""Colours of the values 0, 1, 2 ...: red, green and blue, each from 0 to 255."""

STACK_SUFFIXES = (*_TIFF_SUFFIXES, *_MRC_SUFFIXES, _ZARR)
"""Endings of the names of stacks that can be written."""


def create_canvas(
    part: Path,
    name: str,
    shape: Shape,
    dtype: DTypeLike,
    *,
    voxel_size_nm: VoxelSize | None = None,
    palette: Palette | None = None,
    multiscale: bool = False,
) -> Canvas:
    """Make a stack of full size; pixels are then put in any order.

    Parameters
    ----------
    part : Path
        Where to make it: a file, or a folder for OME-Zarr. An existing one is removed.
    name : str
        Its final name, with one of `STACK_SUFFIXES`.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint8, uint16, float32, int32 or uint32.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x); NaN for a length that is not known.
    palette : sequence of (int, int, int), optional
        As for `write_stack`.
    multiscale : bool
        Whether `Canvas.finish` adds smaller levels to an OME-Zarr, each with half the rows and
        columns of the one before.

    Returns
    -------
    Canvas
        The open canvas. The empty stack survives a power cut; pixels survive after `Canvas.flush`.

    Raises
    ------
    StackError
        If the type, the palette or the ending of the name is not supported.
    OptionError
        If `multiscale` is set for another format than OME-Zarr.
    MissingExtraError
        If zarr is needed and not installed.
    OSError
        If the disk has no room for a file. An OME-Zarr takes room as its pixels are put.

    Notes
    -----
    After a kill during this call the result is incomplete: make it again.
    """
    dtype, kind = require_writable(name, dtype), _find_format(name)
    require_pixels(name, shape)
    if multiscale and not kind.has_levels:
        raise OptionError(
            f"{name}: only a stack whose name ends in .zarr can have levels",
            hint="name it .zarr, or write it without levels",
        )
    make = functools.partial(kind.make, multiscale=multiscale) if kind.has_levels else kind.make
    if palette is not None:
        table = _as_palette(name, dtype, palette)
        make = functools.partial(make, palette=table) if kind is _TIFF else make
    files.remove(part)
    make(part, name, shape, dtype, voxel_size_nm)
    return reopen_canvas(part, name, shape, dtype)


def create_shared(
    part: Path,
    name: str,
    shape: Shape,
    dtype: DTypeLike,
    *,
    voxel_size_nm: VoxelSize | None = None,
    multiscale: bool = False,
) -> None:
    """Make an OME-Zarr of full size for several writers, unless it is there.

    Several processes may call this at once. See `writing_ticket` for what comes next.

    Parameters
    ----------
    part, name, shape, dtype, voxel_size_nm, multiscale
        As for `create_canvas`.

    Raises
    ------
    StackError, MissingExtraError, OSError
        As `create_canvas` does.
    """
    dtype = require_writable(name, dtype)
    require_pixels(name, shape)
    _zarr_writer(name).make_shared(part, name, shape, dtype, voxel_size_nm, multiscale=multiscale)


def writing_ticket(part: Path, name: str) -> AbstractContextManager[str]:
    """Let several processes write whole files of an OME-Zarr at the same time.

    Parameters
    ----------
    part : Path
        The folder of the store.
    name : str
        Its final name.

    Returns
    -------
    context manager of str
        The ticket for `reopen_canvas`. After the block no process can write with it any more.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    OSError
        If the store cannot be written to.
    """
    ticket: AbstractContextManager[str] = _zarr_writer(name).writing_ticket(part)
    return ticket


def shard_px(name: str, shape: Shape, dtype: DTypeLike) -> tuple[int, int]:
    """Return the rows and columns of the files of an OME-Zarr; each holds a part of one section.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    """
    rows, columns = _zarr_writer(name).shard_px(shape, np.dtype(dtype))
    return rows, columns


def reopen_canvas(
    part: Path, name: str, shape: Shape, dtype: DTypeLike, *, ticket: str | None = None
) -> Canvas:
    """Open a canvas of `create_canvas` again, for more pixels.

    Parameters
    ----------
    part, name, shape, dtype
        The same as for `create_canvas`.
    ticket : str, optional
        Of `writing_ticket`, for an OME-Zarr that others write to as well. A file that is put by
        more than one of them has to be put whole.

    Returns
    -------
    Canvas
        The open canvas, with the pixels that were put before.

    Raises
    ------
    StackError
        If it is missing, damaged, or of another layout.
    MissingExtraError
        If zarr is needed and not installed.
    """
    dtype, kind = require_writable(name, dtype), _find_format(name)
    if not (part.exists() or isinstance(part, RemotePath)):  # zarr would make it
        raise StackError(f"{part}: the interrupted run left nothing to resume", hint=START_AGAIN)
    try:
        with translate_errors(str(part)):
            if ticket is None:
                canvas = kind.canvas(part, name, shape, dtype)
            else:
                canvas = _zarr_writer(name).ZarrCanvas(part, name, shape, dtype, ticket)
    except StackError as error:
        raise StackError(error.message, hint=START_AGAIN) from error
    return canvas


def require_writable(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Refuse pixels that the format of a name cannot hold.

    Parameters
    ----------
    name : str
        The file to write.
    dtype : dtype
        Type of the pixels.

    Returns
    -------
    dtype
        The type.

    Raises
    ------
    StackError
        If the format has no such type, or the ending of the name is not supported.
    MissingExtraError
        If zarr is needed and not installed.
    """
    dtype = np.dtype(dtype)
    if dtype not in _TYPES:
        raise StackError(
            f"{name}: {dtype} pixels cannot be written",
            hint="convert them to uint8, uint16, float32, int32 or uint32 first",
        )
    if Path(name).suffix.lower() not in STACK_SUFFIXES:
        endings = ".tif, .mrc or .zarr" if dtype in _MRC.dtypes else ".tif or .zarr"
        raise StackError(
            f"{name}: the name of a stack of {dtype} ends in {endings}",
            hint=f"name it {Path(name).with_suffix('.tif')}",
        )
    kind = _find_format(name)
    if dtype not in kind.dtypes:
        types = " or ".join(kind.dtypes)
        raise StackError(
            f"{name}: this format has no type for pixels of {dtype}, only {types}",
            hint=f"write {types}, or name it {Path(name).with_suffix('.tif')}",
        )
    return dtype


def _as_palette(name: str, dtype: np.dtype[Any], palette: Palette) -> AnyArray:
    """Turn colours into a table of 256; refuse what is none, or pixels that cannot have them."""
    colours = np.asarray(palette)
    is_table = colours.ndim == 2 and colours.shape[1] == 3 and 0 < len(colours) <= ENTRIES
    if not (is_table and colours.dtype.kind in "iu" and colours.min() >= 0 and colours.max() < 256):
        raise StackError(
            f"{name}: the palette is not a list of colours",
            hint="give up to 256 of (red, green, blue), each from 0 to 255",
        )
    if dtype != np.uint8:
        raise StackError(
            f"{name}: pixels of {dtype} cannot have a palette",
            hint="leave the palette out, or convert the pixels to uint8",
        )
    return fill_palette(colours)


def require_pixels(name: str, shape: Shape) -> None:
    """Refuse an empty stack."""
    if 0 in shape:
        raise StackError(
            f"{name}: a stack of {describe_shape(shape)} has no pixels", hint="write at least one"
        )


class _Format(NamedTuple):
    """What makes the files of a format and what fills them, and the types that it has."""

    make: Callable[..., None]
    canvas: Callable[[Path, str, Shape, np.dtype[Any]], Canvas]
    dtypes: tuple[str, ...] = _TYPES
    has_levels: bool = False


_TIFF = _Format(tiff_writer.make, TiffCanvas)
_MRC = _Format(mrc_writer.make, MrcCanvas, mrc_writer.TYPES)


def _find_format(name: str) -> _Format:
    """Return the format that the ending of a name, one of `STACK_SUFFIXES`, stands for."""
    suffix = Path(name).suffix.lower()
    if suffix in _TIFF_SUFFIXES:
        return _TIFF
    if suffix in _MRC_SUFFIXES:
        return _MRC
    zarr_writer = _zarr_writer(name)
    return _Format(zarr_writer.make, zarr_writer.ZarrCanvas, has_levels=True)


def _zarr_writer(name: str) -> ModuleType:
    """Import what writes OME-Zarr, which is an extra."""
    try:
        from sfseg.io.zarr import writer
    except ImportError as error:
        raise MissingExtraError.from_extra("zarr", name) from error
    return writer
