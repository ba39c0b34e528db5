"""Pixels as image programs show them: min-is-white, palettes, grey in colours, orientation."""

import imagecodecs
import imageio.v3 as imageio
import numpy as np
import PIL.Image
import pytest
import tifffile

from sfseg import io
from tests.io.files import assert_windows_of, noise, read, refused

RAMP = np.repeat(np.arange(256, dtype="u2")[None] * 257, 3, axis=0)
COLOURS = np.random.default_rng(1).integers(0, 2**16, (3, 256), dtype="u2")
ORIENTED = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


def palette_tiff(path, pixels, colormap):
    options = {"photometric": "palette", "colormap": colormap, "metadata": None}
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw", "tile": (16, 16)}])
def test_a_min_is_white_tiff_is_read_as_it_is_seen_and_said(tmp_path, dtype, options):
    pixels, path = noise((3, 20, 30), dtype), tmp_path / "a.tif"
    stored = 1 - pixels if dtype == "float32" else np.iinfo(dtype).max - pixels
    tifffile.imwrite(path, stored, photometric="miniswhite", metadata=None, **options)
    with io.open_stack(path) as stack:
        np.testing.assert_allclose(stack.read(), pixels, atol=1e-6)
        assert stack.dtype == dtype
        assert stack.notes == (
            "its pixels are stored min-is-white: it is read as image programs show it",
        )


def test_pages_may_differ_in_what_is_white(tmp_path):
    pixels = noise((2, 20, 30))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels[0], photometric="minisblack", metadata=None)
        writer.write(255 - pixels[1], photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


def test_a_tiff_that_does_not_say_what_is_white_is_read_as_before(tmp_path):
    pixels, path = noise((20, 30)), tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[0].tags["PhotometricInterpretation"].offset
    data = bytearray(path.read_bytes())
    data[at : at + 2] = (40000).to_bytes(2, "little")
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path)[0], pixels)


@pytest.mark.parametrize("white", [0, 1])
def test_bilevel_pages_are_read_as_they_are_seen(tmp_path, white):
    pixels, path = noise((20, 30)) > 99, tmp_path / "a.tif"
    photometric = "minisblack" if white else "miniswhite"
    tifffile.imwrite(path, pixels == bool(white), photometric=photometric, metadata=None)
    for labels in (True, False):
        np.testing.assert_array_equal(read(path, labels=labels)[0], pixels)


def test_masks_are_read_as_they_are_seen_and_the_numbers_of_cells_are_kept(tmp_path):
    mask, cells = np.where(noise((2, 20, 30)) > 99, np.uint8(255), np.uint8(0)), noise((2, 20, 30))
    inverted = RAMP[:, ::-1]
    for stored, shown in ((255 - mask, mask), (cells, cells)):
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", metadata=None)
        np.testing.assert_array_equal(read(tmp_path / "a.tif", labels=True), shown)
        path = palette_tiff(tmp_path / "b.tif", stored, inverted)
        np.testing.assert_array_equal(read(path, labels=True), shown)
    for palette in (RAMP, COLOURS):
        path = palette_tiff(tmp_path / "c.tif", cells, palette)
        np.testing.assert_array_equal(read(path, labels=True), cells)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_grey_palette_is_applied_and_one_of_colours_refused(tmp_path, suffix, inverted):
    pixels = noise((20, 30))
    path = tmp_path / f"a.{suffix}"
    for palette in (RAMP[:, ::-1] if inverted else RAMP, COLOURS):
        if suffix == "tif":
            palette_tiff(path, pixels, palette)
        else:
            picture = PIL.Image.fromarray(pixels, "P")
            picture.putpalette((palette.T >> 8).astype("u1").tobytes())
            picture.save(path)
        if palette is not COLOURS:
            np.testing.assert_array_equal(read(path)[0], 255 - pixels if inverted else pixels)
    grey = np.rint((COLOURS.T >> 8)[pixels].mean(axis=-1))
    axes = refused(path).partition("hint: --axes ")[2].split()[0]
    np.testing.assert_array_equal(read(path, axes=axes)[0], grey)
    np.testing.assert_array_equal(read(path, labels=True)[0], pixels)


def test_a_palette_is_grey_if_the_colours_that_are_used_are(tmp_path):
    palette = RAMP.copy()
    palette[:, 200:] = COLOURS[:, 200:]
    pixels = noise((3, 20, 30)) // 2
    path = palette_tiff(tmp_path / "a.tif", pixels, palette)
    np.testing.assert_array_equal(read(path), pixels)


