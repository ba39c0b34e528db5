"""Read N5, the chunked format of Janelia, BigDataViewer and Paintera.

References
----------
S. Saalfeld et al., "N5", github.com/saalfeldlab/n5
"""

import math
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from sfseg.errors import StackError
from sfseg.io import voxels
from sfseg.io.axes import letters_of_names
from sfseg.io.chunks import refuse_bomb_chunk
from sfseg.io.folders import first_bytes
from sfseg.io.grid import ChunkSource, Index, find_folder, read_json
from sfseg.io.guards import translate_errors
from sfseg.types import AnyArray, VoxelSize

METADATA, MARK = "attributes.json", b'"dimensions"'
_FULL = "s0"
_TYPES = {f"uint{bits}": f">u{bits // 8}" for bits in (8, 16, 32, 64)}
_TYPES |= {f"int{bits}": f">i{bits // 8}" for bits in (8, 16, 32, 64)}
_TYPES |= {"float32": ">f4", "float64": ">f8"}
_READ = ("raw", "gzip", "zlib", "lz4", "blosc", "zstd")
_CONVERT = "store it with gzip, for example in Fiji: Save As, HDF5/N5/Zarr/OME-NGFF"
_ANY_WRAPPER = zlib.MAX_WBITS | 32
_LZ4_BLOCK = struct.Struct("<8sBIII")
_LZ4_MAGIC, _LZ4_PLAIN = b"LZ4Block", 0x10
_LISTED = 10


class N5Source(ChunkSource):
    """An array of an N5 store; see `sfseg.io.sources.ArraySource`.

    The first dimension of N5 is the last one here. A group with several resolutions is read in the
    full one, ``s0``. The voxel size is ``pixelResolution`` or ``resolution``, in nm unless there is
    a unit.

    Parameters
    ----------
    store : Path
        The folder of the store.
    inside : str
        Path of an array or a group of resolutions in it; empty for the store itself.
    name : str
        Both, for messages.

    Raises
    ------
    StackError
        If there is no such array, or it is empty, damaged, hostile, or stored in another way.
    """

    def __init__(self, store: Path, inside: str, name: str) -> None:
        super().__init__(store, name)
        if not store.is_dir():
            raise StackError(
                f"{name}: there is no such store", hint="check the spelling and the current folder"
            )
        folder = find_folder(store, inside, name)
        attributes = self._attributes(folder)
        group = attributes
        if "dimensions" not in attributes and (folder / _FULL / METADATA).is_file():
            folder = find_folder(store, f"{inside}/{_FULL}", name)
            attributes = self._attributes(folder)
        if "dimensions" not in attributes:
            raise StackError(
                f"{name}: this is a group, not an array",
                hint=f"it holds {self._arrays() or 'no array'}; name one like {store}:/path",
            )
        with translate_errors(name):
            self._open(folder, attributes, group)

    def _attributes(self, folder: Path) -> Mapping[str, Any]:
        """Read the metadata of a folder."""
        if not (folder / METADATA).exists():
            raise StackError(
                f"{self._name}: there is no N5 array or group in {folder}",
                hint=f"the store holds {self._arrays() or 'no array'}",
            )
        return read_json(folder / METADATA, self._store, self._name)

    def _arrays(self) -> str:
        """List some of the arrays of the store, the full resolution of each."""
        found = []
        for folder, folders, names in os.walk(self._store):
            if METADATA in names and is_array(Path(folder)):
                found.append(f"/{Path(folder).relative_to(self._store).as_posix()}")
                folders.clear()  # of chunks, which may be millions
            if len(found) > _LISTED:
                break
        return ", ".join(sorted(found)[:_LISTED]) + (", ..." if len(found) > _LISTED else "")

    def _open(self, folder: Path, attributes: Mapping[str, Any], group: Mapping[str, Any]) -> None:
        """Read and check the metadata of an array."""
        shape = tuple(int(n) for n in attributes["dimensions"])
        chunk = tuple(int(n) for n in attributes["blockSize"])
        compression = attributes.get("compression", attributes.get("compressionType"))
        kind = compression["type"] if isinstance(compression, Mapping) else compression
        if kind not in _READ or attributes["dataType"] not in _TYPES:
            raise StackError(
                f"{self._name}: {attributes['dataType']!r} stored as {kind!r} is not read",
                hint=_CONVERT,
            )
        self._kind = str(kind)
        self._stored = np.dtype(_TYPES[attributes["dataType"]])
        axes = attributes.get("axes", group.get("axes"))
        names = axes if isinstance(axes, list) and len(axes) == len(shape) else []
        factors = attributes.get("downsamplingFactors")
        voxel = _voxel_size(attributes, factors) or _voxel_size(group, factors)
        self._describe(
            folder,
            shape[::-1],
            chunk[::-1],
            self._stored.newbyteorder("="),
            letters_of_names(names[::-1]),
            voxel,
            metadata=(METADATA,),
        )

    def _path(self, index: Index) -> Path:
        """Return the file of a chunk: a folder for each dimension, x first."""
        return self._folder.joinpath(*map(str, index[::-1]))

    def _decode(self, data: bytes, index: Index) -> AnyArray:
        """Decode a chunk: a header with its size, big-endian, then the pixels."""
        mode, count = struct.unpack_from(">HH", data)
        size = struct.unpack_from(f">{count}I", data, 4)
        bounds = zip(self._size(index)[::-1], size, self._chunk[::-1], strict=True)
        if mode != 0 or not all(least <= n <= most for least, n, most in bounds):
            raise ValueError(f"a chunk of mode {mode} and size {size}")
        expected = math.prod(size) * self._stored.itemsize
        plain = self._unpack(data[4 + 4 * count :], expected)
        if len(plain) != expected:
            raise ValueError(f"{len(plain)} of {expected} bytes")
        return np.frombuffer(plain, self._stored).reshape(size[::-1]).astype(self.dtype)

    def _unpack(self, data: bytes, expected: int) -> bytes:
        """Unpack the pixels of a chunk, and hardly more than they have."""
        if self._kind == "raw":
            return data
        if self._kind == "lz4":
            return _unpack_lz4(data, expected)
        if self._kind in ("blosc", "zstd"):
            refuse_bomb_chunk(self._name, self._kind, data, expected)
            decode = imagecodecs.blosc_decode if self._kind == "blosc" else imagecodecs.zstd_decode
            return bytes(decode(data))
        stream = zlib.decompressobj(_ANY_WRAPPER)
        plain = stream.decompress(data, expected + 1)  # to the end, where a checksum is compared
        if not stream.eof:
            raise ValueError("the packed pixels have no end")
        return plain


