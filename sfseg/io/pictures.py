"""Read a PNG or JPEG file, which can only be decoded as a whole."""

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from sfseg.errors import StackError
from sfseg.io import jpeg
from sfseg.io.guards import refuse_bomb, translate_errors
from sfseg.types import AnyArray, VoxelSize

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MODES = {"1": (1, bool), "L": (1, np.uint8), "LA": (2, np.uint8), "I;16": (1, np.uint16)}
_MODES |= {"RGB": (3, np.uint8), "RGBA": (4, np.uint8)}
"""Samples and their type for each mode of Pillow that keeps the numbers of the file."""

_DEEP = 16
_GREY = 0
_DAMAGED = "copy or download the file again; it may be damaged"


class PictureSource:
    """A PNG or JPEG file; see `sfseg.io.sources.Source`.

    Colours of a palette count as colours. Greys of 2 or 4 bits spread over 0 to 255, as PNG has it.

    Parameters
    ----------
    path : Path
        The file, which begins as a PNG or JPEG does.
    name : str
        The file, for messages.

    Raises
    ------
    StackError
        If it is damaged, cut short or a bomb, an animation, or of colours that Pillow would alter.
    """

    voxel_size_nm: VoxelSize | None = None

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._pixels: AnyArray | None = None
        with translate_errors(name), path.open("rb") as file, _picture(file) as picture:
            self._check(picture)
            samples, kind = _MODES[_mode(picture)]
            self.shape: tuple[int, ...] = (picture.height, picture.width, samples)
        self.shape = self.shape[:2] if samples == 1 else self.shape
        self.letters = "YXS"[: len(self.shape)]
        self.dtype: np.dtype[Any] = np.dtype(kind)
        size_bytes = math.prod(self.shape) * self.dtype.itemsize
        refuse_bomb(
            name,
            decoded_bytes=size_bytes,
            encoded_bytes=path.stat().st_size,
            segment_bytes=size_bytes,
        )

    def _check(self, picture: PngImageFile | JpegImageFile) -> None:
        """Refuse what is more than one image, or would lose bits."""
        if getattr(picture, "n_frames", 1) != 1:
            raise StackError(
                f"{self._name}: expected one image, found an animation",
                hint="save its images as the pages of a TIFF",
            )
        if _mode(picture) not in _MODES or _is_narrowed(self._path):
            raise StackError(
                f"{self._name}: expected grey, or red, green and blue of 8 bits, "
                f"found colours that cannot be read as they are ({picture.mode})",
                hint="save it as grey, or as TIFF",
            )

    def read(self, part: tuple[slice, ...]) -> AnyArray:
        """Read the whole picture, once, and give a part; see `Source`."""
        if self._pixels is None:
            with translate_errors(self._name):
                data = self._path.read_bytes()
                if data.startswith(PNG):
                    _require_sums(data, self._name)
                    pixels = _decode(data)
                else:
                    pixels = jpeg.decoded(data, _decode, self._name)
            if (pixels.shape, pixels.dtype) != (self.shape, self.dtype):
                raise StackError(
                    f"{self._name}: expected {self.shape} of {self.dtype} as when it was opened, "
                    f"found {pixels.shape} of {pixels.dtype}",
                    hint="leave the input alone while it is read",
                )
            self._pixels = pixels
        return self._pixels[part].copy()

    def close(self) -> None:
        """Forget the pixels; the file is open only while it is read."""
        self._pixels = None


def _picture(file: Any) -> PngImageFile | JpegImageFile:
    """Open as one of two formats; `PIL.Image.open` tries others, and has a limit of its own."""
    magic = file.read(len(PNG))
    file.seek(0)
    return PngImageFile(file) if magic == PNG else JpegImageFile(file)


def _mode(picture: Image) -> str:
    """Give the mode that the pixels come in."""
    if picture.mode == "P" and picture.palette is not None:
        return str(picture.palette.mode)
    return "I;16" if picture.mode in ("I", "I;16B") else str(picture.mode)


def _is_narrowed(path: Path) -> bool:
    """Tell whether Pillow would make 8 bits of 16, as it does of colours in a PNG."""
    with path.open("rb") as file:
        header = file.read(len(PNG) + 18)
    return header.startswith(PNG) and header[-2] == _DEEP and header[-1] != _GREY


def _decode(data: bytes) -> AnyArray:
    """Decode a whole picture."""
    with _picture(io.BytesIO(data)) as picture:
        mode = _mode(picture)
        pixels = np.asarray(picture.convert(mode) if picture.mode == "P" else picture)
        return pixels.astype(_MODES[mode][1], copy=False)


def _require_sums(data: bytes, name: str) -> None:
    """Check the sums of a PNG's chunks, which Pillow leaves out, and that the last is there."""
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise StackError(
                f"{name}: expected whole chunks, found the one at byte {at} damaged", hint=_DAMAGED
            )
        at = end + 4
