"""OME-Zarr out: metadata as the specification has them, a pyramid, files that are whole."""

import json
import math
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np
import pytest

from sfseg.errors import MissingExtraError
from sfseg.io.formats import create_canvas, create_shared, reopen_canvas, writing_ticket
from sfseg.io.open import open_stack
from sfseg.system import files

zarr = pytest.importorskip("zarr")
zarr_out = pytest.importorskip("sfseg.io.zarr.writer")

SHAPE = (2, 37, 70)
VOXEL = (50.0, 4.6, 4.0)


@pytest.fixture
def small(monkeypatch):
    """Make files of 16x16 bytes in chunks of 8x8, so that small stacks have many."""
    monkeypatch.setattr(zarr_out, "_CHUNK_PX", 8)
    monkeypatch.setattr(zarr_out, "_SHARD_BYTES", 256)
    monkeypatch.setattr(zarr_out, "_SMALLEST_PX", 8)


def noise(shape, dtype):
    return (np.random.default_rng(0).random(shape) * 250).astype(dtype)


def filled(part, pixels, **options):
    """Make a canvas with all pixels put, not finished yet."""
    canvas = create_canvas(part, "a b.zarr", pixels.shape, pixels.dtype, **options)
    for index, section in enumerate(pixels):
        canvas.put(index, slice(0, section.shape[0]), slice(0, section.shape[1]), section)
    return canvas


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def require_ome_zarr_05(folder):
    """Check an image as https://ngff.openmicroscopy.org/0.5/ says; give its multiscale."""
    node = json.loads((folder / "zarr.json").read_text())
    assert (node["zarr_format"], node["node_type"]) == (3, "group")
    ome = node["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    axes = image["axes"]
    assert [axis["name"] for axis in axes] == ["z", "y", "x"]
    assert {axis["type"] for axis in axes} == {"space"}
    assert {axis.get("unit", "nanometer") for axis in axes} == {"nanometer"}
    sizes = []
    for dataset in image["datasets"]:
        scale, *rest = dataset["coordinateTransformations"]
        assert scale["type"] == "scale"
        assert [one["type"] for one in rest] in ([], ["translation"])
        for one in (scale, *rest):
            numbers = one[one["type"]]
            assert len(numbers) == len(axes)
            assert all(isinstance(number, float) for number in numbers)
        array = json.loads((folder / dataset["path"] / "zarr.json").read_text())
        assert (array["zarr_format"], array["node_type"]) == (3, "array")
        assert array["dimension_names"] == ["z", "y", "x"]
        sizes.append(math.prod(array["shape"]))
    assert all(finer > coarser for finer, coarser in pairwise(sizes))  # the largest comes first
    return image


def read_level(folder, level):
    return zarr.open_array(folder / str(level), mode="r")[:]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1), (3, 9, 8), (1, 3, 700)])
def test_zarr_reads_what_was_put(tmp_path, dtype, shape):
    pixels = noise(shape, dtype)
    filled(tmp_path / "part", pixels).finish()
    found = read_level(tmp_path / "part", 0)
    assert (found == pixels).all()
    assert found.dtype == pixels.dtype
    assert len(require_ome_zarr_05(tmp_path / "part")["datasets"]) == 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("voxel", "scale", "units"),
    [
        (VOXEL, [50.0, 4.6, 4.0], "zyx"),
        ((math.nan, 4.6, 4.0), [1.0, 4.6, 4.0], "yx"),
        (None, [1.0, 1.0, 1.0], ""),
    ],
)
def test_the_metadata_have_the_voxel_size_where_it_is_known(tmp_path, voxel, scale, units):
    pixels = noise((1, 9, 17), "uint8")
    filled(tmp_path / "part", pixels, voxel_size_nm=voxel, multiscale=True).finish()
    image = require_ome_zarr_05(tmp_path / "part")
    assert image["name"] == "a b"
    assert image["type"] == "mean"
    assert "".join(axis["name"] for axis in image["axes"] if "unit" in axis) == units
    z, y, x = scale
    assert [dataset["coordinateTransformations"] for dataset in image["datasets"]] == [
        [{"type": "scale", "scale": [z, y, x]}],
        [
            {"type": "scale", "scale": [z, 2 * y, 2 * x]},
            {"type": "translation", "translation": [0.0, y / 2, x / 2]},
        ],
        [
            {"type": "scale", "scale": [z, 4 * y, 4 * x]},
            {"type": "translation", "translation": [0.0, 1.5 * y, 1.5 * x]},
        ],
    ]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 64, 64), (1, 9, 1)])
