"""Opening a stack of any kind: what is accepted, and in which type."""

import hashlib

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import ShapeMismatchError
from tests.io.files import assert_windows_of, noise, refused

ISBI_PIXELS = {  # from the page of datasets
    "train-volume.tif": "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
    "train-labels.tif": "a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
    "test-volume.tif": "1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
}


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ("bool", "uint8"),
        ("int16", "int32"),
        ("float16", "float32"),
        ("float64", "float32"),
        ("int32", "int32"),
        ("uint32", "uint32"),
        ("int64", "int64"),
        ("uint64", "uint64"),
    ],
)
def test_other_types_become_one_that_holds_their_values(tmp_path, stored, found):
    pixels = np.arange(24).reshape(2, 3, 4).astype(stored)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.dtype == found
        np.testing.assert_array_equal(stack.read(), pixels)


def test_complex_pixels_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((2, 3, 4), np.complex64), photometric="minisblack"
    )
    assert "pixels of type complex64 cannot be read" in refused(tmp_path / "a.tif")


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("not an image")
    (tmp_path / "report.docx").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "folder").mkdir()
    assert "missing.tif: there is no such file" in refused(tmp_path / "missing.tif")
    assert "empty.tif: the file is empty" in refused(tmp_path / "empty.tif")
    assert "this is not an image" in refused(tmp_path / "text.tif")
    assert "this is not an image" in refused(tmp_path / "report.docx")
    assert "there are no images here" in refused(tmp_path / "folder")
    assert "there are no images here" in refused(f"{tmp_path}/*.png")
    assert "this is not a pattern of file names" in refused(f"{tmp_path}/**.png")
    assert "/dev/null: this is not a file" in refused("/dev/null")


def test_images_of_a_folder_that_differ_are_both_named(tmp_path):
    imageio.imwrite(tmp_path / "s1.png", noise((5, 6)))
    imageio.imwrite(tmp_path / "s2.png", noise((5, 7)))
    with pytest.raises(ShapeMismatchError) as caught:
        io.open_stack(tmp_path)
    assert str(tmp_path / "s2.png") in caught.value.message
    assert f"does not match {tmp_path / 's1.png'}, 5x6 of uint8" in caught.value.message
    assert f"{tmp_path / 's2.png'}: 5x7 of uint8" in caught.value.message


def test_images_of_a_folder_must_agree_in_type(tmp_path):
    imageio.imwrite(tmp_path / "s1.png", noise((5, 6)))
    imageio.imwrite(tmp_path / "s2.png", noise((5, 6), "uint16"))
    with pytest.raises(ShapeMismatchError, match=r"5x6 of uint16 does not match .* 5x6 of uint8"):
        io.open_stack(tmp_path)


def test_a_folder_of_two_kinds_of_images_is_ambiguous(tmp_path):
    imageio.imwrite(tmp_path / "s1.png", noise((5, 6)))
    imageio.imwrite(tmp_path / "s2.tif", noise((5, 6)))
    assert "of several kinds: .png, .tif" in refused(tmp_path)


def test_a_stack_in_a_folder_of_sections_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 6)), photometric="minisblack")
    assert "a file of a folder must be one section, this one has 2" in refused(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_window_of_a_folder_is_that_part_of_one_file(tmp_path, suffix):
    pixels = noise((12, 20, 30))
    for number, section in enumerate(pixels, start=1):
        imageio.imwrite(tmp_path / f"s{number}.{suffix}", section)
    with io.open_stack(tmp_path) as stack:
        wanted = [(i, slice(3, 17), slice(i, 30)) for i in (11, 0, 0, 5)]
        assert_windows_of(stack, pixels, wanted)


@pytest.mark.parametrize("name", ISBI_PIXELS)
def test_the_challenge_stacks_are_what_their_page_says(isbi, name):
    with io.open_stack(isbi / name) as stack:
        assert stack.describe() == "30 sections of 512x512, uint8, voxel 50x4x4 nm"
        assert hashlib.sha256(stack.read().tobytes()).hexdigest() == ISBI_PIXELS[name]
