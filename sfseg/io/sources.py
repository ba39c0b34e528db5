"""Open an image file of any kind as an array."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sfseg.errors import StackError
from sfseg.io import npy, nrrd, pictures
from sfseg.io.dm import is_dm, open_dm
from sfseg.io.flat import GZIP, read_head
from sfseg.io.foreign import refuse_foreign
from sfseg.io.hdf5 import refuse_unnamed
from sfseg.io.mrc.reader import is_mrc, open_mrc
from sfseg.io.nifti import is_nifti, open_nifti
from sfseg.io.orientation import UPRIGHT, TurnedSource
from sfseg.io.tiff.reader import TiffSource
from sfseg.types import AnyArray, VoxelSize

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE = (pictures.PNG, pictures.JPEG)
_READ = "TIFF, PNG, JPEG, MRC, HDF5, Zarr, N5, NRRD, NIfTI, NumPy or DM"
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
    is_parallel : bool
        Whether several threads may read at the same time.
    """

    shape: tuple[int, ...]
    letters: str
    dtype: np.dtype[Any]
    voxel_size_nm: VoxelSize | None
    notes: tuple[str, ...]
    channel: str
    is_parallel: bool

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
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(_TIFF):
        tiff = TiffSource(path, name, labels=labels, is_member=is_member)
        return upright(tiff, tiff.orientation)
    if magic.startswith(_PICTURE):
        picture = pictures.PictureSource(path, name, labels=labels)
        return upright(picture, picture.orientation)
    if magic.startswith(_HDF5):
        refuse_unnamed(path, name)
    if not magic:
        raise StackError(f"{name}: the file is empty", hint="copy or download the file again")
    if magic.startswith(GZIP):
        return _open_flat(path, name, Path(path.stem).suffix, packed_at=0)
    return _open_flat(path, name, path.suffix, packed_at=None)


def _open_flat(path: Path, name: str, suffix: str, *, packed_at: int | None) -> ArraySource:
    """Open a file whose pixels lie in one piece; refuse what is no image."""
    head = read_head(path, name, is_packed=packed_at is not None)
    if is_nifti(head):
        return open_nifti(path, name, head, packed_at=packed_at)
    if is_mrc(head, suffix):
        return open_mrc(path, name, head, packed_at=packed_at)
    if packed_at is not None:
        raise StackError(f"{name}: this file is packed with gzip", hint="unpack it: gunzip -k FILE")
    if head.startswith(npy.MAGIC):
        return npy.open_npy(path, name, head)
    if head.startswith(nrrd.MAGIC):
        return nrrd.open_nrrd(path, name, head)
    if is_dm(head):
        return open_dm(path, name)
    refuse_foreign(path, name, head)
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
