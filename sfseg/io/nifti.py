"""Read NIfTI files, plain or packed: .nii and .nii.gz.

References
----------
nifti.nimh.nih.gov: nifti1.h and nifti2.h
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.flat import FlatSource, Layout
from sfseg.types import AnyArray, VoxelSize

_FIRST = np.dtype(
    {
        "names": [
            "size",
            "dim",
            "datatype",
            "pixdim",
            "offset",
            "slope",
            "inter",
            "units",
            "magic",
        ],
        "formats": ["i4", "(8,)i2", "i2", "(8,)f4", "f4", "f4", "f4", "u1", "S4"],
        "offsets": [0, 40, 70, 76, 108, 112, 116, 123, 344],
        "itemsize": 348,
    }
)
_SECOND = np.dtype(
    {
        "names": [
            "size",
            "magic",
            "datatype",
            "dim",
            "pixdim",
            "offset",
            "slope",
            "inter",
            "units",
        ],
        "formats": ["i4", "S4", "i2", "(8,)i8", "(8,)f8", "i8", "f8", "f8", "i4"],
        "offsets": [0, 4, 12, 16, 104, 168, 176, 184, 500],
        "itemsize": 540,
    }
)
_ONE_FILE, _TWO_FILES = (b"n+1", b"n+2"), (b"ni1", b"ni2")
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8"}
_TYPES |= {256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_UNITS = {1: "m", 2: "mm", 3: "um"}
_SPACE = 7
"""The bits of `units` for lengths; the others are for time."""

_LETTERS = "XYZTC??"
_SAVE = "save it as .nii with grey values, for example with nibabel"


def is_nifti(head: bytes) -> bool:
    """Tell whether a file is NIfTI 1 or 2, by its mark."""
    return _header(head) is not None


def open_nifti(path: Path, name: str, head: bytes, *, packed_at: int | None = None) -> FlatSource:
    """Open a NIfTI file; see `sfseg.io.sources.ArraySource`.

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
        The array, to be closed. The first axis of the file is the last one here: x are columns,
        y rows and z sections. Its orientation in a scanner is left out.

    Raises
    ------
    StackError
        If it is damaged, cut short or a bomb, its pixels are in another file, or they are no grey
        values.
    """
    header = _header(head)
    if bytes(header["magic"]) in _TWO_FILES:
        raise StackError(f"{name}: the pixels lie in another file", hint=_SAVE)
    count, code = int(header["dim"][0]), int(header["datatype"])
    if code not in _TYPES or not 1 <= count <= len(_LETTERS):
        raise StackError(
            f"{name}: {count} dimensions of NIfTI type {code} are no grey values", hint=_SAVE
        )
    start = float(header["offset"])
    if not 0 <= start < 2**53:
        raise StackError(f"{name}: the pixels begin at byte {start}", hint=_SAVE)
    layout = Layout(
        int(start),
        tuple(int(n) for n in header["dim"][1 : count + 1][::-1]),
        np.dtype(f"{header.dtype['datatype'].byteorder}{_TYPES[code]}"),
        _LETTERS[:count][::-1],
        _voxel_size(header),
        packed_at=packed_at,
    )
    return FlatSource(path, name, layout, show=_scale(header))


def _header(head: bytes) -> Any:
    """Return the header in its order of bytes; None where it is none."""
    for plain in (_FIRST, _SECOND):
        for kind in (plain, plain.newbyteorder("S")):
            if len(head) >= kind.itemsize:
                header = np.frombuffer(head[: kind.itemsize], kind)[0]
                is_sized = header["size"] == kind.itemsize
                if is_sized and bytes(header["magic"]) in _ONE_FILE + _TWO_FILES:
                    return header
    return None


def _scale(header: Any) -> Callable[[AnyArray], AnyArray] | None:
    """Return what turns stored numbers into values; None where they are values already."""
    slope, shift = float(header["slope"]), float(header["inter"])
    is_scale = math.isfinite(slope) and math.isfinite(shift) and slope != 0
    if not is_scale or (slope, shift) == (1, 0):
        return None
    return lambda stored: (stored * slope + shift).astype(np.float32)


def _voxel_size(header: Any) -> VoxelSize | None:
    """Return nm along (z, y, x), where the file says the unit."""
    nm = voxels.nm_per_unit(_UNITS.get(int(header["units"]) & _SPACE, ""))
    x, y, z = (abs(float(side)) * nm for side in header["pixdim"][1:4])
    return voxels.checked(z, y, x)
