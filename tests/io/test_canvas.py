"""A canvas: pixels put in any order, after any kill, are the bytes of the whole written at once."""

import contextlib
import errno
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise, product

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg.errors import MissingExtraError, OptionError, StackError
from sfseg.io.formats import create_canvas, reopen_canvas
from sfseg.io.tiff import writer
from sfseg.io.write import write_stack
from sfseg.system import files
from tests.io.files import VOXEL, noise

NAMES = [
    "a.tif",
    pytest.param(
        "a.zarr", marks=pytest.mark.skipif(find_spec("zarr") is None, reason="zarr is an extra")
    ),
]
DTYPES = ["uint8", "uint16", "float32", "int32", "uint32"]
SHAPE = (2, 37, 29)


def tiles(shape, height, width):
    """Cut a stack into rectangles, as (section, rows, columns)."""
    lengths = zip(shape[1:], (height, width), strict=True)
    cuts = [[*range(0, length, step), length] for length, step in lengths]
    spans = [[slice(*pair) for pair in pairwise(cut)] for cut in cuts]
    return list(product(range(shape[0]), *spans))


def put_all(canvas, pixels, order):
    for section, rows, columns in order:
        canvas.put(section, rows, columns, pixels[section, rows, columns])


def bytes_of(path):
    """All names and bytes of a file or a folder."""
    return {
        str(p.relative_to(path)): p.read_bytes() if p.is_file() else None
        for p in [path, *path.rglob("*")]
    }


def written(part, name, pixels):
    """The bytes of a stack put section by section."""
    with create_canvas(part, name, pixels.shape, pixels.dtype, voxel_size_nm=VOXEL) as canvas:
        put_all(canvas, pixels, tiles(pixels.shape, *pixels.shape[1:]))
        canvas.finish()
    return bytes_of(part)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Make files of 16x16 bytes in chunks of 8x8, so that small stacks have many."""
    if find_spec("zarr"):
        from sfseg.io.zarr import writer

        monkeypatch.setattr(writer, "_CHUNK_PX", 8)
        monkeypatch.setattr(writer, "_SHARD_BYTES", 256)
        monkeypatch.setattr(writer, "_SMALLEST_PX", 8)


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_tiles_in_any_order_and_again_give_the_same_bytes(tmp_path, name, data):
    pixels = noise(SHAPE, dtype=data.draw(st.sampled_from(DTYPES)))
    cut = tiles(SHAPE, data.draw(st.integers(3, 40)), data.draw(st.integers(3, 40)))
    order = data.draw(st.permutations(cut)) + data.draw(st.lists(st.sampled_from(cut), max_size=3))
    part = tmp_path / "part"
    expected = written(part, name, pixels)
    with create_canvas(part, name, SHAPE, pixels.dtype, voxel_size_nm=VOXEL) as canvas:
        put_all(canvas, pixels, order)
        canvas.finish()
    assert bytes_of(part) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (3, 5, 1), SHAPE])
def test_a_canvas_is_what_write_stack_writes_and_tifffile_reads(tmp_path, dtype, shape):
    pixels = noise(shape, dtype)
    write_stack(tmp_path / "a.tif", pixels, voxel_size_nm=VOXEL)
    assert written(tmp_path / "part", "a.tif", pixels) == bytes_of(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "part") as tif:
        assert len(tif.pages) == shape[0]
        assert [page.shape for page in tif.pages] == [shape[1:]] * shape[0]
        found = tif.asarray()
        assert (found.reshape(shape) == pixels).all()
        assert found.dtype == np.dtype(dtype)
        assert tif.is_imagej


def test_the_colours_of_cells_reach_to_the_largest_number_of_all_runs(tmp_path):
    cells = np.arange(60, dtype=np.uint32)[::-1].reshape(2, 5, 6) * 100  # the first run has it
    part, rows, columns = tmp_path / "a.part", slice(0, 5), slice(0, 6)
    create_canvas(part, "a.tif", cells.shape, "uint32").close()
    for index, section in enumerate(cells):
        with reopen_canvas(part, "a.tif", cells.shape, "uint32") as canvas:
            canvas.put(index, rows, columns, section)
            canvas.flush()
    write_stack(tmp_path / "whole.tif", cells)
    assert part.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert b"max=+000000005900.000000" in part.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_what_was_put_before_an_interruption_is_there_after_it(tmp_path, name):
    pixels, part = noise(SHAPE), tmp_path / "part"
    order = tiles(SHAPE, 11, 13)
    expected = written(part, name, pixels)
    create_canvas(part, name, SHAPE, "uint8", voxel_size_nm=VOXEL).close()
    for tile in order:  # a run for each tile
        with reopen_canvas(part, name, SHAPE, "uint8") as canvas:
            put_all(canvas, pixels, [tile])
            canvas.flush()
    with reopen_canvas(part, name, SHAPE, "uint8") as canvas:
        canvas.finish()
    assert bytes_of(part) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kill_at", [1, 8])
def test_a_killed_run_is_repeated_to_the_same_bytes(tmp_path, name, kill_at):
    """The child is killed when it has written, but not yet renamed or finished, its nth piece."""
    pixels, part = noise(SHAPE), tmp_path / "part"
    np.save(tmp_path / "pixels.npy", pixels)
    expected = written(part, name, pixels)
    create_canvas(part, name, SHAPE, "uint8", voxel_size_nm=VOXEL).close()
    child = f"""
