"""Windows of sections: the pixels of the section, and little of the file."""

import struct
import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import StackError
from sfseg.io.tiff import strips

SHAPE = (3, 50, 70)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape, dtype="uint8", seed=0):
    """Random pixels."""
    return (np.random.default_rng(seed).random(shape) * 250).astype(dtype)


@st.composite
def windows(draw, shape=SHAPE):
    """A section, and rows and columns of it."""
    parts = []
    for length in shape[1:]:
        start = draw(st.integers(0, length - 1))
        parts.append(slice(start, draw(st.integers(start + 1, length))))
    return draw(st.integers(0, shape[0] - 1)), *parts


def assert_windows_of(stack, pixels, wanted):
    """Each window is what the section has there."""
    for index, rows, columns in wanted:
        found = stack.window(index, rows, columns)
        assert found.dtype == stack.dtype
        np.testing.assert_array_equal(found, pixels[index, rows, columns])
        np.testing.assert_array_equal(stack.section(index), pixels[index])


@quick
@given(
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from([None, None, "lzw", "deflate", "zstd", "packbits"]),
    layout=st.sampled_from([{}, {"tile": (16, 32)}, {"rowsperstrip": 7}, {"rowsperstrip": 1}]),
    predictor=st.booleans(),
    byteorder=st.sampled_from("<>"),
    bigtiff=st.booleans(),
    wanted=st.lists(windows(), min_size=1, max_size=5),
)
def test_a_window_of_a_tiff_is_that_part_of_its_section(
    tmp_path, dtype, compression, layout, predictor, byteorder, bigtiff, wanted
):
    pixels = noise(SHAPE, dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        compression=compression,
        predictor=predictor and compression not in (None, "packbits"),
        byteorder=byteorder,
        bigtiff=bigtiff,
        photometric="minisblack",
        **layout,
    )
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert_windows_of(stack, pixels, wanted)


@quick
@given(
    layout=st.sampled_from([{}, {"tile": (16, 16)}, {"rowsperstrip": 7}]),
    compression=st.sampled_from([None, "deflate"]),
    planar=st.sampled_from(["contig", "separate"]),
    samples=st.sampled_from([3, 4]),
    wanted=st.lists(windows(), min_size=1, max_size=5),
)
def test_a_window_of_samples_is_averaged_as_its_section_is(
    tmp_path, layout, compression, planar, samples, wanted
):
    colour = noise((*SHAPE, samples))
    stored = colour if planar == "contig" else np.moveaxis(colour, -1, 1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        metadata=None,
        **layout,
    )
    grey = np.rint(colour[..., :3].mean(axis=-1)).astype("uint8")
    axes = "ZYXS" if planar == "contig" else "ZSYX"
    with io.open_stack(tmp_path / "a.tif", axes=axes) as stack:
        assert_windows_of(stack, grey, wanted)


@quick
@given(
    imagej=st.booleans(),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    byteorder=st.sampled_from("<>"),
    wanted=st.lists(windows(), min_size=1, max_size=5),
)
def test_a_window_of_images_that_follow_a_single_page_is_that_part(
    tmp_path, imagej, dtype, byteorder, wanted
):
    pixels, path = noise(SHAPE, dtype), tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}, "imagej": imagej}
    tifffile.imwrite(path, pixels, truncate=True, byteorder=byteorder, **options)
    with io.open_stack(path) as stack:
        assert_windows_of(stack, pixels, wanted)


@pytest.mark.parametrize("tile", [None, (2, 16, 16)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_window_of_a_volume_in_one_page_is_that_part(tmp_path, tile, compression):
    pixels, path = noise((5, 40, 50), "uint16"), tmp_path / "a.tif"
    options = {"photometric": "minisblack", "volumetric": True, "metadata": None}
    tifffile.imwrite(path, pixels, tile=tile, compression=compression, **options)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1
    for axes, turned in (("QZYX", pixels), ("QYXZ", np.moveaxis(pixels, 2, 0))):
        with io.open_stack(path, axes=axes) as stack:
            assert stack.shape == turned.shape
            wanted = [(4, slice(3, 5), slice(1, 30)), (0, slice(0, 1), slice(39, 40))]
            assert_windows_of(stack, turned, wanted)


def test_a_window_of_jpeg_tiles_is_that_part(tmp_path):
    options = {"compression": "jpeg", "tile": (16, 16), "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE), **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        pixels = tif.asarray()
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert_windows_of(stack, pixels, [(1, slice(10, 49), slice(15, 66))])


def test_a_window_of_one_bit_pixels_is_that_part(tmp_path):
    pixels = noise((10, 20)) > 125
    tags = [
        (256, 4, 20), (257, 4, 10), (258, 3, 1), (259, 3, 1), (262, 3, 1),
        (273, 4, 134), (277, 3, 1), (278, 4, 10), (279, 4, 30),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    data = np.packbits(pixels, axis=1).tobytes()
    (tmp_path / "a.tif").write_bytes(header.ljust(134, b"\0") + data)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert_windows_of(stack, pixels[None], [(0, slice(2, 9), slice(3, 18))])


@quick
@given(
    chunks=st.sampled_from([None, (1, 16, 16), (2, 50, 7)]),
    axes=st.sampled_from(["ZYX", "YXZ", "XZY"]),
    data=st.data(),
)
def test_a_window_of_an_hdf5_dataset_is_that_part(tmp_path, chunks, axes, data):
    h5py = pytest.importorskip("h5py")
    stored = noise(SHAPE, "uint16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=stored, chunks=chunks)
    pixels = stored.transpose([axes.index(letter) for letter in "ZYX"])
    wanted = data.draw(st.lists(windows(pixels.shape), min_size=1, max_size=5))
    with io.open_stack(f"{tmp_path}/a.h5:raw", axes=axes) as stack:
        assert_windows_of(stack, pixels, wanted)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_window_of_a_folder_is_that_part_of_one_file(tmp_path, suffix):
    pixels = noise((12, 20, 30))
    for number, section in enumerate(pixels, start=1):
        imageio.imwrite(tmp_path / f"s{number}.{suffix}", section)
    with io.open_stack(tmp_path) as stack:
        wanted = [(i, slice(3, 17), slice(i, 30)) for i in (11, 0, 0, 5)]
        assert_windows_of(stack, pixels, wanted)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pixels_that_were_read_belong_to_the_reader(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    imageio.imwrite(path, noise((20, 30)))
    with io.open_stack(path) as stack:
        stack.section(0)[:] = 0
        np.testing.assert_array_equal(stack.section(0), noise((20, 30)))


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 0), (0, 1)), ((5, 3), (0, 1)), ((0, 51), (0, 1)), ((0, 1), (-1, 3))]
)
def test_a_window_that_is_empty_or_leaves_the_section_is_refused(tmp_path, rows, columns):
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE), photometric="minisblack")
    with io.open_stack(tmp_path / "a.tif") as stack:
        with pytest.raises(IndexError, match="is not a window within"):
            stack.window(0, slice(*rows), slice(*columns))
        with pytest.raises(IndexError, match="there is no section 3 below 3"):
            stack.window(3, slice(0, 1), slice(0, 1))


