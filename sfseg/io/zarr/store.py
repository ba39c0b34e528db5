"""Zarr stores that refuse files outside of them, and chunks that would fill the memory.

This module needs zarr, an extra; import it only to read a store.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, ObjectStore

from sfseg.errors import RemoteError, StackError
from sfseg.io.chunks import COMPRESSORS, refuse_bomb_chunk
from sfseg.io.guards import SMALL_BYTES, require_member
from sfseg.io.objects import Objects
from sfseg.io.remote_errors import explain_remote
from sfseg.io.zarr import codecs
from sfseg.io.zarr.places import METADATA

_ENTRY = struct.Struct("<QQ")
"""An entry of a shard's index: first byte and size of a chunk in the file."""

_LEFT_OUT = 2**64 - 1
"""The first byte of a chunk that was never written; it has the fill value."""

_INDEX_CODECS = (["bytes"], ["bytes", "crc32c"])
_SUM_BYTES = 4


class _Shards(NamedTuple):
    """How chunks lie in the files of an array: how many in one, and where the index is."""

    chunks: int
    index_first: bool
    sum_bytes: int

    @property
    def index_bytes(self) -> int:
        """Size of the index: the places of the chunks and perhaps a checksum."""
        return self.chunks * _ENTRY.size + self.sum_bytes

    def is_index(self, request: Any) -> bool:
        """Tell whether a request for a part of a file is for the index."""
        if self.index_first:
            return bool(request == RangeByteRequest(0, self.index_bytes))
        return isinstance(request, SuffixByteRequest)

    def split(self, data: bytes) -> list[bytes]:
        """Split a file into chunks: those before or after the index, at the places it lists."""
        size = self.chunks * _ENTRY.size  # of the index without its checksum
        index = data[:size] if self.index_first else data[-self.index_bytes :][:size]
        places = _ENTRY.iter_unpack(index)
        return [data[at : at + length] for at, length in places if at != _LEFT_OUT]


class _Guard:
    """Checks chunks as they are read: they are refused before they unpack to far too much."""

    _name: str
    _compressor: str | None = None
    _shards: _Shards | None = None
    _chunk_bytes = 0

    def require_safe(self, array: Any) -> None:
        """Refuse an array that runs code or fills the memory; check its chunks from now on.

        Parameters
        ----------
        array : zarr.Array
            The array at the root of this store.

        Raises
        ------
        StackError
            If its codecs are not known to be safe.
        """
        metadata: Mapping[str, Any] = array.metadata.to_dict()
        of_format_2 = [*(metadata.get("filters") or ()), metadata.get("compressor")]
        found = metadata.get("codecs") or [codec for codec in of_format_2 if codec]
        ratio = codecs.expansion_ratio(self._name, found)
        # A shard is a file of many chunks; the codecs of the chunks are nested in the sharding's.
        if found and codecs.name(found[-1]) == codecs.SHARDING:
            inner = found[-1]["configuration"]
            found = inner["codecs"]
            ratio *= codecs.expansion_ratio(self._name, found, nested=True)
            self._shards = self._shards_of(array, inner)
        # the unpacked size that the compressor may reach, before the filters make it larger
        self._chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize // ratio
        self._compressor = next((n for n in map(codecs.name, found) if n in COMPRESSORS), None)

    def _shards_of(self, array: Any, configuration: Mapping[str, Any]) -> _Shards:
        """Read how chunks lie in files; refuse an unknown or a very large index."""
        names = [str(codec["name"]) for codec in configuration["index_codecs"]]
        place = configuration["index_location"]
        shards = _Shards(
            math.prod(array.shards) // math.prod(array.chunks),
            getattr(place, "value", place) == "start",
            _SUM_BYTES * (len(names) - 1),
        )
        if names not in _INDEX_CODECS or shards.index_bytes > SMALL_BYTES:
            raise StackError(
                f"{self._name}: the index of {shards.chunks} chunks in a file, stored as "
                f"{', '.join(names)}, is not known to be safe",
                hint="store it with fewer chunks in a file and the default index",
            )
        return shards

    def check(self, key: str, value: Buffer | None, byte_range: Any) -> None:
        """Refuse a chunk, or a part of a shard, that would fill the memory; raises StackError."""
        if value is not None and self._compressor and Path(key).name not in METADATA:
            for chunk in self._chunks(value.to_bytes(), byte_range):
                refuse_bomb_chunk(self._name, self._compressor, chunk, self._chunk_bytes)

    def _chunks(self, data: bytes, request: Any) -> list[bytes]:
        """Split the data into chunks; the index of a shard is not one."""
        if self._shards is None:
            return [data]
        if request is None:
            return self._shards.split(data)
        return [] if self._shards.is_index(request) else [data]


class GuardedStore(_Guard, LocalStore):  # type: ignore[misc, unused-ignore]
    """A folder read for one node, a group or an array.

    Parameters
    ----------
    root : Path
        The folder of the node.
    within : Path
        The folder of the whole store, which no link may leave.
    name : str
        The store, for messages.
    """

    def __init__(self, root: Path, within: Path, name: str) -> None:
        super().__init__(root, read_only=True)
        self._within, self._name = within.resolve(), name

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Buffer | None:
        """Read a file or a part of it; raises StackError where that is not safe."""
        if not self._is_inside(self.root / key):
            return None
        value = await super().get(key, prototype, byte_range)
        self.check(key, value, byte_range)
        return value

    def _is_inside(self, path: Path) -> bool:
        """Tell whether there is such a file; refuse a pipe, or a link that leads out."""
        if path.is_dir() or not path.exists():
            return False
        require_member(self._name, path, self._within)
        return True


class GuardedObjects(_Guard, ObjectStore):  # type: ignore[misc, type-arg, unused-ignore]
    """Objects read for one node, a group or an array.

    Parameters
    ----------
    objects : Objects
        Those of the node.
    name : str
        The store, for messages.
    """

    def __init__(self, objects: Objects, name: str) -> None:
        super().__init__(objects.store, read_only=True)
        self._objects, self._name = objects, name

    @property
    def supports_listing(self) -> bool:
        """Tell whether the members of a group can be found."""
        return self._objects.can_list

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Buffer | None:
        """Read an object or a part of it; raises StackError where that is not safe.

        Raises
        ------
        RemoteError
            If the server does not answer, or does not permit it. Where it does not say which
            objects there are, it does not permit to read missing metadata, either.
        """
        try:
            with explain_remote(self._objects.path):
                value = await super().get(key, prototype, byte_range)
        except RemoteError as error:
            if error.is_denied and Path(key).name in METADATA:
                return None
            raise
        self.check(key, value, byte_range)
        return value
