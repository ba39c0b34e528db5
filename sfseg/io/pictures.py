"""Read and write PNG and JPEG files, which can only be decoded as a whole.

Pixels go through imageio. The headers are read with Pillow, which imageio uses, because imageio
does not say what it drops or alters.
"""

import contextlib
import io
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
import PIL.Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from sfseg.errors import StackError
from sfseg.io import jpeg
from sfseg.io.arguments import as_path
from sfseg.io.guards import refuse_bomb, translate_errors
from sfseg.io.orientation import UPRIGHT, as_orientation
from sfseg.system import files
from sfseg.types import AnyArray, VoxelSize

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MODES = {"1": (1, bool), "L": (1, np.uint8), "LA": (2, np.uint8), "I;16": (1, np.uint16)}
_MODES |= {"RGB": (3, np.uint8), "RGBA": (4, np.uint8)}
"""Samples and their type for each mode of Pillow that keeps the numbers of the file."""

_WRITERS = (".png", ".jpg", ".jpeg")
_DEEP_PNG = (np.dtype(np.uint16), ".png")
_DEEP = 16
_DEEP_SAMPLES = {2: 3, 4: 2, 6: 4}
"""Samples of a pixel for the types of colours in PNG that are neither grey nor a palette."""

_ORIENTATION = 0x0112
_MAX_CHUNKS = 100_000
_DECODING = {True: 3, False: 4}
"""Decoding takes up to so many times the pixels, of a PNG or of a JPEG: Pillow's image, the array,
and what is between. Measured at 8000x8000: grey PNG 2, colours 2.9, grey JPEG 3.6."""
_DAMAGED = "copy or download the file again; it may be damaged"


class PictureSource:
    """A PNG or JPEG file; see `sfseg.io.sources.ArraySource`.

    Colours of a palette count as colours; of labels, its indices count unless they show only black
    and white. PNG spreads greys of 2 or 4 bits over 0 to 255.

    Parameters
    ----------
    path : Path
        The file, which begins as a PNG or JPEG does.
    name : str
        The file, for messages.
    labels : bool
        Whether the pixels are labels.

    Raises
    ------
    StackError
        If it is damaged, cut short, a bomb or an animation, or has colours that Pillow would
        change.
    """

    voxel_size_nm: VoxelSize | None = None
    notes: tuple[str, ...] = ()
    channel = ""
    is_parallel = False

    def __init__(self, path: Path, name: str, *, labels: bool = False) -> None:
        self._path, self._name = path, name
        self._pixels: AnyArray | None = None
        with translate_errors(name), path.open("rb") as file, _picture(file) as picture:
            self._check(picture)
            self._palette = _palette(picture) if labels else None
            samples, kind = _MODES["L" if self._palette is not None else _mode(picture)]
            if deep_samples := _deep_samples(path):
                samples, kind = deep_samples, np.uint16
            self.orientation = _orientation(picture, path)
            self.shape: tuple[int, ...] = (picture.height, picture.width, samples)
        self.shape = self.shape[:2] if samples == 1 else self.shape
        self.letters = "YXS"[: len(self.shape)]
        self.dtype: np.dtype[Any] = np.dtype(kind)
        size_bytes = math.prod(self.shape) * self.dtype.itemsize
        self.decoding_bytes = _DECODING[isinstance(picture, PngImageFile)] * size_bytes
        refuse_bomb(
            name,
            decoded_bytes=size_bytes,
            encoded_bytes=path.stat().st_size,
            chunk_bytes=size_bytes,
        )

    def _check(self, picture: PngImageFile | JpegImageFile) -> None:
        """Refuse an animation, and colours that would lose bits."""
        if getattr(picture, "n_frames", 1) != 1:
            raise StackError(
                f"{self._name}: this is an animation, not one image",
                hint="save its images as the pages of a TIFF",
            )
        if _mode(picture) not in _MODES:
            raise StackError(
                f"{self._name}: these colours cannot be read without loss ({picture.mode}), only "
                "grey, or red, green and blue",
                hint="save it as grey, or as TIFF",
            )

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Decode the whole picture once; return a box of it; see `sfseg.io.sources.ArraySource`."""
        if self._pixels is None:
            with translate_errors(self._name):
                data = self._path.read_bytes()
                if data.startswith(PNG):
                    _require_sums(data, self._name)
                    indices = self._palette is not None
                    deep = self.dtype == np.uint16 and self.letters == "YXS"
                    decode = _decode_indices if indices else _decode_deep if deep else _decode
                    pixels = decode(data)
                else:
                    pixels = jpeg.decoded(data, _decode, self._name)
            if (pixels.shape, pixels.dtype) != (self.shape, self.dtype):
                raise StackError(
                    f"{self._name}: the file was {self.shape} of {self.dtype} when it was opened, "
                    f"now it is {pixels.shape} of {pixels.dtype}",
                    hint="do not change the input while it is read",
                )
            self._pixels = pixels if self._palette is None else _as_labels(pixels, self._palette)
        return self._pixels[box].copy()

    def close(self) -> None:
        """Forget the pixels; the file is open only while it is read."""
        self._pixels = None


def _picture(file: Any) -> PngImageFile | JpegImageFile:
    """Open as PNG or JPEG; `PIL.Image.open` would try others, and has its own limit of size."""
    magic = file.read(len(PNG))
    file.seek(0)
    return PngImageFile(file) if magic == PNG else JpegImageFile(file)


def _mode(picture: PIL.Image.Image) -> str:
    """Return Pillow's mode of the decoded pixels."""
    if picture.mode == "P" and picture.palette is not None:
        return str(picture.palette.mode)
    return "I;16" if picture.mode in ("I", "I;16B") else str(picture.mode)


