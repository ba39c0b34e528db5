"""Read Neuroglancer's precomputed volumes on disk.

References
----------
github.com/google/neuroglancer: src/datasource/precomputed/volume.md
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from sfseg.errors import StackError
from sfseg.io import jpeg, voxels
from sfseg.io.grid import ChunkSource, Index, find_folder, read_json
from sfseg.io.guards import translate_errors
from sfseg.types import AnyArray

METADATA = "info"
_TYPES = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32"}
_READ = ("raw", "jpeg")
_PACKED = ".gz"
_HEADER_BYTES = 2**16
"""Most bytes that JPEG adds to its pixels."""

_GZIP = b"\x1f\x8b"
_ANY_WRAPPER = zlib.MAX_WBITS | 32
_CONVERT = (
    "copy it with cloud-volume: igneous image xfer --encoding raw (without --sharded), "
    "or save CloudVolume(PATH)[:] as .npy"
)


class PrecomputedSource(ChunkSource):
    """A precomputed volume in full resolution; see `sfseg.io.sources.ArraySource`.

    Chunks are plain or JPEG, packed with gzip or not. The voxel size is the resolution, in nm.

    Parameters
    ----------
    store : Path
        The folder with the file ``info``.
    name : str
        The folder, for messages.

    Raises
    ------
    StackError
        If it is empty, damaged, hostile, or stored in another way.
    """

    def __init__(self, store: Path, name: str) -> None:
        super().__init__(store, name)
        info = read_json(store / METADATA, store, name)
        with translate_errors(name):
            scale = info["scales"][0]
            self._require_readable(info, scale)
            self._open(info, scale)

    def _require_readable(self, info: Mapping[str, Any], scale: Mapping[str, Any]) -> None:
        """Refuse shards and the encodings of segmentations."""
        encoding, dtype = scale["encoding"], info["data_type"]
        wrong = "in shards" if scale.get("sharding") else ""
        if encoding not in _READ or dtype not in _TYPES:
            wrong = f"of {dtype!r}, stored as {encoding!r},"
        if encoding == "jpeg" and (dtype, info["num_channels"]) != ("uint8", 1):
            wrong = f"of {info['num_channels']!r} channels of {dtype!r}, stored as 'jpeg',"
        if wrong:
            raise StackError(f"{self._name}: chunks {wrong} are not read", hint=_CONVERT)

    def _open(self, info: Mapping[str, Any], scale: Mapping[str, Any]) -> None:
        """Read and check the metadata of the full resolution."""
        shape = tuple(int(n) for n in (*scale["size"], info["num_channels"]))
        chunk = tuple(int(n) for n in (*scale["chunk_sizes"][0], info["num_channels"]))
        self._offset = [int(n) for n in scale.get("voxel_offset", (0, 0, 0))]
        self._is_jpeg = scale["encoding"] == "jpeg"
        self._stored = np.dtype(info["data_type"]).newbyteorder("<")
        x, y, z = (float(length) for length in scale["resolution"])
        if len(shape) != 4 or len(self._offset) != 3:
            raise ValueError(f"a volume of {shape} at {self._offset}")
        self._describe(
            find_folder(self._store, str(scale["key"]), self._name),
            shape[::-1],
            chunk[::-1],
            self._stored.newbyteorder("="),
            "CZYX",
            voxels.checked(z, y, x),
            metadata=(METADATA,),
        )

    def _path(self, index: Index) -> Path:
        """Return the file of a chunk, such as ``0-64_0-64_0-32``, perhaps with .gz."""
        size = self._size(index)[:0:-1]
        starts = [n * length for n, length in zip(index[:0:-1], self._chunk[:0:-1], strict=True)]
        spans = [
            f"{start + offset}-{start + offset + n}"
            for start, offset, n in zip(starts, self._offset, size, strict=True)
        ]
        path = self._folder / "_".join(spans)
        packed = path.with_name(f"{path.name}{_PACKED}")
        return packed if packed.exists() or packed.is_symlink() else path

    def _decode(self, data: bytes, index: Index) -> AnyArray:
        """Decode a chunk: its pixels lie one after the other, x the fastest."""
        size = self._size(index)
        expected = math.prod(size) * self._stored.itemsize
        if data.startswith(_GZIP) and len(data) != expected:
            data = self._unpack(data, expected)
        if self._is_jpeg:
            return self._decode_jpeg(data, size)
        if len(data) != expected:
            raise ValueError(f"{len(data)} of {expected} bytes")
        return np.frombuffer(data, self._stored).reshape(size).astype(self.dtype)

    def _unpack(self, data: bytes, expected: int) -> bytes:
        """Unpack a chunk, and little more than its pixels; JPEG data may be larger than these."""
        most = 2 * expected + _HEADER_BYTES
        stream = zlib.decompressobj(_ANY_WRAPPER)
        plain = stream.decompress(data, most + 1)
        if not stream.eof:
            raise gzip.BadGzipFile("the packed pixels have no end")
        return plain

    def _decode_jpeg(self, data: bytes, size: tuple[int, ...]) -> AnyArray:
        """Decode a chunk that is a JPEG image of as many pixels."""
        found = jpeg.frame(data, self._name)
        if found.rows * found.columns != math.prod(size):
            raise ValueError(f"an image of {found.rows}x{found.columns} for {size}")
        pixels = jpeg.decoded(data, imagecodecs.jpeg8_decode, self._name)
        if pixels.ndim != 2 or pixels.dtype != self._stored:
            raise ValueError(f"an image of {pixels.shape} of {pixels.dtype}")
        return pixels.reshape(size)
