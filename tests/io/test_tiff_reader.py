"""TIFFs in: what was written is read, what is cut short or corrupt is refused."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import StackError
from tests.io.files import (
    SHAPE,
    assert_windows_of,
    noise,
    pages_of,
    read,
    refused,
    tiny_tiff,
    windows,
)

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from([None, None, "lzw", "deflate", "zstd", "packbits"]),
    layout=st.sampled_from([{}, {"tile": (16, 32)}, {"rowsperstrip": 7}, {"rowsperstrip": 1}]),
    predictor=st.booleans(),
    byteorder=st.sampled_from("<>"),
    bigtiff=st.booleans(),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 50), st.integers(2, 70)),  # tifffile drops 1
    data=st.data(),
)
def test_a_tiff_and_its_windows_are_read_as_written_in_any_type_layout_and_compression(
    tmp_path, dtype, compression, layout, predictor, byteorder, bigtiff, shape, data
):
    pixels = noise(shape, dtype)
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
        assert stack.shape == shape
        assert stack.dtype == dtype
        assert stack.dtype.isnative
        np.testing.assert_array_equal(stack.read(), pixels)
        assert_windows_of(stack, pixels, data.draw(st.lists(windows(shape), max_size=5)))


def test_jpeg_in_a_tiff_is_read(tmp_path):
    pixels = np.full((2, 32, 32), 77, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="jpeg", photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


def test_pages_written_one_at_a_time_are_sections(tmp_path):
    pixels = noise((3, 8, 9))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in pixels:
            writer.write(section, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "ZYX"}}, {}])
def test_a_stack_whose_images_follow_a_single_page_is_read(tmp_path, options):
    # so does ImageJ store stacks over 4 GiB
    pixels = noise((5, 6, 7), "uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, truncate=True, photometric="minisblack", **options)
    assert len(pages_of(path)) == 1
    np.testing.assert_array_equal(read(path), pixels)
    path.write_bytes(path.read_bytes()[:-1])
    assert "the header says 5 images, the file has 4" in refused(path)


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


def test_pages_of_different_shape_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shape in ((5, 6), (5, 6), (2, 3)):
            writer.write(noise(shape), photometric="minisblack")
    assert "page 3: (2, 3) of uint8 is not like page 1" in refused(tmp_path / "a.tif")


def test_pages_that_are_stored_differently_are_read(tmp_path):
    pixels = noise((5, 40, 50))
    layouts = ({}, {"compression": "lzw"}, {"tile": (16, 16)}, {"rowsperstrip": 7})
    layouts += ({"compression": "zlib", "predictor": True},)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section, layout in zip(pixels, layouts, strict=True):
            writer.write(section, photometric="minisblack", metadata=None, **layout)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits"])
def test_a_padded_last_strip_that_is_compressed_is_read(tmp_path, compression):
    pixels, path = noise((22, 27)), tmp_path / "a.tif"
    padded, options = np.vstack([pixels, noise((3, 27))]), {"metadata": None}
    options |= {"compression": compression, "photometric": "minisblack", "rowsperstrip": 5}
    tifffile.imwrite(path, padded, **options)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageLength"].overwrite(22)
    np.testing.assert_array_equal(read(path)[0], pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_padded_last_strip_is_read(tmp_path, dtype):
    pixels, path = noise((22, 27), dtype), tmp_path / "a.tif"
    padded = np.vstack([pixels, noise((3, 27), dtype)])
    tifffile.imwrite(path, padded, rowsperstrip=5, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageLength"].overwrite(22)
    np.testing.assert_array_equal(read(path)[0], pixels)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(26)
    assert "bytes of pixels, the page has" in refused(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True},
        {"ome": True},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"byteorder": ">"},
    ],
)
def test_a_tiff_cut_short_anywhere_is_refused(tmp_path, options):
    pixels = noise((6, 20, 20))
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}} | options
    tifffile.imwrite(whole, pixels, **options)
    np.testing.assert_array_equal(read(whole), pixels)
    data = whole.read_bytes()
    last = max(offset for offset, _, _ in pages_of(whole))
    for length in (*range(0, len(data), 97), last, last + 20):
        cut.write_bytes(data[:length])
        try:
            found = read(cut)
        except StackError:
            continue
        # nothing but padding was lost
        assert length > len(data) - 16
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_a_corrupt_page_is_named(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((3, 40, 40)), compression=compression, photometric="minisblack")
    _, start, count = pages_of(path)[1]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes([255]) * count
    path.write_bytes(data)
    with io.open_stack(path) as stack:
        stack.section(0)
        with pytest.raises(StackError, match="page 2: the pixels cannot be read") as caught:
            stack.section(1)
    assert caught.value.__cause__ is not None


def test_the_library_stays_quiet_and_lets_others_listen(tmp_path, caplog):
    path = tmp_path / "a.tif"
    data = bytearray(tiny_tiff(20, 10, bytes(200)))
    data[10 + 12 * 2 + 2] = 99
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="tifffile"):
        refused(path)
    assert caplog.records
    code = (
        "import sys; from sfseg import io\ntry: io.open_stack(sys.argv[1])\nexcept ValueError: pass"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert run.stderr == b""