def _deep_samples(path: Path) -> int:
    """Count the samples of a PNG with colours of 16 bits, which Pillow would cut to 8; else 0."""
    with path.open("rb") as file:
        header = file.read(len(PNG) + 18)
    # the last two bytes read are the depth and the type of colour of the IHDR chunk
    is_deep = header.startswith(PNG) and header[-2] == _DEEP
    return _DEEP_SAMPLES.get(header[-1], 0) if is_deep else 0


def _decode(data: bytes) -> AnyArray:
    """Decode a whole picture: shape (Y, X) or (Y, X, samples)."""
    with _picture(io.BytesIO(data)) as picture:
        kind = _MODES[_mode(picture)][1]
    with _open(data) as file:
        pixels: AnyArray = file.read(index=0, writeable_output=False)
    return pixels.astype(kind, copy=False)


def _palette(picture: PngImageFile | JpegImageFile) -> AnyArray | None:
    """Return the palette of a picture, shape (entries, 3); None where it has none."""
    if picture.mode != "P" or picture.palette is None:
        return None
    return np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)


def _decode_indices(data: bytes) -> AnyArray:
    """Decode the indices of a picture with a palette: shape (Y, X)."""
    with _picture(io.BytesIO(data)) as picture:
        return np.array(picture, np.uint8)


def _decode_deep(data: bytes) -> AnyArray:
    """Decode a PNG of colours of 16 bits: shape (Y, X, samples)."""
    return np.asarray(imagecodecs.png_decode(data))


def _as_labels(indices: AnyArray, palette: AnyArray) -> AnyArray:
    """Return the grey values where labels show only black and white, else their indices."""
    numbers = np.unique(indices)
    used = palette[numbers] if numbers[-1] < len(palette) else palette[:0]
    is_mask = len(used) > 0 and np.isin(used, (0, 255)).all() and (used[:, :1] == used).all()
    return np.asarray(palette[:, 0][indices]) if is_mask else indices