def is_array(folder: Path) -> bool:
    """Tell whether a folder is an array of N5: its metadata have dimensions."""
    return MARK in first_bytes(folder / METADATA)


def _unpack_lz4(data: bytes, expected: int) -> bytes:
    """Unpack the blocks of Java's LZ4BlockOutputStream; the last one is empty."""
    plain, at = b"", 0
    while len(plain) <= expected:
        magic, token, packed_bytes, size, _ = _LZ4_BLOCK.unpack_from(data, at)
        at += _LZ4_BLOCK.size
        if magic != _LZ4_MAGIC or size > expected - len(plain):
            raise ValueError("a block of LZ4 makes no sense")
        if size == 0:
            break
        block = data[at : at + packed_bytes]
        is_plain = token & 0xF0 == _LZ4_PLAIN
        plain += block if is_plain else bytes(imagecodecs.lz4_decode(block, out=size))
        at += packed_bytes
    return plain


def _voxel_size(attributes: Mapping[str, Any], factors: object) -> VoxelSize | None:
    """Return nm along (z, y, x): of Janelia's programs, whose lengths are x, y, z.

    `factors` say how many voxels of the full resolution, whose size it is, one voxel covers.
    """
    unit = "nm"
    found: Any = attributes.get("pixelResolution", attributes.get("resolution"))
    if isinstance(found, Mapping):
        found, unit = found.get("dimensions"), str(found.get("unit", unit))
    if not isinstance(found, list) or len(found) != 3:
        return None
    covered = factors if isinstance(factors, list) and len(factors) == len(found) else [1, 1, 1]
    nm = voxels.nm_per_unit(unit)
    x, y, z = (float(length) * nm * float(n) for length, n in zip(found, covered, strict=True))
    return voxels.checked(z, y, x)
