"""Strips and tiles: only those that a window touches are read, in little memory."""

import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import StackError
from sfseg.io.tiff import strips
from tests.io.files import SHAPE, assert_windows_of, noise, tiny_tiff, windows


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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


def test_a_window_of_jpeg_tiles_is_that_part(tmp_path):
    options = {"compression": "jpeg", "tile": (16, 16), "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE), **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        pixels = tif.asarray()
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert_windows_of(stack, pixels, [(1, slice(10, 49), slice(15, 66))])


def test_a_window_of_one_bit_pixels_is_that_part(tmp_path):
    pixels = noise((10, 20)) > 125
    data = np.packbits(pixels, axis=1).tobytes()
    (tmp_path / "a.tif").write_bytes(tiny_tiff(20, 10, data, bits=1))
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert_windows_of(stack, pixels[None], [(0, slice(2, 9), slice(3, 18))])


@pytest.mark.parametrize("compression", [None, "deflate", "zstd", "packbits", "lzw", "jpeg"])
@pytest.mark.parametrize("kind", ["<u1", ">u2"])
def test_decoding_a_strip_takes_no_more_memory_than_the_stack_says(tmp_path, compression, kind):
    pixels, path = noise((2000, 1500)).astype(kind), tmp_path / "a.tif"
    if compression == "jpeg" and kind != "<u1":
        pytest.skip("JPEG has 8 bits")
    tifffile.imwrite(
        path, pixels, compression=compression, rowsperstrip=2000, byteorder=pixels.dtype.byteorder
    )
    with io.open_stack(path) as stack:
        stated = stack.decoding_bytes
        tracemalloc.start()
        stack.window(0, slice(0, 9), slice(0, 9))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    small = 2**17
    assert peak <= stated + small
    if compression is None:
        assert stated == 0  # read in windows
    else:
        assert pixels.nbytes < stated < 4 * peak


def test_decoding_small_strips_or_tiles_takes_little_memory(tmp_path):
    pixels = noise((2000, 1500))
    for layout in ({"rowsperstrip": 20}, {"tile": (64, 64)}):
        tifffile.imwrite(tmp_path / "a.tif", pixels, compression="deflate", **layout)
        with io.open_stack(tmp_path / "a.tif") as stack:
            assert 0 < stack.decoding_bytes < 0.05 * pixels.nbytes


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
