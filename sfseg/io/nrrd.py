"""Read NRRD files, as 3D Slicer, Fiji and pynrrd write them.

References
----------
G. Kindlmann, "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.axes import letters_of_names
from sfseg.io.flat import FlatSource, Layout
from sfseg.io.guards import translate_errors
from sfseg.types import VoxelSize

MAGIC = b"NRRD000"
_END = re.compile(rb"\r?\n\r?\n")
_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES = {name: dtype for dtype, names in _NAMES.items() for name in names.split(", ")}
_ORDERS = {"little": "<", "big": ">", "": "<"}
_SPATIAL = ("domain", "space", "")
_LETTERS = {"time": "T", "rgb-color": "S", "rgba-color": "S"}
_SAVE = "open it in Fiji or 3D Slicer and save it as one .nrrd file"


def open_nrrd(path: Path, name: str, head: bytes) -> FlatSource:
    """Open an NRRD file; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    head : bytes
        Its first bytes, with the whole header.

    Returns
    -------
    FlatSource
        The array, to be closed. The first axis of the file is the last one here.

    Raises
    ------
    StackError
        If it is damaged, cut short or a bomb; or if its pixels are in another file, or stored in
        another way than plain or gzip.
    """
    with translate_errors(name):
        end = _END.search(head)
        if end is None:
            raise StackError(f"{name}: the header has no end", hint=_SAVE)
        fields = _fields(head[: end.start()].decode("ascii", "replace"))
        if "data file" in fields or "datafile" in fields:
            raise StackError(f"{name}: the pixels lie in another file", hint=_SAVE)
        shape = tuple(int(size) for size in fields["sizes"].split())
        if len(shape) != int(fields["dimension"]):
            raise StackError(
                f"{name}: {len(shape)} sizes for {fields['dimension']!r} dimensions make no sense",
                hint=_SAVE,
            )
        stored = _stored_type(fields, name)
        voxel = _voxel_size(fields, len(shape))
        letters = _letters(fields, len(shape))[::-1]
        start, packed_at = _place(path, fields, end.end(), math.prod(shape) * stored.itemsize, name)
    return FlatSource(path, name, Layout(start, shape[::-1], stored, letters, voxel, (), packed_at))


def _fields(text: str) -> Mapping[str, str]:
    """Split the header into its fields; comments and keys of other programs are left out."""
    lines = [line.rstrip() for line in text.splitlines()[1:] if not line.startswith("#")]
    pairs = [line.partition(": ") for line in lines if ":=" not in line]
    return {key.strip().casefold(): value.strip() for key, _, value in pairs}


def _stored_type(fields: Mapping[str, str], name: str) -> np.dtype[Any]:
    """Return the type of the pixels in the file."""
    kind = fields["type"].casefold()
    if kind not in _TYPES:
        raise StackError(f"{name}: pixels of type {kind!r} are no grey values", hint=_SAVE)
    return np.dtype(_ORDERS[fields.get("endian", "").casefold()] + _TYPES[kind])


def _place(
    path: Path, fields: Mapping[str, str], start: int, wanted: int, name: str
) -> tuple[int, int | None]:
    """Return where the pixels begin, and where packed data begin that hold them."""
    encoding = fields["encoding"].casefold()
    skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
    if encoding not in ("raw", "gzip", "gz") or int(fields.get("line skip", "0")):
        raise StackError(f"{name}: pixels stored as {encoding!r} are not read", hint=_SAVE)
    if encoding == "raw":
        # -1 says that the pixels are the last bytes of the file
        return (path.stat().st_size - wanted if skip == -1 else start + skip), None
    return skip, start


def _words(text: str) -> list[str]:
    """Split a list of words, in quotes or not."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', text)]


def _letters(fields: Mapping[str, str], count: int) -> str:
    """Return the letters of the file's axes, the fastest first; empty where they are not known."""
    named = letters_of_names(_words(fields.get("labels", "")))
    if len(named) == count:
        return named
    kinds = [kind.casefold() for kind in _words(fields.get("kinds", ""))]
    if len(kinds) != count:
        lengths = _directions(fields)
        kinds = ["list" if length is None else "domain" for length in lengths]
    spatial = [kind for kind in kinds if kind in _SPATIAL]
    if len(kinds) != count:
        return "XYZ"[:count] if count in (2, 3) else ""
    if len(spatial) not in (2, 3):
        return ""
    names = iter("XYZ")
    return "".join(next(names) if kind in _SPATIAL else _LETTERS.get(kind, "C") for kind in kinds)


def _directions(fields: Mapping[str, str]) -> list[float | None]:
    """Return the length of each axis' direction; None for an axis without one."""
    found = re.findall(r"\(([^)]*)\)|(none)", fields.get("space directions", ""))
    return [None if none else math.hypot(*map(float, text.split(","))) for text, none in found]


def _voxel_size(fields: Mapping[str, str], count: int) -> VoxelSize | None:
    """Return nm along (z, y, x), where the file says both lengths and units."""
    lengths = _directions(fields)
    units = _words(fields.get("space units", ""))
    if len(lengths) != count:
        lengths = [float(length) for length in fields.get("spacings", "").split()]
        units = _words(fields.get("units", "")) or units
    if len(lengths) != count or not units:
        return None
    letters = _letters(fields, count)
    sides = dict(zip(letters, _in_nm(lengths, units), strict=False))
    return voxels.checked(*(sides.get(letter, math.nan) for letter in "ZYX"))


def _in_nm(lengths: Sequence[float | None], units: Sequence[str]) -> list[float]:
    """Turn lengths into nm; units are those of all axes, or of those in space."""
    names = iter(units if len(units) == len(lengths) else [])
    if len(units) != len(lengths):
        names = iter([next(iter(units)) if length is not None else "" for length in lengths])
    return [
        (math.nan if length is None else length) * voxels.nm_per_unit(unit)
        for length, unit in zip(lengths, names, strict=False)
    ]
