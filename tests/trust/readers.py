"""Mutated files of each format but TIFF: each is read right or refused, soon, and leaves nothing.

A *wrong success* is one that is read although

* the stack is not as large as the file itself declares, to a plain look at its header;
* reading it again, with other rubbish in fresh memory, or by windows, gives other pixels;
* it is a PNG or packed with gzip, which carry sums, and other pixels come out than went in;
* it was not changed at all, and other pixels come out than went in.
"""

import contextlib
import ctypes
import functools
import gzip
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import h5py
import mrcfile
import nibabel
import nrrd
import numpy as np
import zarr
from PIL import Image

from sfseg.errors import OptionError, SfsegError, StackError
from sfseg.io import open_stack
from tests.io.writers import PACK, dm, n5, precomputed
from tests.trust import cases
from tests.trust.mutations import NASTY, mutate
from tests.trust.rows import Row
from tests.trust.tiffs import require_windows

SHAPE = (3, 22, 27)
_M_PERTURB = -6
_MOST_SECTIONS = 500
"""A Zarr array may declare far more than it holds; the rest is its fill value, and takes time."""

_ORDINARY: dict[str, Any] = {"chunks": (1, 16, 16)}

PICTURES: dict[str, dict[str, Any]] = {
    "png": {},
    "png of 16 bits": {},
    "png of colours": {},
    "jpg": {"quality": 90},
    "jpg progressive": {"progressive": True, "quality": 60},
    "jpg of colours": {"restart_marker_rows": 1},
}
DATASETS: dict[str, dict[str, Any]] = {
    "h5 in one piece": {},
    "h5 chunks": _ORDINARY,
    "h5 gzip": _ORDINARY | {"compression": "gzip", "shuffle": True},
    "h5 lzf": _ORDINARY | {"compression": "lzf"},
    "h5 sums": _ORDINARY | {"compression": "gzip", "fletcher32": True},
    "h5 latest": _ORDINARY | {"compression": "gzip", "maxshape": (None, None, None)},
}
STORES: dict[str, dict[str, Any]] = {
    "zarr 2": {"zarr_format": 2},
    "zarr 2 plain": {"zarr_format": 2, "compressors": None},
    "zarr 3": {"zarr_format": 3},
    "zarr 3 gzip": {"zarr_format": 3, "compressors": zarr.codecs.GzipCodec()},
    "zarr 3 blosc": {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec()},
    "zarr 3 shards": {"zarr_format": 3, "shards": (1, 32, 32)},
    "zarr 3 ome": {"zarr_format": 3},
}
FLAT = (
    *("mrc", "mrc big-endian", "mrc.gz", "npy", "npy fortran", "nrrd", "nrrd gzip"),
    *("nii", "nii.gz", "dm3", "dm4"),
)
CHUNKED = (*(f"n5 {kind}" for kind in PACK), "em raw", "em gzip", "em jpeg")
"""N5 in each compression, and precomputed volumes."""

KINDS = (*PICTURES, *DATASETS, *STORES, *FLAT, *CHUNKED)


def noise(kind: str) -> np.ndarray:
    """Give pixels of the shape and the type that a kind of files has."""
    if kind in PICTURES:
        colours = (3,) if "colours" in kind else ()
        dtype, shape = "u2" if "16" in kind else "u1", (*SHAPE[1:], *colours)
    else:
        dtype, shape = "u1" if "jpeg" in kind else "u2", SHAPE
    return np.random.default_rng(len(kind)).integers(0, 250, shape).astype(dtype)


@functools.cache
def sound(kind: str) -> dict[str, bytes]:
    """Make a good file or store of a kind: the bytes of its files by their names."""
    if kind in STORES:
        return _store(kind)
    if kind in FLAT:
        return {f"a.{kind.split(maxsplit=1)[0]}": _flat(kind)}
    if kind in CHUNKED:
        return _chunked(kind)
    file = io.BytesIO()
    if kind in PICTURES:
        form = "PNG" if kind.startswith("png") else "JPEG"
        Image.fromarray(noise(kind)).save(file, form, **PICTURES[kind])
    else:
        with h5py.File(file, "w", libver="latest" if "latest" in kind else None) as found:
            found.create_dataset("volumes/raw", data=noise(kind), **DATASETS[kind])
            found["volumes/raw"].attrs["resolution"] = (50.0, 4.0, 4.0)
    return {f"a.{kind.split(maxsplit=1)[0]}": file.getvalue()}


def _flat(kind: str) -> bytes:
    """Make a file whose pixels lie in one piece."""
    pixels, (suffix, *words) = noise(kind), kind.split(maxsplit=1)
    if suffix.startswith("dm"):
        return dm(pixels, version=int(suffix[-1]))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(name) / f"a.{suffix}"
        if suffix.startswith("mrc"):
            order = ">" if words else "<"
            path = path.with_name("a.mrc")
            mrcfile.write(path, pixels.astype(f"{order}u2"), voxel_size=40)
        elif suffix == "npy":
            np.save(path, np.asarray(pixels, order="F" if words else "C"))
        elif suffix == "nrrd":
            nrrd.write(str(path), pixels.T, {"encoding": "gzip" if words else "raw"})
        else:
            nibabel.save(nibabel.Nifti1Image(pixels.T, np.eye(4)), path)
        data = path.read_bytes()
        return gzip.compress(data) if suffix == "mrc.gz" else data


def _chunked(kind: str) -> dict[str, bytes]:
    """Make an N5 store or a precomputed volume on disk, and read its files."""
    suffix, how = kind.split(maxsplit=1)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / f"a.{suffix}"
        if suffix == "n5":
            n5(store, noise(kind), how, path="s0")
        else:
            encoding = "jpeg" if how == "jpeg" else "raw"
            precomputed(store, noise(kind), encoding=encoding, packed=how == "gzip")
        return _files(Path(name))