def test_each_level_is_the_mean_of_the_one_before(tmp_path, dtype, shape):
    pixels = noise(shape, dtype)
    filled(tmp_path / "part", pixels, multiscale=True).finish()
    levels = require_ome_zarr_05(tmp_path / "part")["datasets"]
    assert len(levels) == 1 + math.ceil(math.log2(max(shape[1:]) / 8))
    for number in range(1, len(levels)):
        finer, found = (read_level(tmp_path / "part", n) for n in (number - 1, number))
        assert found.shape == (shape[0], *(math.ceil(length / 2) for length in finer.shape[1:]))
        for z, y, x in np.ndindex(found.shape):
            mean = finer[z, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(dtype=float)
            expected = mean if dtype == "float32" else math.floor(mean + 0.5)
            assert found[z, y, x] == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("small")
def test_the_numbers_of_segments_are_never_averaged(tmp_path):
    pixels = noise(SHAPE, "int32") * 1_000_000
    filled(tmp_path / "part", pixels, multiscale=True).finish()
    image = require_ome_zarr_05(tmp_path / "part")
    assert image["type"] == "subsampling"
    for level, dataset in enumerate(image["datasets"]):
        assert len(dataset["coordinateTransformations"]) == 1
        step = 2**level
        assert (read_level(tmp_path / "part", level) == pixels[:, ::step, ::step]).all()


@pytest.mark.usefixtures("small")
def test_means_do_not_overflow(tmp_path):
    pixels = np.full((1, 16, 17), 65535, "uint16")
    filled(tmp_path / "part", pixels, multiscale=True).finish()
    assert (read_level(tmp_path / "part", 1) == 65535).all()


def test_a_pixel_that_was_never_put_is_no_probability(tmp_path):
    with create_canvas(tmp_path / "part", "a.zarr", (1, 5, 6), "float32") as canvas:
        canvas.put(0, slice(0, 2), slice(0, 6), np.ones((2, 6), "float32"))
        canvas.finish()
    found = read_level(tmp_path / "part", 0)[0]
    assert (found[:2] == 1).all()
    assert np.isnan(found[2:]).all()


class Killed(BaseException):
    """What no one catches."""


@pytest.mark.usefixtures("small")
def test_a_run_killed_at_any_flush_is_repeated_to_the_same_bytes(tmp_path, monkeypatch):
    pixels = noise((1, 20, 33), "uint8")
    filled(tmp_path / "whole", pixels, multiscale=True).finish()
    expected = bytes_of(tmp_path / "whole")
    sync, part = files.sync, tmp_path / "part"
    create_canvas(part, "a b.zarr", pixels.shape, "uint8", multiscale=True).close()
    left = 0

    def killing(path):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        sync(path)

    def run():
        with reopen_canvas(part, "a b.zarr", pixels.shape, "uint8") as canvas:
            for y in range(0, 20, 10):
                rows = slice(y, y + 10)
                canvas.put(0, rows, slice(0, 33), pixels[0, rows])
            canvas.finish()

    monkeypatch.setattr(files, "sync", killing)
    for kills in range(1000):
        left = kills
        try:
            run()
        except Killed:
            continue
        break
    assert kills > 10
    assert bytes_of(part) == expected


@pytest.mark.usefixtures("small")
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    sync, flushed = files.sync, {}
    part = tmp_path / "part"

    def recording(path):
        flushed[path.stat().st_ino] = path.name
        sync(path)

    monkeypatch.setattr(files, "sync", recording)
    canvas = filled(part, noise(SHAPE, "uint8"), multiscale=True)
    for run in (canvas.flush, canvas.finish):
        run()
        for path in [part, *part.rglob("*")]:
            name = flushed[path.stat().st_ino]
            assert name.endswith(".part") if path.is_file() else name == path.name


def put_sections(part, pixels, ticket, indices):
    """Put whole sections as one of many writers does."""
    with reopen_canvas(part, "a b.zarr", pixels.shape, pixels.dtype, ticket=ticket) as canvas:
        for index in indices:
            canvas.put(index, slice(0, pixels.shape[1]), slice(0, pixels.shape[2]), pixels[index])


@pytest.mark.usefixtures("small")
def test_many_writers_make_and_fill_one_store(tmp_path):
    pixels = noise((6, 37, 70), "uint8")
    filled(tmp_path / "whole", pixels, multiscale=True).finish()
    part = tmp_path / "part"

    def write(number):
        create_shared(part, "a b.zarr", pixels.shape, "uint8", multiscale=True)
        with writing_ticket(part, "a b.zarr") as ticket:
            put_sections(part, pixels, ticket, {0, 1, number, (number + 1) % 6})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with reopen_canvas(part, "a b.zarr", pixels.shape, "uint8") as canvas:
        canvas.finish()
    assert bytes_of(part) == bytes_of(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "part"}


@pytest.mark.usefixtures("small")
def test_a_writer_that_comes_late_changes_nothing(tmp_path):
    part, pixels = tmp_path / "part", noise(SHAPE, "uint8")
    create_shared(part, "a b.zarr", SHAPE, "uint8")
    with writing_ticket(part, "a b.zarr") as ticket:
        put_sections(part, pixels, ticket, [0])
    before = bytes_of(part)
    with pytest.raises(FileNotFoundError):
        put_sections(part, pixels, ticket, [1])
    assert bytes_of(part) == before


def test_memory_grows_with_shards_and_not_with_sections(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_out, "_CHUNK_PX", 64)
    monkeypatch.setattr(zarr_out, "_SHARD_BYTES", 2**16)  # 128x128 of float32
    pixels = noise((1, 1024, 1024), "float32")
    with create_canvas(tmp_path / "part", "a.zarr", pixels.shape, "float32", multiscale=True) as c:
        tracemalloc.start()
        try:
            c.put(0, slice(0, 1024), slice(0, 1024), pixels[0])
            c.finish()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < pixels.nbytes / 4


def test_shards_are_whole_chunks_that_hold_the_section_or_16_mib():
    for dtype, (height, width) in product(
        ("uint8", "uint16", "float32"), ((1, 1), (500, 513), (5000, 100), (10**5, 10**5))
    ):
        chunks, shards = zarr_out._grid((7, height, width), np.dtype(dtype))
        assert (chunks[0], shards[0]) == (1, 1)
        for length, chunk, shard in zip((height, width), chunks[1:], shards[1:], strict=True):
            assert chunk == min(length, 512)
            assert shard % chunk == 0
            assert shard < length + chunk
        assert math.prod(shards) * np.dtype(dtype).itemsize <= 2**24


def test_without_zarr_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.delitem(sys.modules, "sfseg.io.zarr.writer")
    monkeypatch.delattr("sfseg.io.zarr.writer")
    with pytest.raises(MissingExtraError, match=r"a\.zarr: the extra 'zarr' is not installed"):
        create_canvas(tmp_path / "part", "a.zarr", (1, 5, 6), "uint8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 0), ("int32", 0), ("float32", np.nan)])
def test_a_blank_section_is_stored_and_not_taken_for_a_missing_one(tmp_path, dtype, value):
    """Also in a store that is opened again, as after a stop; missing chunks have this value."""
    pixels = np.full((2, 16, 20), value, dtype)
    part = tmp_path / "out.zarr"
    with filled(part, pixels) as canvas:
        canvas.finish()
    stored = {path.relative_to(part / "0" / "c").as_posix() for path in part.glob("0/c/*/*/*")}
    assert stored == {"0/0/0", "1/0/0"}
    if dtype != "float32":  # NaN is refused
        with open_stack(part) as stack:
            np.testing.assert_array_equal(stack.read(), pixels)
