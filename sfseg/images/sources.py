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

    def slab(self, axis: int | None, index: int) -> AnyArray:
        """Read the array at `index` of `axis`, without that dimension; all if `axis` is None."""

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
    if not path.is_file():
        raise StackError(
            f"{name}: expected an image file or a folder of them, "
            f"found {'something else' if path.exists() else 'nothing there'}",
            hint="check the spelling and the current folder",
        )
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


class PictureSource:
    """A PNG or JPEG file; see `Source`."""

    voxel_size_nm: VoxelSize | None = None

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        with wrapped(name):
            found = imageio.improps(path, plugin="pillow")
        self.shape, self.dtype = tuple(found.shape), np.dtype(found.dtype)
        self.letters = "YX" if len(self.shape) == 2 else "YXS"
        decoded_bytes = math.prod(self.shape) * self.dtype.itemsize
        encoded_bytes = path.stat().st_size
        refuse_bomb(name, decoded_bytes=decoded_bytes, encoded_bytes=encoded_bytes, segment_bytes=0)

    def slab(self, axis: int | None, index: int) -> AnyArray:
        """Read the picture; see `Source`."""
        with wrapped(self._name):
            pixels = np.asarray(imageio.imread(self._path, plugin="pillow"))
        return pixels if axis is None else pixels.take(index, axis)

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""
