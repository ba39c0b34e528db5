"""Axes: from the file or from the person, never guessed."""

import warnings

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import OptionError
from sfseg.types import describe_shape
from tests.io.files import noise, read, refused


def test_rgb_is_refused_until_its_axes_are_given(tmp_path):
    pixels = noise((5, 6, 3))
    for name in ("a.png", "a.tif"):
        imageio.imwrite(tmp_path / name, pixels)
        assert (
            "an array of 5x6x3 (YXS) is not one stack of grey sections\nhint: --axes YXS to average"
            in refused(tmp_path / name)
        )
        grey = np.rint(pixels.mean(axis=-1))
        np.testing.assert_array_equal(read(tmp_path / name, axes="YXS")[0], grey)


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3, 4), (20, 30, 3), (1, 3, 3)])
def test_a_tiff_that_may_be_sections_or_colours_is_refused_with_both_readings(
    tmp_path, options, shape
):
    pixels, path = noise(shape), tmp_path / "a.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tifffile's word on its own guess
        tifffile.imwrite(path, pixels, **options)
    found = refused(path)
    assert f"an array of {'x'.join(map(str, shape))} (YXS) is not one stack" in found
    assert "--axes YXS to average its samples or channels to grey" in found
    assert f"--axes ZYX if it is {describe_shape(shape)}" in found
    np.testing.assert_array_equal(read(path, axes="ZYX"), pixels)
    colours = pixels[..., :3]  # the fourth sample is opacity
    np.testing.assert_array_equal(read(path, axes="YXS")[0], np.rint(colours.mean(axis=-1)))


def test_a_picture_is_never_a_stack(tmp_path):
    imageio.imwrite(tmp_path / "a.png", noise((5, 6, 3)))
    assert "ZYX" not in refused(tmp_path / "a.png")


def test_an_axis_of_another_letter_may_be_read_as_sections_or_channels(tmp_path):
    pixels, path = noise((5, 6, 7)), tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "AYX"}, photometric="minisblack")
    assert "hint: --axes ZYX if A counts sections, --axes CYX to average" in refused(path)
    np.testing.assert_array_equal(read(path, axes="ZYX"), pixels)
    np.testing.assert_array_equal(read(path, axes="CYX")[0], np.rint(pixels.mean(axis=0)))


def test_opacity_does_not_count_as_grey(tmp_path):
    pixels = np.dstack([np.full((5, 6), 10, np.uint8)] * 3 + [np.full((5, 6), 255, np.uint8)])
    imageio.imwrite(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read(tmp_path / "a.png", axes="yxs"), np.full((1, 5, 6), 10))


@pytest.mark.parametrize("ome", [True, False])
def test_thirty_channels_are_not_taken_for_sections(tmp_path, ome):
    pixels = noise((30, 5, 6))
    options = {"ome": True} if ome else {"imagej": True}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "CYX"}, **options)
    assert "--axes ZYX if C counts sections, --axes CYX to average" in refused(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="ZYX"), pixels)
    grey = np.rint(pixels.mean(axis=0))[None]
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="CYX"), grey)


@pytest.mark.parametrize("kind", ["ome", "imagej", "shaped"])
@pytest.mark.parametrize("axes", ["TZYX", "ZCYX"])
def test_four_dimensions_are_refused(tmp_path, kind, axes):
    pixels = noise((2, 3, 5, 6), "uint16")
    options = {} if kind == "shaped" else {kind: True}
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, metadata={"axes": axes}, photometric="minisblack", **options
    )
    assert f"an array of 2x3x5x6 ({axes}) is not one stack" in refused(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read(tmp_path / "a.tif", axes="CZYX"), np.rint(pixels.mean(axis=0))
    )
    assert "save one of T and Z" in refused(tmp_path / "a.tif", axes="TZYX")


@pytest.mark.parametrize("letter", "ZTIQP")
def test_pages_of_any_name_are_sections(tmp_path, letter):
    pixels = noise((4, 5, 6))
    options = {"metadata": {"axes": f"{letter}YX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


def test_given_axes_may_put_the_sections_last(tmp_path):
    h5py = pytest.importorskip("h5py")
    pixels = noise((5, 6, 7))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = pixels
    moved = np.moveaxis(pixels, 2, 0)
    np.testing.assert_array_equal(read(f"{tmp_path}/a.h5:/raw", axes="YXZ"), moved)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="YXZ"), moved)


def test_pages_read_in_another_order_than_the_file_says_are_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((4, 5, 6)), photometric="minisblack")
    with io.open_stack(tmp_path / "a.tif", axes="YXZ") as stack:
        assert stack.notes == ("the file says that its axes are QYX, --axes reads them as YXZ",)
    for axes in ("ZYX", "CYX"):  # the file does not say what its pages are
        with io.open_stack(tmp_path / "a.tif", axes=axes) as stack:
            assert stack.notes == ()


@pytest.mark.parametrize(("shape", "own"), [((5, 6), "YX"), ((4, 5, 6), "ZYX")])
def test_colours_of_a_grey_tiff_are_refused(tmp_path, shape, own):
    tifffile.imwrite(tmp_path / "a.tif", noise(shape), photometric="minisblack")
    with pytest.raises(OptionError, match=f"whose axes are {own}") as caught:
        io.open_stack(tmp_path / "a.tif", axes="YXS")
    assert caught.value.hint == f"--axes {own}"


@pytest.mark.parametrize("axes", ["YX", "TZYX", "ZXX", "ABC", "", "ZY"])
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", noise((4, 5, 6)), photometric="minisblack")
    with pytest.raises(OptionError, match=f"a.tif: the axes '{axes}' (do not fit|are not)"):
        io.open_stack(tmp_path / "a.tif", axes=axes)