def _files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _store(kind: str) -> dict[str, bytes]:
    """Make a store on disk, and read its files."""
    pixels, options = noise(kind), {**STORES[kind]}
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(name, mode="w", zarr_format=options.pop("zarr_format"))
        array = group.create_array("s0", shape=SHAPE, dtype="u2", **_ORDINARY, **options)
        array[...] = pixels
        if "ome" in kind:
            level = {
                "path": "s0",
                "coordinateTransformations": [{"type": "scale", "scale": [2] * 3}],
            }
            axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
            images = [{"axes": axes, "datasets": [level]}]
            group.attrs["ome"] = {"version": "0.5", "multiscales": images}
        return {f"a.zarr/{path}": data for path, data in _files(Path(name)).items()}


def write(kind: str, files: dict[str, bytes], folder: Path) -> str:
    """Write files and give the source that they are."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    is_plain = kind in (*PICTURES, *FLAT) or "ome" in kind or kind.startswith("em")
    inside = "" if is_plain else ":/volumes/raw" if kind in DATASETS else ":/s0"
    return f"{folder}/a.{kind.split(maxsplit=1)[0]}{inside}"


def _edit(value: Any, draw: Random) -> Any:
    """Change one thing somewhere in what JSON held."""
    strange = (*NASTY, -1, 0.5, None, "", "../..", "pickle", [], {}, [[]], True, "gzip", "lzma")
    if isinstance(value, dict | list) and value and draw.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(keys)
        if draw.random() < 0.1:
            del value[key]
        else:
            value[key] = _edit(value[key], draw)
        return value
    return draw.choice(strange)


def damage(kind: str, draw: Random, folder: Path) -> dict[str, bytes]:
    """Change one of the files of a kind; a store may lose one, or have a link or a pipe there."""
    files = dict(sound(kind))
    name = draw.choice(list(files))
    way = draw.random()
    if name.endswith((".json", ".zarray", ".zattrs", "/info")) and way < 0.7:
        files[name] = json.dumps(_edit(json.loads(files[name]), draw)).encode()
    elif kind in (*STORES, *CHUNKED) and way > 0.9:
        del files[name]
        (folder / name).parent.mkdir(parents=True)
        with contextlib.suppress(FileExistsError):
            draw.choice((os.mkfifo, _link, Path.mkdir, lambda _: None))(folder / name)
    else:
        files[name] = mutate(files[name], draw)
    return files


def _link(path: Path) -> None:
    """Make a link to a file that is not in the store."""
    path.symlink_to(__file__)


def check(index: int, folder: Path, seed: int) -> str:
    """Try one file or store; see `tests.trust.cases.Check`."""
    draw = Random(f"{seed} {index}")
    kind = draw.choice(KINDS)
    changed = index % 40 != 0
    source = write(kind, damage(kind, draw, folder) if changed else sound(kind), folder)
    before = sorted(folder.rglob("*"))
    axes = "YXS" if "colours" in kind else None
    try:
        with _rubbish(0x5A), open_stack(source, axes=axes) as stack:
            shape, some = stack.shape, range(min(len(stack), _MOST_SECTIONS))
            pixels = stack.read(some)
            require_windows(stack, pixels, draw)
        with _rubbish(0xA5), open_stack(source, axes=axes) as stack:
            np.testing.assert_array_equal(stack.read(some), pixels)
    except (StackError, OptionError) as error:  # of options: axes that fit the shape no more
        if not changed:
            raise
        cases.require_clear(error)
        return "refused"
    finally:
        assert sorted(folder.rglob("*")) == before
    _require_right(kind, pixels, shape, source, changed=changed)
    return "read"


@contextlib.contextmanager
def _rubbish(value: int) -> Iterator[None]:
    """Fill memory that is allocated with a value, where the C library can."""
    perturb = getattr(ctypes.CDLL(None), "mallopt", None)
    if perturb is not None:
        perturb(_M_PERTURB, value)
    try:
        yield
    finally:
        if perturb is not None:
            perturb(_M_PERTURB, 0)


def _require_right(
    kind: str, pixels: np.ndarray, shape: tuple[int, ...], source: str, *, changed: bool
) -> None:
    """Compare what was read with what the file declares, and with what went in."""
    if kind in PICTURES:
        with Image.open(source) as picture:
            assert shape == (1, picture.height, picture.width)
    elif kind in DATASETS:
        with h5py.File(source.split(":/", maxsplit=1)[0]) as file:
            assert shape == file["volumes/raw"].shape
    expected = noise(kind)
    if "colours" in kind:
        expected = np.rint(expected.mean(axis=-1)).astype("u1")
    has_sum = kind.startswith("png") or kind in ("mrc.gz", "nii.gz")
    if not kind.endswith("jpeg") and not kind.startswith("jpg") and (not changed or has_sum):
        np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)


def run(count: int, seed: int) -> Row:
    """Try so many files."""
    trial = functools.partial(check, seed=seed)
    return cases.row("mutated files of every other format", trial, count, seed, prepare=prepare)


def prepare() -> None:
    """Let the libraries open in a worker what they keep open to its end: Zarr's loop does."""
    with tempfile.TemporaryDirectory() as name:
        for number, kind in enumerate(KINDS):
            folder = Path(name) / str(number)
            with (
                contextlib.suppress(SfsegError),
                open_stack(write(kind, sound(kind), folder)) as stack,
            ):
                stack.read()
