"""Write MRC files in any order of pixels; the header tells the voxel size in angstrom.

Floats are mode 2 and uint16 is mode 6. MRC has no type for uint8 and for numbers of cells.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.constants import MAP_ID, VOLUME_SPACEGROUP
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import machine_stamp_from_byte_order, mode_from_dtype

from sfseg.errors import StackError
from sfseg.io.flat import FlatCanvas, reserve
from sfseg.io.mrc.reader import HEADER_BYTES
from sfseg.system import files
from sfseg.types import AnyArray, Shape, VoxelSize

TYPES = ("uint16", "float32")
_HEADER = HEADER_DTYPE.newbyteorder("<")
_FORMAT = 20140
_ANGSTROM_PER_NM = 10
_RIGHT_ANGLE = 90
_LABEL = b"membrane map by sfseg"
_BLOCK_PX = 2**18  # their float64 copies stay in the cache: four times as fast as with 2**20
_UNKNOWN = {"dmin": 0, "dmax": -1, "dmean": -2, "rms": -1}
"""Statistics in this order of size say that they are not known; MRC2014, note 5."""


class MrcCanvas(FlatCanvas):
    """An MRC file made by `make`; see `sfseg.io.canvas.Canvas`.

    Raises
    ------
    StackError
        If the file has another layout or is cut short.
    """

    def __init__(self, part: Path, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        super().__init__(part, name, shape, dtype)
        with part.open("rb") as file:
            head = file.read(HEADER_BYTES)
        if part.stat().st_size != HEADER_BYTES + math.prod(shape) * dtype.itemsize:
            raise StackError(f"{part}: some of its {shape[0]} sections are missing")
        self._header = np.frombuffer(head, _HEADER).copy()
        found = tuple(int(self._header[0][key]) for key in ("nz", "ny", "nx"))
        types = {mode_from_dtype(np.dtype(each)): np.dtype(each) for each in TYPES}
        self.require_found(found, types.get(int(self._header[0]["mode"]), np.dtype("u1")))
        self._open_pixels(HEADER_BYTES, dtype.newbyteorder("<"))

    def finish(self) -> None:
        """Write the statistics of the pixels to the header, then flush and close."""
        counts, total, squares = 0, 0.0, 0.0
        lowest, highest = math.inf, -math.inf
        for pixels in self._finite_blocks():
            if pixels.size:
                counts += pixels.size
                total += float(pixels.sum())
                squares += float(np.square(pixels).sum())
                lowest, highest = min(lowest, pixels.min()), max(highest, pixels.max())
        if counts:
            mean = total / counts
            spread = math.sqrt(max(squares / counts - mean**2, 0))
            known = {"dmin": lowest, "dmax": highest, "dmean": mean, "rms": spread}
            for key, value in known.items():
                self._header[key] = value
        self._write_at(0, memoryview(self._header.tobytes()))
        super().finish()

    def _finite_blocks(self) -> Iterator[AnyArray]:
        """Read all pixels in blocks, those that are numbers, in double precision."""
        block = np.empty(_BLOCK_PX, self._stored)  # fresh memory for each costs more than reading
        self._file.seek(HEADER_BYTES)
        while read := self._file.readinto(block.data):
            pixels = block[: read // block.itemsize].astype(np.float64)
            yield pixels[np.isfinite(pixels)]


def make(
    part: Path, name: str, shape: Shape, dtype: np.dtype[Any], voxel_size_nm: VoxelSize | None
) -> None:
    """Make an MRC file of full size whose pixels are zeros.

    Parameters
    ----------
    part : Path
        The file to make; an existing one is replaced.
    name : str
        Its final name.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint16 or float32.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x); NaN for a length that is not known. The header has 0 for such a length.

    Raises
    ------
    OSError
        If the disk has no room for it, as far as the file system knows.

    Notes
    -----
    The same arguments give the same bytes: no time is written.
    """
    with part.open("wb") as file:
        file.write(_make_header(shape, dtype, voxel_size_nm).tobytes())
        file.truncate(HEADER_BYTES + math.prod(shape) * dtype.itemsize)
    reserve(part, name)
    files.sync(part)
    files.sync(part.parent)


def _make_header(shape: Shape, dtype: np.dtype[Any], voxel: VoxelSize | None) -> AnyArray:
    """Make the header of a volume; the statistics follow at the end."""
    header = np.zeros((), _HEADER)
    header["mode"], header["nversion"] = mode_from_dtype(dtype), _FORMAT
    header["map"], header["machst"] = MAP_ID, machine_stamp_from_byte_order("<")
    header["ispg"] = VOLUME_SPACEGROUP
    lengths = (math.nan,) * 3 if voxel is None else voxel
    for axis, length, count in zip("zyx", lengths, shape, strict=True):
        header[f"n{axis}"] = header[f"m{axis}"] = count
        side = length * _ANGSTROM_PER_NM if math.isfinite(length) else 0
        header["cella"][axis] = side * count
    for number, key in enumerate(("mapc", "mapr", "maps"), start=1):
        header[key] = number
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = _RIGHT_ANGLE
    for key, value in _UNKNOWN.items():
        header[key] = value
    header["nlabl"], header["label"][0] = 1, _LABEL
    return header
