"""Read MRC files, which electron microscopes, IMOD and SerialEM write.

Rows are in the order of the file, as in mrcfile: the first row is row 0. 3dmod shows it at the
bottom.

References
----------
A. Cheng et al., "MRC2014: Extensions to the MRC format header for electron cryo-microscopy and
tomography", Journal of Structural Biology 192, 2015, 10.1016/j.jsb.2015.04.002; modes 12 and 101
and the order of bytes: www.ccpem.ac.uk/mrc_format/mrc2014.php; flags of IMOD:
bio3d.colorado.edu/imod/doc/mrc_format.txt
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.constants import MAP_ID, MAP_ID_OFFSET_BYTES
from mrcfile.dtypes import HEADER_DTYPE

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.flat import FlatSource, Layout
from sfseg.types import AnyArray, VoxelSize

HEADER_BYTES = HEADER_DTYPE.itemsize
SUFFIXES = (".mrc", ".rec", ".st", ".map", ".mrcs", ".ali", ".preali")
_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
_COMPLEX, _HALF_BYTES, _BYTES = (3, 4), 101, 0
_ORDERS = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
_ANGSTROM_NM = 0.1
_IMOD_STAMP, _IMOD_AT = 1146047817, 40
"""IMOD's mark, and where it lies in ``extra2``; the word behind it holds flags."""

_SIGNED, _TWO_IN_A_BYTE = 1, 16
_CONVERT = "convert it in IMOD, for example: newstack -mode 1 IN.mrc OUT.mrc"


def has_rows_from_below(source: str | Path) -> bool:
    """Tell whether a source is MRC by its name: IMOD and Fiji show its first row at the bottom."""
    path = Path(source)
    return (Path(path.stem) if path.suffix.lower() == ".gz" else path).suffix.lower() in SUFFIXES


def is_mrc(head: bytes, suffix: str) -> bool:
    """Tell whether a file is an MRC: by its mark, or, for old files without, by name and header."""
    if len(head) < HEADER_BYTES:
        return False
    if head[MAP_ID_OFFSET_BYTES:].startswith(MAP_ID.rstrip()):
        return True
    return suffix.lower() in SUFFIXES and _header(head) is not None


def open_mrc(path: Path, name: str, head: bytes, *, packed_at: int | None = None) -> FlatSource:
    """Open an MRC file; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    head : bytes
        The first bytes of it, unpacked.
    packed_at : int, optional
        Where data of gzip begin; None where the file is plain.

    Returns
    -------
    FlatSource
        The array, to be closed.

    Raises
    ------
    StackError
        If it is damaged, cut short or a bomb, or its pixels are complex or of an unknown mode.
    """
    header = _header(head)
    if header is None:
        raise StackError(
            f"{name}: the header of this MRC file makes no sense",
            hint="copy or download the file again; it may be damaged",
        )
    mode = int(header["mode"])
    stored, note = _stored_type(header, mode, name)
    shape = tuple(int(header[key]) for key in ("nz", "ny", "nx"))
    letters, voxel, notes = _letters(header), *_voxel_size(header)
    start = HEADER_BYTES + int(header["nsymbt"])
    layout = Layout(start, shape, stored, letters, voxel, (*note, *notes), packed_at)
    if mode == _HALF_BYTES:
        return _HalfByteSource(path, name, layout)
    if packed_at is None and (extra := _extra_sections(path, layout)):
        word = "section" if extra == 1 else "sections"
        said = f"the file holds {extra} {word} more than its header says, which are left out"
        layout = replace(layout, notes=(*layout.notes, said))
    return FlatSource(path, name, layout)


def _header(head: bytes) -> Any:
    """Return the header in its order of bytes; None where neither order makes sense."""
    machine = head[212:214]
    first = _ORDERS.get(machine, "<")
    for order in (first, "<" if first == ">" else ">"):
        header = np.frombuffer(head[:HEADER_BYTES], HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[key]) for key in ("nx", "ny", "nz")]
        mode, extended = int(header["mode"]), int(header["nsymbt"])
        # the wrong order makes small numbers huge
        if 0 <= mode <= 255 and extended >= 0 and all(0 < n < 2**24 for n in sizes):
            return header
    return None


def _stored_type(header: Any, mode: int, name: str) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Return the type of the pixels in the file, and what to say about it."""
    if mode in _COMPLEX:
        raise StackError(
            f"{name}: the pixels are complex (mode {mode}): this is a transform, not an image",
            hint="give the image itself; IMOD's fftrans turns a transform into one",
        )
    if mode not in _TYPES:
        raise StackError(f"{name}: pixels of MRC mode {mode} cannot be read", hint=_CONVERT)
    if mode == _BYTES:
        return _type_of_bytes(header, name)
    return np.dtype(_TYPES[mode]).newbyteorder(header.dtype["mode"].byteorder), ()


def _type_of_bytes(header: Any, name: str) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Tell signed from unsigned bytes: the standard says signed, IMOD wrote unsigned for long."""
    words = np.dtype("i4").newbyteorder(header.dtype["mode"].byteorder)
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), words, 2, _IMOD_AT)
    signed, unsigned = np.dtype("i1"), np.dtype("u1")
    if stamp == _IMOD_STAMP:
        if flags & _TWO_IN_A_BYTE:
            raise StackError(f"{name}: IMOD's bytes with two pixels each", hint=_CONVERT)
        return (signed if flags & _SIGNED else unsigned), ()
    if header["dmin"] >= 0 and np.iinfo("i1").max < header["dmax"] <= np.iinfo("u1").max:
        return unsigned, ("its bytes are read without sign: the header gives a maximum over 127",)
    return signed, ()


def _letters(header: Any) -> str:
    """Return the axes of sections, rows and columns: those that the header names, or ZYX."""
    axes = [int(header[key]) for key in ("maps", "mapr", "mapc")]
    return "".join("XYZ"[axis - 1] for axis in axes) if sorted(axes) == [1, 2, 3] else "ZYX"


def _voxel_size(header: Any) -> tuple[VoxelSize | None, tuple[str, ...]]:
    """Return nm along (z, y, x): the cell in angstrom by its number of intervals."""
    sides = []
    for axis in "zyx":
        cell, count = float(header["cella"][axis]), int(header[f"m{axis}"])
        sides.append(cell / count if count > 0 and cell > 0 else math.nan)
    if all(math.isclose(side, 1, rel_tol=1e-6) for side in sides):
        said = "a voxel of 1 angstrom is what programs write that do not know it: it is left out"
        return None, (said,)
    return voxels.checked(*(side * _ANGSTROM_NM for side in sides)), ()


def _extra_sections(path: Path, layout: Layout) -> int:
    """Count the whole sections behind those that the header declares."""
    section_bytes = layout.size_bytes // layout.shape[0]
    return (path.stat().st_size - layout.start - layout.size_bytes) // section_bytes


class _HalfByteSource(FlatSource):
    """Pixels of 4 bits, two in a byte, the first in the lower bits; each row begins a byte."""

    def __init__(self, path: Path, name: str, layout: Layout) -> None:
        *others, width = layout.shape
        super().__init__(path, name, replace(layout, shape=(*others, (width + 1) // 2)))
        self.shape = layout.shape

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        *others, columns = box
        first = columns.start // 2
        packed = super().read((*others, slice(first, (columns.stop + 1) // 2)))
        # (Z, Y, bytes, 2) -> (Z, Y, 2 * bytes)
        pixels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
        return pixels[..., columns.start - 2 * first : columns.stop - 2 * first]
