"""PNG and JPEG files, in and out through imageio."""

import imageio.v3 as imageio
import numpy as np
import PIL.Image
import pytest

from sfseg import io
from sfseg.errors import OutputExistsError, StackError
from tests.io.files import noise, refused


def grey(dtype="uint8"):
    return (np.arange(48).reshape(6, 8) * 5).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
def test_grey_values_of_a_png_come_back(tmp_path, dtype):
    pixels = grey("uint8") if dtype == "uint8" else (grey("uint16") * 200).astype(dtype)
    io.write_picture(tmp_path / "a.png", pixels)
    with io.open_stack(tmp_path / "a.png") as stack:
        assert stack.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(stack.read(), pixels[None])


def test_colours_of_a_png_come_back(tmp_path):
    colours = np.dstack([grey(), grey() // 2, 255 - grey()])
    io.write_picture(str(tmp_path / "a.png"), colours)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "a.png")), colours)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "turned.jpg", ""])
def test_a_stack_says_what_decoding_a_picture_takes(tmp_path, name):
    colours = np.dstack([grey()] * 3)
    if name == "turned.jpg":
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        PIL.Image.fromarray(colours).save(tmp_path / name, exif=exif)
    else:
        io.write_picture(tmp_path / (name or "a.png"), colours)
    with io.open_stack(tmp_path / name) as stack:
        assert stack.decoding_bytes >= 3 * colours.nbytes
        assert stack.with_voxel_size((1, 1, 1)).decoding_bytes == stack.decoding_bytes
    io.write_stack(tmp_path / "a.tif", grey()[None])
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.decoding_bytes == 0  # read in windows


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_a_jpeg_comes_back_about_the_same(tmp_path, suffix):
    io.write_picture(tmp_path / f"a.{suffix}", grey())
    with io.open_stack(tmp_path / f"a.{suffix}") as stack:
        assert np.abs(stack.read()[0].astype(int) - grey()).max() < 20


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_single_picture_is_one_section(tmp_path, suffix):
    imageio.imwrite(tmp_path / f"a.{suffix}", np.full((16, 24), 99, np.uint8))
    with io.open_stack(tmp_path / f"a.{suffix}") as stack:
        assert stack.describe() == "1 section of 16x24, uint8, no voxel size"
        np.testing.assert_array_equal(stack.read(), np.full((1, 16, 24), 99))


@pytest.mark.parametrize(
    ("name", "found"), [("a.png", "the pixels cannot be read"), ("a.jpg", "have no end")]
)
def test_a_picture_cut_short_is_refused(tmp_path, name, found):
    imageio.imwrite(tmp_path / name, noise((64, 64)))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert found in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("a.gif", grey(), "the name of a picture ends in .png or .jpg"),
        ("a.jpg", grey("uint16"), "uint16 of shape (6, 8) cannot be written as jpg"),
        ("a.png", grey("float32"), "float32 of shape (6, 8) cannot be written as png"),
        ("a.png", np.zeros((6, 8, 4), np.uint8), "shape (6, 8, 4)"),
        ("a.png", np.zeros((0, 8), np.uint8), "shape (0, 8)"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, array, found):
    with pytest.raises(StackError) as caught:
        io.write_picture(tmp_path / name, array)
    assert found in str(caught.value)
    assert "hint: " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_replaced_only_on_request(tmp_path):
    io.write_picture(tmp_path / "a.png", grey())
    with pytest.raises(OutputExistsError):
        io.write_picture(tmp_path / "a.png", grey())
    io.write_picture(tmp_path / "a.png", grey() + 1, overwrite=True)


def test_reading_leaves_the_limit_of_pillow_as_it_was(tmp_path, monkeypatch):
    io.write_picture(tmp_path / "a.png", grey())
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 7)
    with io.open_stack(tmp_path / "a.png") as stack:
        assert stack.read().shape == (1, 6, 8)
    assert PIL.Image.MAX_IMAGE_PIXELS == 7
