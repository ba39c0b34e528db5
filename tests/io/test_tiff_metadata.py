"""Axes and pages that a TIFF declares, as tifffile, ImageJ and OME write them."""

import json
import warnings

import numpy as np
import pytest
import tifffile

from sfseg import io
from tests.io.files import described, noise, pages_of, read, refused


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("lengths", [[-1, -1], [-2, -2], [0, 4], [-4, -1, 1]])
def test_lengths_that_no_array_has_leave_the_pages_sections(tmp_path, count, lengths):
    pixels = noise((count, 5, 6))
    description = json.dumps({"shape": [*lengths, 5, 6]})
    np.testing.assert_array_equal(read(described(tmp_path / "a.tif", pixels, description)), pixels)


def test_axes_may_be_a_list_of_letters_and_nothing_else(tmp_path):
    path, pixels = tmp_path / "a.tif", noise((2, 3, 5, 6))
    options = {"metadata": {"axes": [*"TZYX"]}, "photometric": "minisblack"}
    tifffile.imwrite(path, pixels, **options)
    assert "an array of 2x3x5x6 (TZYX) is not one stack" in refused(path)
    for axes in ([1, 2, 3, 4], True, 7, [None] * 4, [["T"], "Z", "Y", "X"]):
        description = json.dumps({"shape": pixels.shape, "axes": axes})
        found = described(path, pixels.reshape(6, 5, 6), description)
        with io.open_stack(found) as stack:
            assert "its metadata make no sense and are left out" in stack.notes[0]
            np.testing.assert_array_equal(stack.read(), pixels.reshape(6, 5, 6))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_sections_that_tifffile_stores_as_planes_of_rgb_are_sections(tmp_path, count):
    stack = np.arange(count * 6 * 7, dtype=np.uint8).reshape(count, 6, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tifffile's word on its own guess
        tifffile.imwrite(tmp_path / "stack.tif", stack)
    with io.open_stack(tmp_path / "stack.tif") as opened:
        np.testing.assert_array_equal(opened.read(), stack)


@pytest.mark.parametrize("letter", "ZT")
@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3, 4), (3, 6, 7), (4, 6, 7)])
def test_axes_of_the_metadata_count_where_tifffile_stores_sections_as_rgb(tmp_path, letter, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tifffile.imwrite(tmp_path / "a.tif", noise(shape), metadata={"axes": f"{letter}YX"})
    assert len(pages_of(tmp_path / "a.tif")) == 1
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), noise(shape))


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize(
    "header", ["ImageJ=1.54f\nimages=4\nslices=4\n", json.dumps({"shape": [7, 5, 6]})]
)
def test_a_complete_chain_of_pages_counts_more_than_its_header(tmp_path, header, count):
    path, pixels = tmp_path / "a.tif", noise((count, 5, 6))
    with io.open_stack(described(path, pixels, header)) as stack:
        np.testing.assert_array_equal(stack.read(), pixels)
        assert f"images, it has {count}, and they are complete" in stack.notes[0]
    with path.open("ab") as file:  # what may be a part of images that were cut off
        file.write(bytes(20))
    assert "the header says" in refused(path)


def test_channels_and_sections_are_not_told_apart_where_pages_are_missing(tmp_path):
    header = "ImageJ=1.54f\nimages=4\nchannels=2\nslices=2\n"
    assert "the header says 4 images, the file has 3" in refused(
        described(tmp_path / "a.tif", noise((3, 5, 6)), header)
    )


@pytest.mark.parametrize(
    "description",
    [
        "ImageJ=1.54f\nimages=2\nslices=many\n",
        "ImageJ=1.54f\nimages=2\nslices=5\nunit=nm\nspacing=wide\n",
        "ImageJ=1.54f\nimages=-2\n",
        '<?xml version="1.0"?><OME><Image></OME>',
        '<OME><Image><Pixels SizeX="six" SizeY="5" SizeZ="2"/></Image></OME>',
        '<OME><Image><Pixels SizeX="9" SizeY="9" SizeZ="2" SizeC="1"/></Image></OME>',
        "<OME></OME>",
        '{"shape": null}',
        '{"shape": {"a": 1}',
    ],
)
def test_metadata_that_make_no_sense_are_left_out_with_a_note(tmp_path, description):
    pixels = noise((2, 5, 6))
    with io.open_stack(described(tmp_path / "a.tif", pixels, description)) as stack:
        np.testing.assert_array_equal(stack.read(), pixels)
        assert stack.notes


