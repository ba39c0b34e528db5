"""The chain of pages in a TIFF: no loop, no bytes shared."""

import struct

import tifffile

from tests.io.files import noise, pages_of, refused


def test_a_loop_of_pages_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((2, 5, 6)), photometric="minisblack", byteorder="<")
    (first, _, _), (second, _, _) = pages_of(path)
    data = bytearray(path.read_bytes())
    tags = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * tags, first)
    path.write_bytes(data)
    assert "the pages loop after page 2" in refused(path)


def test_strips_that_share_bytes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((2, 20, 20)), photometric="minisblack", byteorder="<")
    (_, first, _), (_, second, _) = pages_of(path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", second), struct.pack("<I", first)))
    assert f"two strips or tiles overlap at byte {first}" in refused(path)
