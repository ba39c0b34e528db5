"""Open an image file of any kind as an array."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sfseg.errors import StackError
from sfseg.io import pictures
from sfseg.io.tiff.reader import TiffSource
from sfseg.types import AnyArray, VoxelSize

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE = (pictures.PNG, pictures.JPEG)
_HDF5 = b"\x89HDF"


class ArraySource(Protocol):
    """An array in a file, with its metadata."""

    shape: tuple[int, ...]
    letters: str
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box: a slice for each dimension, with a start and a stop; not empty.

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


def open_file(path: Path, name: str) -> ArraySource:
    """Open an image file; its first bytes decide on the format.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.

    Returns
    -------
    ArraySource
        The file's array, to be closed.

    Raises
    ------
    StackError
        If there is no such file, or it is not an image, damaged, cut short or hostile.
    """
    require_file(path, name)
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(_TIFF):
        return TiffSource(path, name)
    if magic.startswith(_PICTURE):
        return pictures.PictureSource(path, name)
    if magic.startswith(_HDF5):
        raise StackError(
            f"{name}: an HDF5 file holds many arrays, and none is named",
            hint=f"write it like {name}:/volumes/raw",
        )
    if not magic:
        raise StackError(f"{name}: the file is empty", hint="copy or download the file again")
    raise StackError(
        f"{name}: this is not an image",
        hint="give a TIFF, PNG, JPEG or HDF5 file, or save it as TIFF first",
    )


def require_file(path: Path, name: str) -> None:
    """Refuse anything but a file; parameters and errors as for `open_file`."""
    if not path.is_file():
        wrong = "this is a broken link" if path.is_symlink() else "there is no such file"
        raise StackError(
            f"{name}: {'this is not a file' if path.exists() else wrong}",
            hint="check the spelling and the current folder",
        )