def test_the_files_of_an_ome_set_are_read_each_with_its_own_plane(tmp_path):
    pixels = noise((3, 5, 6))
    element = '<TiffData FirstZ="{0}" IFD="0" PlaneCount="1"><UUID FileName="z{0}.tif">{0}</UUID>'
    planes = "".join(element.format(z) + "</TiffData>" for z in range(3))
    for z, section in enumerate(pixels):
        xml = (
            f'<OME UUID="{z}"><Image><Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="6" '
            'SizeY="5" SizeC="1" SizeZ="3" SizeT="1" PhysicalSizeX="4" PhysicalSizeXUnit="nm" '
            f'PhysicalSizeY="4" PhysicalSizeYUnit="nm">{planes}</Pixels></Image></OME>'
        )
        described(tmp_path / f"z{z}.tif", [section], xml)
    with io.open_stack(tmp_path) as stack:
        np.testing.assert_array_equal(stack.read(), pixels)
        assert stack.voxel_size_nm[1:] == (4, 4)
    assert "place pixels in another file" in refused(tmp_path / "z1.tif")
    other = (tmp_path / "z2.tif").read_bytes()
    (tmp_path / "z2.tif").write_bytes(other.replace(b'FirstZ="2"', b'FirstC="1"'))
    assert "z0.tif is channel 1, time 1 of a set, z2.tif is channel 2" in refused(tmp_path)


def test_pixels_of_other_files_are_never_read(tmp_path):
    secret = tmp_path / "secret.tif"
    tifffile.imwrite(secret, np.full((1, 5, 6), 7, np.uint8), ome=True)
    path = tmp_path / "a.tif"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="6" '
        'SizeY="5" SizeC="1" SizeZ="1" SizeT="1"><TiffData IFD="0" PlaneCount="1">'
        '<UUID FileName="{}">{}</UUID></TiffData></Pixels></Image></OME>'
    )
    options = {"photometric": "minisblack", "metadata": None}
    for file_name, uuid, refuse in (
        ("secret.tif", "urn:uuid:2", True),
        ("renamed.tif", "urn:uuid:1", False),
    ):
        tifffile.imwrite(path, noise((5, 6)), description=xml.format(file_name, uuid), **options)
        if refuse:
            assert "the OME metadata place pixels in another file, secret.tif" in refused(path)
        else:
            np.testing.assert_array_equal(read(path)[0], noise((5, 6)))
    tifffile.imwrite(
        path,
        noise((5, 6)),
        description=xml.format("secret.tif", "urn:uuid:1").replace('SizeZ="1"', 'SizeZ="2"'),
        **options,
    )
    np.testing.assert_array_equal(read(path)[0], noise((5, 6)))


def test_ome_planes_are_read_from_the_pages_that_hold_them(tmp_path):
    pixels = noise((3, 5, 6))
    xml = (
        '<OME><Image><Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeC="1" '
        'SizeZ="3" SizeT="1">{}</Pixels></Image></OME>'
    )
    for elements, order in (
        ('<TiffData IFD="0" FirstZ="2"/><TiffData IFD="1"/><TiffData IFD="2" FirstZ="1"/>', "120"),
        ('<TiffData FirstZ="2"/><TiffData IFD="1" PlaneCount="2"/>', "120"),
        ("<TiffData/>", "012"),
        ("<TiffData/><TiffData/>", None),  # a plane is listed twice, which takes long for many
        ("<TiffData/>" * 5000, None),
        ('<TiffData/><TiffData IFD="0"/>', None),
        ('<TiffData FirstZ="1"/>', None),
        ("", None),
    ):
        path = described(tmp_path / "a.tif", pixels, xml.format(elements))
        if order is None:
            assert "do not give each plane its own page" in refused(path)
        else:
            np.testing.assert_array_equal(read(path), pixels[[int(page) for page in order]])