import os, signal, sys
import numpy as np
from pathlib import Path
from sfseg.io import reopen_canvas
import sfseg.system.files
from sfseg.io.tiff import writer as tiff_out

calls = 0
def kill(*args):
    global calls
    calls += 1
    if calls == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)

part, pixels = Path({str(part)!r}), np.load({str(tmp_path / "pixels.npy")!r})
canvas = reopen_canvas(part, {name!r}, pixels.shape, "uint8")
if {name!r}.endswith(".zarr"):
    sfseg.system.files.sync = kill
else:
    write_at = tiff_out.TiffCanvas._write_at
    def half(self, place, data):
        write_at(self, place, data[: len(data) // 2])
        kill()
        write_at(self, place, data)
    tiff_out.TiffCanvas._write_at = half
for section, y, x in np.ndindex(2, 4, 3):
    rows, columns = slice(y * 10, min(y * 10 + 10, 37)), slice(x * 10, min(x * 10 + 10, 29))
    canvas.put(section, rows, columns, pixels[section, rows, columns])
"""
    killed = subprocess.run([sys.executable, "-c", child], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    with reopen_canvas(part, name, SHAPE, "uint8") as canvas:
        put_all(canvas, pixels, tiles(SHAPE, 10, 10))
        canvas.finish()
    assert bytes_of(part) == expected


@pytest.mark.parametrize("name", NAMES)
def test_another_layout_is_not_reopened(tmp_path, name):
    part = tmp_path / "part"
    with pytest.raises(
        StackError, match=r"part: the interrupted run left nothing to resume\nhint: .*--resume"
    ):
        reopen_canvas(part, name, SHAPE, "uint8")
    create_canvas(part, name, SHAPE, "uint8").close()
    for shape, dtype in [((3, 37, 29), "uint8"), ((2, 29, 37), "uint8"), (SHAPE, "uint16")]:
        wanted = f"this is 2x37x29 of uint8, not {'x'.join(map(str, shape))} of {dtype}\nhint"
        with pytest.raises(StackError, match=wanted):
            reopen_canvas(part, name, shape, dtype)
    other = "a.tif" if name == "a.zarr" else "a.zarr"
    with pytest.raises((StackError, MissingExtraError)):
        reopen_canvas(part, other, SHAPE, "uint8")
    reopen_canvas(part, name, SHAPE, "uint8").close()


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_a_tiff_cut_short_is_not_reopened(tmp_path, dtype, caplog):
    part = tmp_path / "part"
    create_canvas(part, "a.tif", SHAPE, dtype).close()
    whole = part.read_bytes()
    caplog.set_level("CRITICAL")  # tifffile's complaints
    for size in {*range(0, len(whole), 99), len(whole) - 1}:
        part.write_bytes(whole[:size])
        with pytest.raises(StackError, match="--resume"):
            reopen_canvas(part, "a.tif", SHAPE, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_leftovers_of_either_kind_are_replaced(tmp_path, name):
    pixels = noise(SHAPE)
    expected = written(tmp_path / "new", name, pixels)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "left").touch()
    (tmp_path / "file").write_bytes(b"left" * 10_000)
    for part in ("folder", "file", "new"):
        assert written(tmp_path / part, name, pixels) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("section", "rows", "columns", "pixels"),
    [
        (2, slice(0, 4), slice(0, 4), np.zeros((4, 4), "uint8")),
        (-1, slice(0, 4), slice(0, 4), np.zeros((4, 4), "uint8")),
        (0, slice(34, 38), slice(0, 4), np.zeros((4, 4), "uint8")),
        (0, slice(0, 4), slice(-4, 0), np.zeros((4, 4), "uint8")),
        (0, slice(4, 4), slice(0, 4), np.zeros((0, 4), "uint8")),
        (0, slice(0, 4), slice(0, 5), np.zeros((4, 4), "uint8")),
        (0, slice(0, 4), slice(0, 4), np.zeros((4, 4), "float32")),
    ],
)
def test_pixels_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path, name, section, rows, columns, pixels
):
    with create_canvas(tmp_path / "part", name, SHAPE, "uint8") as canvas:
        before = bytes_of(tmp_path / "part")
        with pytest.raises(
            StackError, match=r"^a\..*: (rows .* lie outside|section 1: .* do not fill) .*\nhint: "
        ):
            canvas.put(section, rows, columns, pixels + 1)
        assert bytes_of(tmp_path / "part") == before


def test_names_types_and_options_that_do_not_fit_are_refused(tmp_path):
    part = tmp_path / "part"
    for dtype, endings in (("uint8", r"\.tif or"), ("float32", r"\.tif, \.mrc or")):
        told = rf"^a\.png: the name of a stack of {dtype} ends in {endings} \.zarr\nhint: name it a"
        with pytest.raises(StackError, match=told):
            create_canvas(part, "a.png", SHAPE, dtype)
    with pytest.raises(StackError, match="float64 pixels cannot be written"):
        create_canvas(part, "a.tif", SHAPE, "float64")
    with pytest.raises(StackError, match="2 sections of 0x5 has no pixels"):
        create_canvas(part, "a.tif", (2, 0, 5), "uint8")
    with pytest.raises(OptionError, match="levels"):
        create_canvas(part, "a.tif", SHAPE, "uint8", multiscale=True)
    assert not part.exists()


def test_a_full_disk_is_an_error_before_any_pixel_comes(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"disk full: needs [\d.]+ kB, [\d.]+ \w+ are free.*a\.tif"):
        create_canvas(tmp_path / "part", "a.tif", SHAPE, "uint8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_fills_up_later_is_an_error_with_the_name(tmp_path, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with create_canvas(tmp_path / "part", name, SHAPE, "uint8") as canvas:
        monkeypatch.setattr(writer.TiffCanvas, "_write_at", full)
        monkeypatch.setattr(files, "sync", full)
        with pytest.raises(OSError, match=f"No space left on device: '{name}'"):
            put_all(canvas, noise(SHAPE), tiles(SHAPE, 10, 10))


def test_the_space_of_a_tiff_is_taken_at_once(tmp_path):
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system reserves no space")
    create_canvas(tmp_path / "part", "a.tif", (4, 512, 512), "uint8").close()
    stat = (tmp_path / "part").stat()
    assert stat.st_blocks * 512 >= 4 * 512 * 512


def test_short_writes_are_continued(tmp_path, monkeypatch):
    class Short:
        """A file that takes 7 bytes at a time."""

        def __init__(self, file):
            self.file, self.seek, self.close, self.fileno = (
                file, file.seek, file.close, file.fileno
            )  # fmt: skip

        def write(self, data):
            return self.file.write(data[:7])

    pixels = noise(SHAPE)
    expected = written(tmp_path / "part", "a.tif", pixels)
    opened = writer.TiffCanvas.__init__

    def short(self, *args):
        opened(self, *args)
        self._file = Short(self._file)

    monkeypatch.setattr(writer.TiffCanvas, "__init__", short)
    assert written(tmp_path / "part", "a.tif", pixels) == expected


@pytest.mark.parametrize("shape", [(5, 2**15, 2**15), (1, 2**16, 2**16 + 5)])
def test_a_tiff_over_4_gib_keeps_its_corners(tmp_path, monkeypatch, shape):
    """On a file system that reserves nothing, so that the file is full of holes."""

    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    depth, height, width = shape
    corners = [
        (section, rows, columns)
        for section in {0, depth - 1}
        for rows in (slice(0, 2), slice(height - 2, height))
        for columns in (slice(0, 3), slice(width - 3, width))
    ]
    part = tmp_path / "part"
    try:
        with create_canvas(part, "a.tif", shape, "uint8", voxel_size_nm=VOXEL) as canvas:
            for number, (section, rows, columns) in enumerate(corners, start=1):
                canvas.put(section, rows, columns, np.full((2, 3), number, "uint8"))
            canvas.finish()
        found = tifffile.memmap(part, mode="r").reshape(shape)
        for number, (section, rows, columns) in enumerate(corners, start=1):
            assert (found[section, rows, columns] == number).all()
        with tifffile.TiffFile(part) as tif:
            assert (tif.is_bigtiff, tif.is_ome, len(tif.pages)) == (True, True, depth)
        del found
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
