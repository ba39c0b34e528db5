"""Voxel sizes: read in any unit, left out where they are not plausible."""

import math

import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.io import voxels
from tests.io.files import VOXEL, noise


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nm", 1),
        ("um", 1e3),
        ("\\u00B5m", 1e3),
        ("micron", 1e3),
        ("mm", 1e6),
        ("cm", 1e7),
        ("inch", 2.54e7),
        ("\\u00C5", 0.1),
    ],
)
def test_every_unit_of_imagej_is_understood(tmp_path, unit, nm):
    z, y, x = (length / nm for length in VOXEL)
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((2, 5, 6)),
        imagej=True,
        resolution=(1 / x, 1 / y),
        metadata={"axes": "ZYX", "spacing": z, "unit": unit},
    )
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm == pytest.approx(VOXEL)


@pytest.mark.parametrize(
    ("unit", "nm"), [(None, 1e3), ("nm", 1), ("µm", 1e3), ("mm", 1e6), ("Å", 0.1), ("\u212b", 0.1)]
)
def test_every_unit_of_ome_is_understood(tmp_path, unit, nm):
    metadata = {"axes": "ZYX"}
    for axis, length in zip("ZYX", VOXEL, strict=True):
        metadata[f"PhysicalSize{axis}"] = length / nm
        if unit:
            metadata[f"PhysicalSize{axis}Unit"] = unit
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 6)), ome=True, metadata=metadata)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm == pytest.approx(VOXEL)


@pytest.mark.parametrize(("unit", "nm"), [("CENTIMETER", 1e7), ("INCH", 2.54e7)])
def test_resolution_tags_give_the_size_of_rows_and_columns(tmp_path, unit, nm):
    options = {"resolution": (nm / 4, nm / 4.6), "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 6)), photometric="minisblack", **options)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm[1:] == pytest.approx((4.6, 4))
        assert math.isnan(stack.voxel_size_nm[0])
        assert stack.describe().endswith("pixel 4.6x4 nm, section thickness unknown")


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (72, "INCH"),
        (96, "INCH"),
        (300, "INCH"),
        (1200, "INCH"),
        (28, "CENTIMETER"),
        (1, "INCH"),
        (1, "CENTIMETER"),
        (1, "NONE"),
        (0, "INCH"),
    ],
)
def test_the_defaults_of_photo_software_are_no_voxel_size(tmp_path, value, unit):
    options = {"resolution": (value, value), "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 6)), photometric="minisblack", **options)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm is None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.tuples(*[st.floats(allow_infinity=False) | st.floats(1e-15, 1e5)] * 3),
    dtype=st.sampled_from(["uint8", "int32"]),
)
@example(lengths=(50.0, 1e-14, 1e-14), dtype="uint8")
@example(lengths=(50.0, 1e-3, 1e-3), dtype="int32")
def test_whatever_counts_as_a_voxel_size_can_be_written(tmp_path, lengths, dtype):
    voxel, path = voxels.checked(*lengths), tmp_path / "a.tif"
    options = {"voxel_size_nm": voxel, "overwrite": True}
    io.write_stack(path, noise((2, 5, 6), dtype), **options)
    with io.open_stack(path) as stack:
        assert (stack.voxel_size_nm is None) == (voxel is None)
        if voxel is not None:
            assert stack.voxel_size_nm[1:] == pytest.approx(voxel[1:], rel=1e-3)


def test_pixels_finer_than_any_microscope_s_are_no_voxel_size(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 1e-14, "PhysicalSizeY": 1e-14}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 6)), ome=True, metadata=metadata)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm is None


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nanometers", 1),
        ("micrometers", 1e3),
        ("Micrometres", 1e3),
        ("\\u03bcm", 1e3),
        ("\u00c2\u00b5m", 1e3),
        ("pm", 1e-3),
        ("picometers", 1e-3),
        ("angstroms", 0.1),
        ("millimeter", 1e6),
        ("inches", 2.54e7),
    ],
)
def test_units_are_understood_as_people_spell_them(unit, nm):
    assert voxels.nm_per_unit(unit) == pytest.approx(nm)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "s", "metres per second", "nmm"])
def test_what_is_no_length_is_unknown(unit):
    assert math.isnan(voxels.nm_per_unit(unit))


def text_tag(code, text):
    return {"extratags": [(code, 2, 0, text, True)]}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (text_tag(34682, "[Scan]\r\nPixelWidth=4e-009\r\nPixelHeight=5e-009\r\n"), (5, 4)),
        (text_tag(34680, "[EScan]\r\nPixelWidth=4e-9\r\nPixelHeight=4e-9\r\n"), (4, 4)),
        (text_tag(34118, "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4.0 nm\r\n"), (4, 4)),
        (text_tag(34119, "Image Pixel Size = 4.000 nm\r\nMag = 5.00 K X\r\n"), (4, 4)),
        (text_tag(34118, "AP_PIXEL_SIZE\r\nPixel Size = 4.0 pm\r\n"), None),
        (text_tag(34682, "[Scan]\r\nPixelWidth=wide\r\nPixelHeight=\r\n"), None),
        (text_tag(34682, "nothing"), None),
        ({"description": "SerialEM: Titan\nPixelSpacing = 40.0\nVoltage = 300\n"}, (4, 4)),
    ],
)
def test_the_tags_of_microscopes_give_the_pixel_size(tmp_path, options, size):
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 6)), **options)
    with io.open_stack(tmp_path / "a.tif") as stack:
        found = stack.voxel_size_nm and stack.voxel_size_nm[1:]
        assert found == (None if size is None else pytest.approx(size))


def test_resolution_tags_of_one_over_one_are_none_of_imagej(tmp_path):
    for version, known in (("1.54f", False), ("1.11a", True)):
        options = {"photometric": "minisblack", "metadata": None, "resolution": (1, 1)}
        description = f"ImageJ={version}\nimages=2\nslices=2\nunit=nm\n"
        tifffile.imwrite(
            tmp_path / "a.tif",
            noise((2, 5, 6)),
            description=description,
            resolutionunit=1,
            **options,
        )
        with io.open_stack(tmp_path / "a.tif") as stack:
            assert (stack.voxel_size_nm is not None) == known


@pytest.mark.parametrize("value", [(0, 0), (7, 0), (2**32 - 1, 1)])
def test_resolution_tags_of_odd_values_are_left_out(tmp_path, value):
    options = {"photometric": "minisblack", "metadata": None, "resolutionunit": 3}
    extra = [(code, 5, 1, value, True) for code in (282, 283)]
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 6)), **options)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        for code, *_ in extra:
            at = tif.pages[0].tags[code].valueoffset
            data[at : at + 8] = b"".join(n.to_bytes(4, "little") for n in value)
    (tmp_path / "a.tif").write_bytes(data)
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.voxel_size_nm is None
