"""Arrays whose chunks are files of their own, read without a library: N5 and precomputed."""

import abc
import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.errors import StackError
from sfseg.io.guards import (
    MAX_RATIO,
    SMALL_BYTES,
    refuse_bomb,
    refuse_untrusted,
    require_member,
    translate_errors,
)
from sfseg.types import AnyArray, VoxelSize

_CACHE_BYTES = 2**28
"""Neighbouring sections share chunks: this many decoded bytes are kept."""

Index = tuple[int, ...]


class ChunkSource(abc.ABC):
    """An array in chunks; see `sfseg.io.sources.ArraySource`.

    A subclass reads the metadata, calls `_describe`, and decodes a chunk. A chunk without a file
    is 0, but at least one must exist.

    Parameters
    ----------
    store : Path
        The folder of the store, which no link may leave.
    name : str
        The input, for messages.
    """

    notes: tuple[str, ...] = ()
    channel = ""
    is_parallel = False

    def __init__(self, store: Path, name: str) -> None:
        self._store, self._name = store, name
        self._kept: dict[Index, AnyArray] = {}
        self._kept_bytes = 0

    def _describe(
        self,
        folder: Path,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        dtype: np.dtype[Any],
        letters: str,
        voxel_size_nm: VoxelSize | None,
        *,
        metadata: Collection[str],
    ) -> None:
        """Set what the metadata tell; refuse what makes no sense, or may fill the memory."""
        if len(chunk) != len(shape) or min(*shape, 0) < 0 or min(chunk, default=1) < 1:
            raise StackError(
                f"{self._name}: chunks of {chunk} in an array of {shape} make no sense",
                hint="check the program that wrote the store",
            )
        self._folder, self.shape, self._chunk, self.dtype = folder, shape, chunk, dtype
        self.letters, self.voxel_size_nm = letters, voxel_size_nm
        decoded_bytes = math.prod(shape) * dtype.itemsize
        encoded_bytes = count_stored_bytes(folder, decoded_bytes, metadata)
        if not encoded_bytes:
            raise StackError(
                f"{self._name}: the store has no chunk of the array",
                hint="copy or download the store again",
            )
        refuse_bomb(
            self._name,
            decoded_bytes=decoded_bytes,
            encoded_bytes=encoded_bytes,
            chunk_bytes=math.prod(chunk) * dtype.itemsize,
        )

    @abc.abstractmethod
    def _path(self, index: Index) -> Path:
        """Return the file of a chunk; it need not exist."""

    @abc.abstractmethod
    def _decode(self, data: bytes, index: Index) -> AnyArray:
        """Decode a chunk; it has the size of a chunk, or what the array has left there."""

    def read(self, box: tuple[slice, ...]) -> AnyArray:
        """Read a box of the array; see `sfseg.io.sources.ArraySource`."""
        pixels = np.zeros([span.stop - span.start for span in box], self.dtype)
        for index in self._touched(box):
            with translate_errors(f"{self._name}: chunk {', '.join(map(str, index))}"):
                chunk = self._load(index)
            if chunk is None:
                continue
            inside, target = [], []
            for span, number, length, n in zip(box, index, self._chunk, chunk.shape, strict=True):
                first, last = number * length, number * length + n
                start, stop = max(span.start, first), min(span.stop, last)
                inside.append(slice(start - first, max(stop, start) - first))
                target.append(slice(start - span.start, max(stop, start) - span.start))
            pixels[tuple(target)] = chunk[tuple(inside)]
        return pixels

    def _touched(self, box: tuple[slice, ...]) -> Iterator[Index]:
        """List the chunks that a box touches."""
        return product(
            *(
                range(span.start // length, -(-span.stop // length))
                for span, length in zip(box, self._chunk, strict=True)
            )
        )

    def _size(self, index: Index) -> tuple[int, ...]:
        """Return the size of a chunk: at the end of the array what is left there."""
        sizes = zip(index, self._chunk, self.shape, strict=True)
        return tuple(min(length, whole - number * length) for number, length, whole in sizes)

    def _load(self, index: Index) -> AnyArray | None:
        """Return a chunk, decoded unless it is kept; None where it was never written."""
        if index in self._kept:
            return self._kept[index]
        path = self._path(index)
        if not (path.exists() or path.is_symlink()):
            return None
        require_member(self._name, path, self._store)
        limit = max(SMALL_BYTES, 2 * math.prod(self._chunk) * self.dtype.itemsize)
        if path.stat().st_size > limit:  # encoded pixels are hardly larger than plain ones
            refuse_untrusted(self._name, f"the chunk {path} has more than {limit} bytes")
        chunk = self._decode(path.read_bytes(), index)
        self._keep(index, chunk)
        return chunk

    def _keep(self, index: Index, chunk: AnyArray) -> None:
        """Keep a chunk; forget the oldest ones where there is no room."""
        self._kept[index] = chunk
        self._kept_bytes += chunk.nbytes
        while self._kept_bytes > _CACHE_BYTES and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest).nbytes

    def close(self) -> None:
        """Forget the chunks; files are open only while they are read."""
        self._kept.clear()
        self._kept_bytes = 0


def count_stored_bytes(folder: Path, enough: int, metadata: Collection[str]) -> int:
    """Add up the sizes of the chunks, until they are enough for so many bytes of pixels.

    Parameters
    ----------
    folder : Path
        The folder of the array.
    enough : int
        Size of its pixels.
    metadata : collection of str
        Names of files that are no chunks.

    Returns
    -------
    int
        The sum, or a part of it that is enough.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in set(names).difference(metadata):
            total += os.lstat(Path(parent) / name).st_size
            if total * MAX_RATIO >= enough:
                return total
    return total


def read_json(path: Path, store: Path, name: str) -> Mapping[str, Any]:
    """Read a file of metadata that holds a mapping.

    Parameters
    ----------
    path : Path
        The file.
    store : Path
        The folder of the store, which no link may leave.
    name : str
        The input, for messages.

    Returns
    -------
    mapping
        What it holds.

    Raises
    ------
    StackError
        If it is missing, very large, or not a mapping in JSON.
    """
    require_member(name, path, store)
    with translate_errors(name):
        if path.stat().st_size > SMALL_BYTES:
            refuse_untrusted(name, f"{path} has more than {SMALL_BYTES} bytes")
        found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise StackError(
            f"{name}: {path.name} holds no metadata", hint="check the program that wrote the store"
        )
    return found


def find_folder(store: Path, inside: str, name: str) -> Path:
    """Return the folder of a path in a store; it must not leave the store."""
    folder = store / inside.replace("\\", "/").strip("/")
    if not folder.resolve().is_relative_to(store.resolve()):
        raise StackError(
            f"{name}: the path {inside} leaves this store", hint="copy the array into one store"
        )
    return folder