def _orientation(picture: PngImageFile | JpegImageFile, path: Path) -> int:
    """Return the EXIF orientation; 1 where there is none, or none that can be read."""
    try:
        if isinstance(picture, JpegImageFile):
            return as_orientation(picture.getexif().get(_ORIENTATION))
        exif = PIL.Image.Exif()  # picture.getexif() would decode a PNG
        exif.load(_exif_chunk(path))
        return as_orientation(exif.get(_ORIENTATION))
    # metadata that make no sense turn nothing
    except (LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error):
        return UPRIGHT


def _exif_chunk(path: Path) -> bytes:
    """Return the EXIF data of a PNG, before or behind its pixels; empty where there are none."""
    with path.open("rb") as file:
        file.seek(len(PNG))
        for _ in range(_MAX_CHUNKS):
            header = file.read(8)
            if len(header) < 8 or header.endswith(b"IEND"):
                break
            length = int.from_bytes(header[:4], "big")
            if header.endswith(b"eXIf"):
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)
    return b""


_OPENING = threading.Lock()


@contextlib.contextmanager
def _open(data: bytes) -> Iterator[Any]:
    """Open with imageio, without Pillow's own limit of pixels: `refuse_bomb` came before."""
    with _OPENING:  # the limit is a global of Pillow, checked on opening only
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            file = iio.imopen(data, "r", plugin="pillow")
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
    with file:
        yield file


def write_picture(path: str | Path, array: AnyArray, *, overwrite: bool = False) -> None:
    """Write an image as PNG or JPEG, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write; its name ends in .png, .jpg or .jpeg.
    array : ndarray, shape (Y, X) or (Y, X, 3)
        Grey values of uint8, or in a PNG also uint16; or red, green and blue of uint8.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    StackError
        If the format cannot hold the array, or the name has another ending.
    OutputExistsError
        If the path exists and `overwrite` is False.
    OutputError
        If the disk is full or fails.
    """
    target, pixels = as_path(path, "write_picture"), np.asarray(array)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise StackError(
            f"{target}: the name of a picture ends in .png or .jpg",
            hint=f"name it {target.with_suffix('.png')}",
        )
    is_grey = pixels.ndim == 2 and (pixels.dtype == np.uint8 or (pixels.dtype, suffix) == _DEEP_PNG)
    is_colour = pixels.ndim == 3 and pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    if pixels.size == 0 or not (is_grey or is_colour):
        raise StackError(
            f"{target}: {pixels.dtype} of shape {pixels.shape} cannot be written as {suffix[1:]}",
            hint="pass grey values (Y, X), or colours (Y, X, 3), of uint8; a .png also takes grey "
            "values of uint16",
        )
    data = iio.imwrite("<bytes>", pixels, plugin="pillow", extension=suffix)
    files.write_bytes(target, data, overwrite=overwrite)


def encode_grey(pixels: AnyArray, *, quality: int = 85) -> bytes:
    """Encode grey values as a JPEG, for a page.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (Y, X)
        The picture.
    quality : int
        From 1 to 95, as in other programs.
    """
    return _encode(PIL.Image.fromarray(pixels), "JPEG", quality=quality)


def encode_indices(indices: AnyArray, palette: AnyArray) -> bytes:
    """Encode numbers of colours as a PNG with a palette, for a page.

    Parameters
    ----------
    indices : ndarray of uint8, shape (Y, X)
        The colour of each pixel, a row of `palette`.
    palette : ndarray of uint8, shape (N, 4)
        Red, green, blue and opacity; at most 256 colours.
    """
    picture = PIL.Image.fromarray(indices)
    picture.putpalette(np.ascontiguousarray(palette[:, :3]).tobytes())
    return _encode(picture, "PNG", transparency=palette[:, 3].tobytes())


def _encode(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _require_sums(data: bytes, name: str) -> None:
    """Check the sums of a PNG's chunks, which Pillow does not, and that the last chunk is there."""
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise StackError(f"{name}: the PNG chunk at byte {at} is damaged", hint=_DAMAGED)
        at = end + 4