def test_only_the_strips_that_a_window_touches_are_decoded(tmp_path):
    path, pixels = tmp_path / "a.tif", noise((40, 40))
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[2], tif.pages[0].databytecounts[2]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes([255]) * count
    path.write_bytes(data)
    with io.open_stack(path) as stack:
        everywhere = slice(0, 40)
        np.testing.assert_array_equal(stack.window(0, slice(0, 20), everywhere), pixels[:20])
        np.testing.assert_array_equal(stack.window(0, slice(30, 40), everywhere), pixels[30:])
        with pytest.raises(StackError, match="page 1: the pixels cannot be read"):
            stack.window(0, slice(19, 21), everywhere)


def test_windows_are_the_same_when_few_decoded_chunks_are_kept(tmp_path, monkeypatch):
    pixels = noise(SHAPE)
    options = {"compression": "zlib", "tile": (16, 16), "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    for kept in (0, 300, 2000):
        monkeypatch.setattr(strips, "_CACHE_BYTES", kept)
        with io.open_stack(tmp_path / "a.tif") as stack:
            wanted = [(i, slice(j, 40), slice(j, 60)) for i in (0, 2) for j in range(0, 40, 9)]
            assert_windows_of(stack, pixels, wanted)


# --- sections larger than memory


def sparse_tiff(path, pages, side, strips):
    """A BigTIFF of zeros that takes no room, but for 1..9 in the last pixels of each page."""
    tags_bytes = 8 + 9 * 20 + 8
    page_bytes = tags_bytes + 16 * strips
    first_pixel = 16 + pages * page_bytes
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        for page in range(pages):
            at, pixels = 16 + page * page_bytes, first_pixel + page * side * side
            count = side * side // strips
            lists = np.arange(strips, dtype="<u8") * count + pixels, np.full(strips, count, "<u8")
            places = [at + tags_bytes, at + tags_bytes + 8 * strips]
            if strips == 1:
                places = [int(values[0]) for values in lists]
            tags = [
                (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1),
                (262, 3, 1, 1), (273, 16, strips, places[0]), (277, 3, 1, 1),
                (278, 4, 1, side // strips), (279, 16, strips, places[1]),
            ]  # fmt: skip
            file.seek(at)
            file.write(struct.pack("<Q", len(tags)))
            file.write(b"".join(struct.pack("<HHQQ", *tag) for tag in tags))
            file.write(struct.pack("<Q", at + page_bytes if page + 1 < pages else 0))
            file.write(b"".join(values.tobytes() for values in lists))
        for page in range(pages):
            file.seek(first_pixel + (page + 1) * side * side - 9)
            file.write(bytes(range(1, 10)))


GROWTH = """
import re, sys
from pathlib import Path
from sfseg import io
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
with io.open_stack(sys.argv[1]) as stack:
    for index in (0, len(stack) - 1):
        side = stack.shape[1]
        for start in range(0, side, side // 8):
            stack.window(index, slice(start, start + 512), slice(start, start + 512))
        stack.window(index, slice(7, 71), slice(0, side))
        end = slice(side - 512, side)
        assert stack.window(index, end, end)[-1, -9:].tolist() == list(range(1, 10))
    print(stack.shape, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("pages", "side", "strips"), [(1, 131072, 1), (1, 131072, 131072), (256, 8192, 1024)]
)
def test_windows_of_16_gib_take_little_memory(tmp_path, pages, side, strips):
    sparse_tiff(tmp_path / "a.tif", pages, side, strips)
    run = subprocess.run(
        [sys.executable, "-c", GROWTH, tmp_path / "a.tif"],
        capture_output=True,
        text=True,
        check=True,
    )
    shape, _, growth = run.stdout.strip().rpartition(" ")
    assert shape == str((pages, side, side))
    assert int(growth) < 100e6
