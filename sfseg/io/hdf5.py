"""Read a dataset of an HDF5 file."""

import json
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import imagecodecs
import numpy as np

from sfseg.errors import MissingExtraError, StackError
from sfseg.io import voxels
from sfseg.io.axes import letters_of_names
from sfseg.io.chunks import deflate_bytes
from sfseg.io.guards import refuse_bomb, refuse_untrusted, translate_errors
from sfseg.system.locks import NO_LOCKS
from sfseg.types import AnyArray, VoxelSize

_MAX_LINKS = 16
_LISTED = 10
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_FILTERS = frozenset({_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF})
"""Filters whose chunks can be measured. For others HDF5 trusts the size in the file."""

_DAMAGED = "copy or download the file again; it may be damaged"


def _open_file(h5py: Any, path: Path) -> Any:
    """Open a file for reading; HDF5 locks it, where the file system has locks."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return h5py.File(path, "r", locking=False)


class Hdf5Source:
    """A dataset of an HDF5 file; see `sfseg.io.sources.ArraySource`.

    The axes are those of the attribute ``axistags`` of ilastik, or of HDF5's labels of dimensions.
    The voxel size is the attribute ``resolution`` (z, y, x in nm, as in CREMI) or
    ``element_size_um`` (z, y, x, as in ilastik). HDF5 fills chunks that were never written with
    the dataset's fill value, but at least one chunk must exist.

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

    notes: tuple[str, ...] = ()
    channel = ""
    is_parallel = False

    def __init__(self, path: Path, dataset: str, name: str) -> None:
        if not path.is_file():
            raise StackError(
                f"{name}: there is no such file",
                hint="check the spelling and the current folder",
            )
        try:
            import h5py
        except ImportError as error:
            raise MissingExtraError.from_extra("hdf5", name) from error
        self._name = name
        with translate_errors(name):
            self._file = _open_file(h5py, path)
        try:
            with translate_errors(name):
                self._open(dataset)
        except BaseException:
            self.close()
            raise

    def _open(self, dataset: str) -> None:
        """Check that the dataset is an array in this very file, and not a bomb."""
        found = self._find(dataset)
        if not hasattr(found, "chunks"):
            wrong = (
                "there is no such dataset" if found is None else "this is a group, not a dataset"
            )
            raise StackError(
                f"{self._name}: {wrong}",
                hint=f"the file holds {', '.join(_datasets(self._file)) or 'no dataset'}",
            )
        if found.is_virtual or found.external:
            raise self._elsewhere()
        self._check_size(found)
        self._dataset, self.shape, self.dtype = found, tuple(found.shape), found.dtype
        self.letters = _letters(found)
        self.voxel_size_nm = _voxel_size(found.attrs)
        self._filters = _filters(found, self._name)
        self._counted: set[tuple[int, ...]] = set()

    def _check_size(self, dataset: Any) -> None:
        """Refuse a dataset that is not completely in the file, or a bomb."""
        stored_bytes = dataset.id.get_storage_size()
        refuse_bomb(
            self._name,
            decoded_bytes=dataset.nbytes,
            encoded_bytes=stored_bytes,
            chunk_bytes=math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize,
        )
        if stored_bytes == 0 or (dataset.chunks is None and stored_bytes != dataset.nbytes):
            raise StackError(
                f"{self._name}: the file has {stored_bytes} of {dataset.nbytes} bytes of pixels",
                hint=_DAMAGED,
            )

    def _elsewhere(self) -> StackError:
        """Make the error for pixels in another file, which is never opened."""
        return StackError(
            f"{self._name}: the pixels lie in another file",
            hint="copy the dataset into one file",
        )

    def _find(self, path: str) -> Any:
        """Follow a path link by link: HDF5 itself would open other files, or wait for a pipe."""
        from h5py import h5l

        node, followed = self._file, 0
        names = path.split("/")[::-1]
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            links = getattr(node.id, "links", None)
            if links is None or not links.exists(name.encode()):
                return None
            kind = links.get_info(name.encode()).type
            if kind == h5l.TYPE_HARD:
                node = node[name]
                continue
            followed += 1
            if kind != h5l.TYPE_SOFT or followed > _MAX_LINKS:
                raise self._elsewhere()
            target = links.get_val(name.encode()).decode()
            node = self._file if target.startswith("/") else node
            names += target.split("/")[::-1]
        return node

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the dataset; see `sfseg.io.sources.ArraySource`."""
        with translate_errors(self._name):
            if self._dataset.chunks is not None:
                for corner in _corners(box, self._dataset.chunks):
                    self._count(corner)
            return np.asarray(self._dataset[box])

    def _count(self, corner: tuple[int, ...]) -> None:
        """Refuse a chunk of the wrong size; check each chunk only once."""
        stored = self._dataset.id.get_chunk_info_by_coord(corner)
        if stored.byte_offset is None or corner in self._counted:
            return
        expected, found = math.prod(self._dataset.chunks) * self.dtype.itemsize, stored.size
        if self._filters:
            mask, data = self._dataset.id.read_direct_chunk(corner)
            # bit i of the mask is set if filter i was skipped for this chunk
            used = [code for i, code in enumerate(self._filters) if not mask >> i & 1]
            found = _unpacked_bytes(data, used, expected)
        if found != expected and _FILTERS.issuperset(self._filters):
            size = f"more than {expected}" if found > expected else f"{found} of {expected}"
            raise StackError(f"{self._name}: the chunk at {corner} has {size} bytes", hint=_DAMAGED)
        self._counted.add(corner)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def refuse_unnamed(path: Path, name: str) -> NoReturn:
    """Refuse a file without the path of a dataset in it, and name those that it holds.

    Raises
    ------
    StackError
        Always.
    MissingExtraError
        If h5py is not installed.
    """
    found = list_datasets(path, name)
    named = " or ".join(f"{name}:{dataset}" for dataset in found[:_LISTED])
    raise StackError(
        f"{name}: this is an HDF5 file, and no dataset in it is named",
        hint=f"name {'it' if len(found) == 1 else 'one'}: {named}"
        f"{' ...' if len(found) > _LISTED else ''}"
        if found
        else "check the program that wrote the file: it holds no dataset",
    )


def list_datasets(path: Path, name: str) -> list[str]:
    """List the paths of the datasets in a file.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.from_extra("hdf5", name) from error
    with translate_errors(name), _open_file(h5py, path) as file:
        return _datasets(file)


