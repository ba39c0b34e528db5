"""One image file as an array, whatever its kind."""

import math
from pathlib import Path
from typing import Any, Protocol

import imageio.v3 as imageio
import numpy as np

from sfseg.errors import StackError
from sfseg.images.guards import refuse_bomb, wrapped
from sfseg.images.tiff import TiffSource
from sfseg.terms import AnyArray, VoxelSize

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE = (b"\x89PNG", b"\xff\xd8\xff")
_HDF5 = b"\x89HDF"


class Source(Protocol):
    """An array in a file, with what the file says of it."""

    shape: tuple[int, ...]
    letters: str
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None

    def read(self, part: tuple[slice, ...]) -> AnyArray:
        """Read where a slice of each dimension says, with a start and a stop; not empty.

        Returns
        -------
        ndarray
            As many dimensions as the array.

        Raises
        ------
        StackError
            If the file cannot be decoded there.
        """

    def close(self) -> None:
        """Close the file."""


def open_file(path: Path, name: str) -> Source:
    """Open an image file as what its first bytes say it is.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.

    Returns
    -------
    Source
        The file's array, to be closed.

    Raises
    ------
    StackError
        If there is no such file, or it is no image, damaged, cut short or hostile.
    """
    require_file(path, name)
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(_TIFF):
        return TiffSource(path, name)
    if magic.startswith(_PICTURE):
        return PictureSource(path, name)
    if magic == _HDF5:
        raise StackError(
            f"{name}: expected the path of a dataset in it, found only an HDF5 file",
            hint=f"write it like {name}:/volumes/raw",
        )
    raise StackError(
        f"{name}: expected a TIFF, PNG, JPEG or HDF5 file, "
        f"found {'an empty file' if not magic else f'one that begins with {magic!r}'}",
        hint="give an image file, or save it as TIFF first",
    )


def require_file(path: Path, name: str) -> None:
    """Refuse what is no file; parameters and errors as of `open_file`."""
    if not path.is_file():
        raise StackError(
            f"{name}: expected an image file or a folder of them, "
            f"found {'something else' if path.exists() else 'nothing there'}",
            hint="check the spelling and the current folder",
        )


class PictureSource:
    """A PNG or JPEG file, which can only be decoded as a whole; see `Source`."""

    voxel_size_nm: VoxelSize | None = None

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._pixels: AnyArray | None = None
        with wrapped(name):
            found = imageio.improps(path, plugin="pillow")
        self.shape, self.dtype = tuple(found.shape), np.dtype(found.dtype)
        self.letters = "YX" if len(self.shape) == 2 else "YXS"
        decoded_bytes = math.prod(self.shape) * self.dtype.itemsize
        encoded_bytes = path.stat().st_size
        refuse_bomb(name, decoded_bytes=decoded_bytes, encoded_bytes=encoded_bytes, segment_bytes=0)

    def read(self, part: tuple[slice, ...]) -> AnyArray:
        """Read the whole picture, once, and give a part; see `Source`."""
        if self._pixels is None:
            with wrapped(self._name):
                self._pixels = np.asarray(imageio.imread(self._path, plugin="pillow"))
        return self._pixels[part].copy()

    def close(self) -> None:
        """Forget the pixels; the file is open only while it is read."""
        self._pixels = None
