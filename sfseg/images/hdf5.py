"""Read a dataset of an HDF5 file."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import MissingExtraError, StackError
from sfseg.images import voxels
from sfseg.images.guards import refuse_bomb, wrapped
from sfseg.terms import AnyArray, VoxelSize

_MAX_SAMPLES = 4


class Hdf5Source:
    """A dataset of an HDF5 file; see `sfseg.images.sources.Source`.

    Two dimensions are (Y, X) and three are (Z, Y, X), as everywhere in this field, unless the last
    is so short that it may be samples. The voxel size is the attribute ``resolution`` (z, y, x in
    nm, as in CREMI) or ``element_size_um`` (z, y, x, as in ilastik).

    Parameters
    ----------
    path : Path
        The file.
    dataset : str
        Path of the dataset in it.
    name : str
        Both, for messages.

    Raises
    ------
    StackError
        If there is no such dataset, or it is damaged, hostile, or keeps its pixels elsewhere.
    MissingExtraError
        If h5py is not installed.
    """

    def __init__(self, path: Path, dataset: str, name: str) -> None:
        if not path.is_file():
            raise StackError(
                f"{name}: expected an HDF5 file, found nothing there",
                hint="check the spelling and the current folder",
            )
        try:
            import h5py
        except ImportError as error:
            raise MissingExtraError.of("hdf5", name) from error
        self._name = name
        with wrapped(name):
            self._file = h5py.File(path, "r")
        try:
            with wrapped(name):
                self._open(dataset)
        except StackError:
            self.close()
            raise

    def _open(self, dataset: str) -> None:
        """Check that the dataset is an array in this very file, and not a bomb."""
        found = self._file.get(dataset)
        if not hasattr(found, "chunks"):
            other = "nothing" if found is None else "a group"
            raise StackError(
                f"{self._name}: expected a dataset, found {other}",
                hint=f"the file holds {', '.join(self._datasets()) or 'no dataset'}",
            )
        if found.is_virtual or found.external or found.file.filename != self._file.filename:
            raise StackError(
                f"{self._name}: expected all pixels in this file, found a dataset in another",
                hint="copy the dataset into one file",
            )
        refuse_bomb(
            self._name,
            decoded_bytes=found.nbytes,
            encoded_bytes=found.id.get_storage_size(),
            segment_bytes=math.prod(found.chunks or (0,)) * found.dtype.itemsize,
        )
        self._dataset, self.shape, self.dtype = found, tuple(found.shape), found.dtype
        plain = len(self.shape) in (2, 3) and self.shape[-1] > _MAX_SAMPLES
        self.letters = "ZYX"[-len(self.shape) :] if plain else ""
        self.voxel_size_nm = _voxel_size(found.attrs)

    def _datasets(self) -> list[str]:
        """List the datasets of the file."""
        names: list[str] = []
        self._file.visititems(
            lambda name, found: names.append(f"/{name}") if hasattr(found, "chunks") else None
        )
        return names

    def read(self, part: tuple[slice, ...]) -> AnyArray:
        """Read a part of the dataset; see `sfseg.images.sources.Source`."""
        with wrapped(self._name):
            return np.asarray(self._dataset[part])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _voxel_size(attributes: Any) -> VoxelSize | None:
    """Read the voxel size in the two ways that are common."""
    for key, nm in (("resolution", 1.0), ("element_size_um", 1e3)):
        if key in attributes:
            z, y, x = (float(length) * nm for length in attributes[key])
            return voxels.checked(z, y, x)
    return None
