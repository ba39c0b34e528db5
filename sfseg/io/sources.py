"""Open an image file of any kind as an array."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sfseg.errors import StackError
from sfseg.io import pictures
from sfseg.io.flat import GZIP, read_head
from sfseg.io.foreign import refuse_foreign
from sfseg.io.mrc.reader import is_mrc, open_mrc
from sfseg.io.orientation import UPRIGHT, TurnedSource
from sfseg.io.tiff.reader import TiffSource
from sfseg.types import AnyArray, VoxelSize

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE = (pictures.PNG, pictures.JPEG)
_READ = "TIFF, PNG, JPEG, MRC, HDF5 or Zarr"
_HDF5 = b"\x89HDF"


class ArraySource(Protocol):
    """An array in a file, with its metadata.

    Attributes
    ----------
    shape, letters, dtype, voxel_size_nm
        The array, a letter for each dimension, and the voxel size.
    notes : tuple of str
        What a person should know about how the file is read.
    channel : str
        Which channel and time of a set of files this file has; empty without a set.
    """

    shape: tuple[int, ...]
    letters: str
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None
    notes: tuple[str, ...]
    channel: str

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


def open_file(
    path: Path, name: str, *, labels: bool = False, is_member: bool = False
) -> ArraySource:
    """Open an image file; its first bytes decide on the format.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    labels : bool
        Whether the pixels are labels, whose numbers count, and not grey values.
    is_member : bool
        Whether it is one section of a folder; then it may be one plane of a set of OME files.

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
    magic = read_head(path, name)
    if magic.startswith(_TIFF):
        tiff = TiffSource(path, name, labels=labels, is_member=is_member)
        return upright(tiff, tiff.orientation)
    if magic.startswith(_PICTURE):
        picture = pictures.PictureSource(path, name, labels=labels)
        return upright(picture, picture.orientation)
    if magic.startswith(_HDF5):
        raise StackError(
            f"{name}: an HDF5 file holds many arrays, and none is named",
            hint=f"write it like {name}:/volumes/raw",
        )
    if not magic:
        raise StackError(f"{name}: the file is empty", hint="copy or download the file again")
    packed_at = 0 if magic.startswith(GZIP) else None
    head = magic if packed_at is None else read_head(path, name, packed_at=packed_at)
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if is_mrc(head, suffix):
        return open_mrc(path, name, head, packed_at=packed_at)
    refuse_foreign(path, name, head)
    if packed_at is not None:
        raise StackError(f"{name}: this file is packed with gzip", hint="unpack it: gunzip -k FILE")
    raise StackError(
        f"{name}: this is not an image",
        hint=f"give a file of {_READ}, or save it as TIFF first",
    )


def upright(source: ArraySource, orientation: int) -> ArraySource:
    """Turn an array as its orientation tag says."""
    return source if orientation == UPRIGHT else TurnedSource(source, orientation)


def require_file(path: Path, name: str) -> None:
    """Refuse anything but a file; parameters and errors as for `open_file`."""
    if not path.is_file():
        wrong = "this is a broken link" if path.is_symlink() else "there is no such file"
        raise StackError(
            f"{name}: {'this is not a file' if path.exists() else wrong}",
            hint="check the spelling and the current folder",
        )