def test_a_palette_that_is_not_there_is_said(tmp_path):
    pixels = noise((20, 30))
    path = palette_tiff(tmp_path / "a.tif", pixels, RAMP)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        at = tif.pages[0].tags["ColorMap"].offset
        tif.filehandle.seek(at)
        tif.filehandle.write((40000).to_bytes(2, "little"))
    with io.open_stack(path) as stack:
        assert "its palette is missing or damaged" in stack.notes[0]
        np.testing.assert_array_equal(stack.read()[0], pixels)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("samples", [3, 4])
def test_equal_red_green_and_blue_are_grey(tmp_path, name, samples):
    pixels = np.repeat(noise((40, 30))[..., None], samples, axis=-1)
    if samples == 4:
        pixels[..., 3] = 255
    if name == "a.jpg":
        pixels = pixels[..., :3]
    imageio.imwrite(tmp_path / name, pixels)
    expected = np.asarray(PIL.Image.open(tmp_path / name).convert("L"))
    np.testing.assert_array_equal(read(tmp_path / name)[0], expected)
    if name != "a.jpg":
        pixels[39, 29] = (1, 2, 3, 255)[:samples]
        imageio.imwrite(tmp_path / name, pixels)
        assert "hint: --axes YXS" in refused(tmp_path / name)
        if samples == 4:
            pixels[39, 29] = (1, 1, 1, 99)  # transparent
            imageio.imwrite(tmp_path / name, pixels)
            refused(tmp_path / name)


def test_equal_colours_of_16_bits_are_grey(tmp_path):
    pixels = noise((20, 30), "uint16")
    data = imagecodecs.png_encode(np.repeat(pixels[..., None], 3, axis=-1))
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_stack_of_grey_colours_is_read_in_windows(tmp_path, planar):
    pixels, path = noise((3, 40, 30), "uint16"), tmp_path / "a.tif"
    axis = 1 if planar == "separate" else 3
    stored = np.stack([pixels] * 3, axis=axis)
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, metadata=None)
    with io.open_stack(path) as stack:
        assert_windows_of(stack, pixels, [(2, slice(3, 9), slice(5, 30))])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_of_a_tiff_is_applied(tmp_path, orientation):
    pixels, path = noise((2, 20, 30)), tmp_path / "a.tif"
    options = {"resolution": (1e7 / 4, 1e7 / 5), "resolutionunit": "CENTIMETER", "metadata": None}
    options["extratags"] = [(274, 3, 1, orientation, False)]
    tifffile.imwrite(path, pixels, photometric="minisblack", **options)
    turn = ORIENTED.get(orientation, np.asarray)
    expected = np.stack([turn(section) for section in pixels])
    for labels in (False, True):
        with io.open_stack(path, labels=labels) as stack:
            assert stack.shape == expected.shape
            assert stack.voxel_size_nm[1:] == ((4, 5) if orientation > 4 else (5, 4))
            assert len(stack.notes) == (orientation > 1)
            assert_windows_of(stack, expected, [(1, slice(3, 9), slice(5, 20))])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_exif_orientation_of_a_picture_is_applied(tmp_path, suffix, orientation):
    exif, path = PIL.Image.Exif(), tmp_path / f"a.{suffix}"
    exif[0x0112] = orientation
    PIL.Image.fromarray(noise((20, 30))).save(path, exif=exif)
    stored = np.asarray(PIL.Image.open(path))
    expected = ORIENTED.get(orientation, np.asarray)(stored)
    np.testing.assert_array_equal(read(path)[0], expected)
    if suffix == "png":  # other programs write it behind the pixels
        data = path.read_bytes()
        start, end = data.index(b"eXIf") - 4, data.index(b"IDAT") - 4
        path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
        np.testing.assert_array_equal(read(path)[0], expected)


def test_pages_that_are_turned_otherwise_are_refused_and_odd_tags_turn_nothing(tmp_path):
    pixels, path = noise((2, 20, 30)), tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, pixels, extratags=[(274, 3, 1, 6, True)], **options)
    assert "page 2: its orientation tag is 1, that of page 1 is 6" in refused(path)
    for tag in ((274, 3, 1, 99, False), (274, 2, 3, "odd", False), (274, 3, 2, (6, 6), False)):
        tifffile.imwrite(path, pixels, extratags=[tag], **options)
        np.testing.assert_array_equal(read(path), pixels)
