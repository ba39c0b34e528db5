"""TIFFs that Fiji and others read, with their voxel size."""

import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import StackError
from sfseg.io.palette import cell_colours
from sfseg.io.tiff import writer
from sfseg.io.tiff.writer import fits_imagej
from tests.io.files import VOXEL, noise


def test_fiji_finds_the_voxel_size_in_imagej_terms(tmp_path):
    io.write_stack(tmp_path / "a.tif", noise((2, 5, 6)), voxel_size_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.imagej_metadata["unit"] == "nm"
        assert tif.imagej_metadata["spacing"] == 50
        assert tif.imagej_metadata["slices"] == 2
        assert tif.pages[0].tags["XResolution"].value == (1, 4)
        assert tif.pages[0].tags["YResolution"].value == (5, 23)
        assert tif.series[0].axes == "ZYX"


def test_segments_have_colours_and_a_range_in_which_no_cell_is_black(tmp_path):
    for largest, lowest in ((7, 0), (255, 0), (1000, -745 / 509)):
        pixels = np.full((2, 5, 6), largest, "int32")
        io.write_stack(tmp_path / "a.tif", pixels, voxel_size_nm=VOXEL, overwrite=True)
        with tifffile.TiffFile(tmp_path / "a.tif") as tif:
            assert tif.series[0].axes == "ZYX"
            assert tif.imagej_metadata["spacing"] == 50
            shown = tif.imagej_metadata["min"], tif.imagej_metadata["max"]
            assert shown == pytest.approx((lowest, max(largest, 255)), abs=1e-6)
            colours = tif.pages[0].tags["ColorMap"].value.T // 257
        np.testing.assert_array_equal(colours, cell_colours())


def test_the_colours_of_cells_are_far_from_each_other_and_from_border():
    colours = cell_colours().astype(int)
    assert colours[0].tolist() == [0, 0, 0]
    apart = np.abs(colours[:, np.newaxis] - colours).sum(2) + 999 * np.eye(256, dtype=int)
    assert apart.min() >= 30
    assert apart[:32, :32].min() >= 75
    assert (colours[1:] @ (0.299, 0.587, 0.114)).min() >= 80


def test_segments_from_4_gib_on_are_ome_with_units(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_CLASSIC_BYTES", 0)
    pixels = noise((2, 5, 6), "int32")
    io.write_stack(tmp_path / "a.tif", pixels, voxel_size_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.is_bigtiff
        assert tif.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="50.0" PhysicalSizeZUnit="nm"' in tif.ome_metadata


def test_a_palette_colours_small_numbers_and_is_left_out_where_a_format_has_none(tmp_path):
    pytest.importorskip("zarr")
    pixels = noise((2, 5, 6)) % 3
    for name in ("a.tif", "a.zarr"):
        io.write_stack(tmp_path / name, pixels, palette=[(0, 0, 0), (9, 8, 7), (255, 0, 0)])
        with io.open_stack(tmp_path / name, labels=True) as stack:
            np.testing.assert_array_equal(stack.read(), pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        colours = tif.pages[0].colormap.T // 257
    assert colours[:4].tolist() == [[0, 0, 0], [9, 8, 7], [255, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("palette", "dtype", "found"),
    [
        ([(0, 0, 256)], "uint8", "is not a list of colours"),
        ([(0.5, 0, 0)], "uint8", "is not a list of colours"),
        ([0, 0, 0], "uint8", "is not a list of colours"),
        ([], "uint8", "is not a list of colours"),
        ([(0, 0, 0)], "uint16", "pixels of uint16 cannot have a palette"),
    ],
)
def test_a_palette_that_is_none_gets_a_sentence(tmp_path, palette, dtype, found):
    with pytest.raises(StackError, match=found):
        io.write_stack(tmp_path / "a.tif", noise((2, 5, 6), dtype), palette=palette)
    assert list(tmp_path.iterdir()) == []


def test_only_what_fits_in_4_gib_is_written_as_imagej():
    assert fits_imagej((1023, 2048, 2048), "uint8")
    assert not fits_imagej((1024, 2048, 2048), "uint8")
    assert not fits_imagej((256, 2048, 2048), "float32")
