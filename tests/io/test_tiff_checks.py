"""Pages of a TIFF that declare what they do not hold are refused."""

import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import StackError
from tests.io.files import noise, pages_of, read, refused, tiny_tiff


def test_the_tiny_tiff_of_these_tests_is_good(tmp_path):
    pixels = noise((10, 20))
    (tmp_path / "a.tif").write_bytes(tiny_tiff(20, 10, pixels.tobytes()))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels[None])


@pytest.mark.parametrize("shape", [(0, 5, 6), (3, 0, 6), (0, 6)])
@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"metadata": None}])
def test_a_stack_of_no_sections_is_refused_and_says_so(tmp_path, shape, options):
    path = tmp_path / "a.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tifffile's word on writing no pixels
        tifffile.imwrite(path, np.zeros(shape, np.uint8), **options)
    for axes in (None, "ZYX"):
        assert "no section: an image of 0x0 has no pixels" in refused(path, axes=axes)


def test_bombs_are_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiny_tiff(60_000, 60_000, b"x"))
    assert "needs 3600000000 bytes of pixels" in refused(path)
    path.write_bytes(tiny_tiff(60_000, 60_000, b"x", compression=8))
    assert "bytes decode to 3600000000, over 10000 times" in refused(path)
    path.write_bytes(tiny_tiff(40_000, 40_000, bytes(200_000), compression=8))
    assert "has 1600000000 bytes, over 1 GiB" in refused(path)


def test_jpeg_pixels_are_whole_and_as_large_as_their_page(tmp_path):
    path, options = tmp_path / "a.tif", {"compression": "jpeg", "photometric": "minisblack"}
    tifffile.imwrite(path, noise((64, 64)), **options)
    data = path.read_bytes()
    ((_, start, count),) = pages_of(path)
    path.write_bytes(data[: start + count - 40] + bytes(40) + data[start + count :])
    assert "bytes of JPEG data have no end" in refused(path)
    frame = data.index(struct.pack(">HH", 64, 64), start)
    path.write_bytes(data[:frame] + struct.pack(">HH", 65500, 65500) + data[frame + 4 :])
    assert "a JPEG strip or tile has 65500x65500 pixels" in refused(path)


def test_strips_without_lengths_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((8, 8), np.uint8), byteorder="<", metadata=None)
    counts, other = struct.pack("<HH", 279, 4), struct.pack("<HH", 65000, 4)
    data = path.read_bytes()
    assert data.count(counts) == 1
    path.write_bytes(data.replace(counts, other))
    with pytest.raises(StackError, match="0 of 1 strips or tiles are listed"):
        io.open_stack(path)


def test_a_strip_that_unpacks_to_more_than_its_page_stays_small(tmp_path):
    packed = zlib.compress(bytes(30_000_000))
    (tmp_path / "a.tif").write_bytes(tiny_tiff(20, 10, packed, compression=8))
    refused(tmp_path / "a.tif")


def test_a_page_whose_tags_are_damaged_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    data = bytearray(tiny_tiff(20, 10, zlib.compress(bytes(200)), compression=8))
    data[10 + 12 * 3 + 2] = 99  # the type of the tag Compression
    path.write_bytes(data)
    assert "tag 259 is damaged" in refused(path)
