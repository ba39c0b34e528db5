"""One image file as an array, whatever its kind."""

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
        magic = file.read(8)
    if magic.startswith(_TIFF):
        return TiffSource(path, name)
    if magic.startswith(_PICTURE):
        return pictures.PictureSource(path, name)
    if magic.startswith(_HDF5):
        raise StackError(
            f"{name}: expected the path of a dataset in it, found only an HDF5 file",
            hint=f"write it like {name}:/volumes/raw",
        )
    raise StackError(
        f"{name}: expected a TIFF, PNG, JPEG or HDF5 file, "
        f"found {'an empty file' if not magic else f'one that begins with {magic[:4]!r}'}",
        hint="give an image file, or save it as TIFF first",
    )


def require_file(path: Path, name: str) -> None:
    """Refuse what is no file; parameters and errors as of `open_file`."""
    if not path.is_file():
        nothing = "a link to nothing" if path.is_symlink() else "nothing there"
        raise StackError(
            f"{name}: expected an image file or a folder of them, "
            f"found {'something else' if path.exists() else nothing}",
            hint="check the spelling and the current folder",
        )
