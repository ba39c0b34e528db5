"""TIFFs that Fiji and others read, with their voxel size."""

import tifffile

from sfseg import io
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


def test_segments_are_ome_with_units(tmp_path):
    pixels = noise((2, 5, 6), "int32")
    io.write_stack(tmp_path / "a.tif", pixels, voxel_size_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="50.0" PhysicalSizeZUnit="nm"' in tif.ome_metadata


def test_only_what_fits_in_4_gib_is_written_as_imagej():
    assert fits_imagej((1023, 2048, 2048), "uint8")
    assert not fits_imagej((1024, 2048, 2048), "uint8")
    assert not fits_imagej((256, 2048, 2048), "float32")