def _datasets(file: Any) -> list[str]:
    """List the datasets of an open file."""
    names: list[str] = []
    file.visititems(
        lambda name, found: names.append(f"/{name}") if hasattr(found, "chunks") else None
    )
    return names


def _filters(dataset: Any, name: str) -> list[int]:
    """List the filters of a dataset's chunks in the order of writing."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if len(set(filters) - {_SHUFFLE, _FLETCHER32}) > 1 or len(set(filters)) < len(filters):
        raise StackError(
            f"{name}: the chunks are compressed more than once, by the filters {filters}",
            hint="store it with gzip or lzf",
        )
    strange = set(filters) - _FILTERS
    if strange:
        refuse_untrusted(name, f"the filter {min(strange)} is neither gzip nor lzf")
    return filters


def _unpacked_bytes(data: bytes, filters: list[int], most: int) -> int:
    """Count what a chunk unpacks to with the filters used, or some number over `most`."""
    size = len(data)
    for code in reversed(filters):
        if code == _FLETCHER32:  # a sum of 4 bytes at the end
            data, size = data[:-4], size - 4
        elif code == _DEFLATE:
            size = deflate_bytes(data, most + 4)
        elif code == _LZF:
            size = len(imagecodecs.lzf_decode(data, out=most + 5))
    return size


def _corners(box: tuple[slice, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """List the first pixels of the chunks that a box touches."""
    # round the start down to a multiple of the chunk
    return product(
        *(
            range(each.start // size * size, each.stop, size)
            for each, size in zip(box, chunks, strict=True)
        )
    )


def _letters(dataset: Any) -> str:
    """Read the axes from ilastik's tags, else from the labels of the dimensions."""
    try:
        tags = json.loads(dataset.attrs.get("axistags", "{}"))
        names = [tag["key"] for tag in tags["axes"]]
    # metadata that make no sense say nothing
    except (LookupError, OSError, RecursionError, TypeError, ValueError):
        names = []
    if len(names) != dataset.ndim:
        names = [dimension.label for dimension in dataset.dims]
    return letters_of_names(names)


def _voxel_size(attributes: Any) -> VoxelSize | None:
    """Read the voxel size from one of the two common attributes."""
    for key, nm in (("resolution", 1.0), ("element_size_um", 1e3)):
        if key in attributes:
            z, y, x = (float(length) * nm for length in attributes[key])
            return voxels.checked(z, y, x)
    return None
