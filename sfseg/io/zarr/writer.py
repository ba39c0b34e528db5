"""Write OME-Zarr 0.5: sharded arrays of sections, with a pyramid on request.

This module needs zarr, an extra; import it only for a name in .zarr.
"""

import asyncio
import contextlib
import math
import secrets
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, ObjectStore

from sfseg.io.canvas import Canvas
from sfseg.io.objects import DRAFT, Objects
from sfseg.io.remote_errors import explain_remote
from sfseg.system import files
from sfseg.system.remote import RemotePath
from sfseg.types import AnyArray, Shape, VoxelSize

_ROOT = "zarr.json"
_CHUNK_PX = 512
_SHARD_BYTES = 2**24
"""Most bytes of pixels in a file: a file is rewritten as a whole when a part of it is put."""

_SMALLEST_PX = 512
"""A level with sections of this size is the last one: a viewer loads it at once."""


class ZarrCanvas(Canvas):
    """A store made by `make`; see `sfseg.io.canvas.Canvas`.

    Parameters
    ----------
    part, name, shape, dtype
        See `sfseg.io.canvas.Canvas`.
    ticket : str, optional
        That of `writing_ticket`, for one of many writers. Each of them may only put whole shards,
        or be the only one that puts a shard. Without a ticket, nobody else may write.

    Raises
    ------
    StackError
        If the store has another layout.

    Notes
    -----
    Rectangles that are whole shards are the fastest. For others a file is read, changed and written
    again. Both take the memory of one shard besides the pixels.
    """

    def __init__(
        self, part: Path, name: str, shape: Shape, dtype: np.dtype[Any], ticket: str | None = None
    ) -> None:
        super().__init__(part, name, shape, dtype)
        self._store = _open_store(part, ticket)
        if ticket is None:
            self._store.sweep()
        group = zarr.open_group(self._store, mode="r+", zarr_format=3)
        ome: Any = group.attrs["ome"]
        # A blank section is not a missing one. No file says so, and each opening has to.
        with zarr.config.set({"array.write_empty_chunks": True}):
            self._levels: list[Any] = [
                group[level["path"]] for level in ome["multiscales"][0]["datasets"]
            ]
        self.require_found(self._levels[0].shape, self._levels[0].dtype)

    def _write(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write shard by shard: zarr itself would hold all shards in memory at once."""
        full = self._levels[0]
        for y, x in product(_spans(rows, full.shards[1]), _spans(columns, full.shards[2])):
            full[section, y, x] = pixels[_moved(y, rows.start), _moved(x, columns.start)]

    def flush(self) -> None:
        """Flush to the disk: what was put so far survives a power cut."""
        self._store.sync()

    def finish(self) -> None:
        """Make the pyramid of each section, then flush and close."""
        for section in range(self.shape[0]):
            self.add_levels(section)
        super().finish()

    def add_levels(self, section: int) -> None:
        """Make each level of a section from the one before."""
        for finer, coarser in pairwise(self._levels):
            _, height, width = coarser.shape
            rows = list(_spans(slice(0, height), coarser.shards[1]))
            columns = list(_spans(slice(0, width), coarser.shards[2]))
            for y, x in product(rows, columns):
                coarser[section, y, x] = _coarse(finer, section, y, x)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class _DurableStore(LocalStore):
    """A folder whose files are whole and on the disk, or not there, at any moment.

    zarr puts a file in place by renaming it but does not flush it before: after a power cut a
    shard may be empty that had pixels of an earlier flush in it.

    A file has another name until it is whole. With a ticket, it lies in the folder of the ticket
    so long; without that folder, nothing can be written.
    """

    def __init__(
        self, root: Path | str, *, read_only: bool = False, ticket: str | None = None
    ) -> None:
        super().__init__(root, read_only=read_only)
        self._drafts = self.root / (ticket or "")
        self._touched: set[Path] = set()

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file under another name, flush it, and rename it."""
        await asyncio.to_thread(self._place, key, value)

    def _place(self, key: str, value: Buffer) -> None:
        # No two writers of one shard, nor two tries of one of them, share a name.
        path = self.root / key
        part = self._drafts / f"{key.replace('/', '.')}.{secrets.token_hex(4)}.part"
        part.write_bytes(value.as_numpy_array().data)
        files.sync(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self._touched.update(folder for folder in path.parents if folder.is_relative_to(self.root))

    def sweep(self) -> None:
        """Remove the unfinished files and the tickets of a killed run."""
        remove_drafts(self.root)

    def sync(self) -> None:
        """Flush the folders of the files that were written."""
        for folder in self._touched:
            files.sync(folder)
        self._touched.clear()

    def sync_above(self) -> None:
        """Flush the folder that the store is in."""
        files.sync(self.root.parent)


class _BucketStore(ObjectStore):  # type: ignore[misc, type-arg, unused-ignore]
    """Objects in a bucket: each is whole, or not there, and lasts once it is written.

    The metadata of the root have the key `DRAFT` until the store is whole. So nobody
    takes a store that is not whole for one that is.
    """

    def __init__(self, part: RemotePath) -> None:
        self._objects = Objects(part)
        super().__init__(self._objects.store)

    async def get(self, key: str, *arguments: Any, **options: Any) -> Buffer | None:
        """Read an object."""
        with explain_remote(self._objects.path):
            return await super().get(DRAFT if key == _ROOT else key, *arguments, **options)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        with explain_remote(self._objects.path):
            await super().set(DRAFT if key == _ROOT else key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless it is there: zarr does so for the groups above an array."""
        if key != _ROOT:
            with explain_remote(self._objects.path):
                await super().set_if_not_exists(key, value)

    def sweep(self) -> None:
        """Do nothing: a killed run leaves no half objects."""

    def sync(self) -> None:
        """Do nothing: an object is flushed when it is written."""

    def sync_above(self) -> None:
        """Do nothing, as `sync`."""


def _open_store(part: Path, ticket: str | None = None) -> "_DurableStore | _BucketStore":
    """Open the store of a folder or of a bucket."""
    if isinstance(part, RemotePath):
        return _BucketStore(part)
    return _DurableStore(part, ticket=ticket)


def make(
    part: Path,
    name: str,
    shape: Shape,
    dtype: np.dtype[Any],
    voxel_size_nm: VoxelSize | None,
    *,
    multiscale: bool,
) -> None:
    """Make a store of full size without pixels.

    Parameters
    ----------
    part : Path
        The folder to make.
    name : str
        Its final name.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        uint8, uint16, float32, int32 or uint32.
    voxel_size_nm : tuple of float or None
        nm along (z, y, x); NaN for a length that is not known.
    multiscale : bool
        Whether levels of half the rows and columns follow the full one, until one has at most 512.

    Notes
    -----
    The metadata are those of OME-Zarr 0.5, https://ngff.openmicroscopy.org/0.5/. A pixel that was
    never put is NaN among floats and 0 among integers.
    """
    levels = [shape]
    while multiscale and max(levels[-1][1:]) > _SMALLEST_PX:
        depth, height, width = levels[-1]
        levels.append((depth, math.ceil(height / 2), math.ceil(width / 2)))
    store = _open_store(part)
    ome = _multiscales(Path(name).stem, len(levels), voxel_size_nm, mean=_is_mean(dtype))
    group = zarr.create_group(store, zarr_format=3, attributes={"ome": ome})
    for number, level in enumerate(levels):
        chunks, shards = _grid(level, dtype)
        group.create_array(
            str(number),
            shape=level,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            compressors=ZstdCodec(level=1),  # higher levels do not make noisy pixels smaller
            fill_value=math.nan if dtype.kind == "f" else 0,
            dimension_names=("z", "y", "x"),
        )
    store.sync()
    store.sync_above()


def make_shared(
    part: Path,
    name: str,
    shape: Shape,
    dtype: np.dtype[Any],
    voxel_size_nm: VoxelSize | None,
    *,
    multiscale: bool,
) -> None:
    """Make a store as `make` does, unless it is there; several processes may do so at once.

    A kill in the middle leaves a small folder ``<part>.<8 letters>``, and no half store.
    """
    if part.exists():
        return
    own = files.sibling(part, secrets.token_hex(4))
    try:
        make(own, name, shape, dtype, voxel_size_nm, multiscale=multiscale)
        own.rename(part)
        files.sync(part.parent)
    except OSError:
        if not part.exists():  # else another process was faster
            raise
    finally:
        files.remove(own)


@contextlib.contextmanager
def writing_ticket(part: Path) -> Iterator[str]:
    """Let several processes write to a store, each with a `ZarrCanvas` of this ticket.

    After the block none of them can write to it, even one that nobody can reach any more.

    Yields
    ------
    str
        The ticket: the name of a folder in the store, for files that are not whole yet.
    """
    folder = part / f"{secrets.token_hex(8)}.part"
    folder.mkdir()
    try:
        yield folder.name
    finally:
        void = folder.with_suffix(".void.part")  # from now on a file in it gets no name any more
        with contextlib.suppress(FileNotFoundError):
            folder.rename(void)
        files.remove(void)


def remove_drafts(part: Path) -> None:
    """Remove the unfinished files and the tickets of killed writers from a store."""
    for draft in part.glob("*.part"):
        files.remove(draft)


def section_folders(part: Path, section: int) -> list[Path]:
    """List the folders with the files of a section, from 0, in a store: one for each level."""
    return sorted(part.glob(f"*/c/{section}"))


def shard_px(shape: Shape, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the rows and columns of the shards of a store."""
    _, rows, columns = _grid(shape, dtype)[1]
    return rows, columns


def _grid(shape: Shape, dtype: np.dtype[Any]) -> tuple[Shape, Shape]:
    """Return the shapes of chunks and of shards, which are whole chunks of one section."""
    edge = math.isqrt(_SHARD_BYTES // dtype.itemsize) // _CHUNK_PX * _CHUNK_PX
    height, width = (min(_CHUNK_PX, length) for length in shape[1:])
    rows, columns = (
        min(edge // chunk, math.ceil(length / chunk)) * chunk
        for length, chunk in zip(shape[1:], (height, width), strict=True)
    )
    return (1, height, width), (1, rows, columns)


def _multiscales(name: str, levels: int, voxel: VoxelSize | None, *, mean: bool) -> dict[str, Any]:
    """Write the metadata of an image, in nm where the voxel size is known."""
    lengths = dict(zip("zyx", voxel or (math.nan,) * 3, strict=True))
    known = {axis for axis, length in lengths.items() if math.isfinite(length)}
    axes = [
        {"name": axis, "type": "space"} | ({"unit": "nanometer"} if axis in known else {})
        for axis in lengths
    ]
    z, y, x = (length if axis in known else 1.0 for axis, length in lengths.items())
    datasets = []
    for level in range(levels):
        factor = 2**level
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [z, y * factor, x * factor]}]
        if level and mean:  # the centre of averaged pixels is not the centre of the first
            shift = (factor - 1) / 2
            transforms.append({"type": "translation", "translation": [0.0, y * shift, x * shift]})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    image = {"name": name, "axes": axes, "datasets": datasets}
    if levels > 1:
        image["type"] = "mean" if mean else "subsampling"
    return {"version": "0.5", "multiscales": [image]}


def _coarse(finer: Any, section: int, rows: slice, columns: slice) -> AnyArray:
    """Make a shard of a level; read about one shard of the finer level at a time."""
    shard = np.empty((rows.stop - rows.start, columns.stop - columns.start), finer.dtype)
    half_rows, half_columns = (math.ceil(length / 2) for length in finer.shards[1:])
    for y, x in product(_spans(rows, half_rows), _spans(columns, half_columns)):
        pixels = finer[section, 2 * y.start : 2 * y.stop, 2 * x.start : 2 * x.stop]
        shard[_moved(y, rows.start), _moved(x, columns.start)] = _halved(pixels)
    return shard


def _is_mean(dtype: np.dtype[Any]) -> bool:
    """Tell whether pixels may be averaged; the ids of segments may not."""
    return dtype not in (np.int32, np.uint32)


def _halved(pixels: AnyArray) -> AnyArray:
    """Halve rows and columns: mean of 2x2, rounded half up; for segments the top left pixel."""
    if not _is_mean(pixels.dtype):
        return pixels[::2, ::2]
    height, width = pixels.shape
    pixels = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    total = np.zeros(
        (math.ceil(height / 2), math.ceil(width / 2)),
        np.float32 if pixels.dtype.kind == "f" else np.uint32,
    )
    # add the four pixels of each 2x2 block as four strided views; odd edges were repeated
    for row, column in product((0, 1), (0, 1)):
        total += pixels[row::2, column::2]
    if pixels.dtype.kind == "f":
        return total / 4
    total += 2
    return (total // 4).astype(pixels.dtype)


def _spans(whole: slice, step: int) -> Iterator[slice]:
    """Cut a slice at the multiples of a step."""
    start = whole.start
    while start < whole.stop:
        stop = min((start // step + 1) * step, whole.stop)
        yield slice(start, stop)
        start = stop


def _moved(span: slice, by: int) -> slice:
    """Shift a slice back by an offset."""
    return slice(span.start - by, span.stop - by)
