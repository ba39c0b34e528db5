"""Sections and windows of an open stack; pixels that are not finite."""

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import NonFiniteError
from sfseg.io.turned import turn_stack
from tests.io.files import SHAPE, noise, read


def test_sections_can_be_read_one_by_one_in_any_order(tmp_path):
    pixels = noise((4, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert len(stack) == 4
        np.testing.assert_array_equal(stack.section(2), pixels[2])
        np.testing.assert_array_equal(stack.read([3, 0]), pixels[[3, 0]])
        np.testing.assert_array_equal(np.stack(list(stack)), pixels)
        with pytest.raises(IndexError, match="no section -1 below 4"):
            stack.section(-1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pixels_that_were_read_belong_to_the_reader(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    imageio.imwrite(path, noise((20, 30)))
    with io.open_stack(path) as stack:
        stack.section(0)[:] = 0
        np.testing.assert_array_equal(stack.section(0), noise((20, 30)))


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 0), (0, 1)), ((5, 3), (0, 1)), ((0, 51), (0, 1)), ((0, 1), (-1, 3))]
)
def test_a_window_that_is_empty_or_leaves_the_section_is_refused(tmp_path, rows, columns):
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE), photometric="minisblack")
    with io.open_stack(tmp_path / "a.tif") as stack:
        with pytest.raises(IndexError, match="is not a window within"):
            stack.window(0, slice(*rows), slice(*columns))
        with pytest.raises(IndexError, match="there is no section 3 below 3"):
            stack.window(3, slice(0, 1), slice(0, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_pixel_that_is_not_finite_is_named(bad):
    section = np.zeros((5, 6), np.float32)
    io.require_finite(section, "a.tif", 3)
    section[2, 4] = section[4, 0] = bad
    with pytest.raises(
        NonFiniteError, match=f"a.tif: section 3: the pixel in row 2, column 4 is {bad}"
    ):
        io.require_finite(section, "a.tif", 3)


def test_a_float64_beyond_float32_is_not_finite(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((1, 2, 2), 1e300), photometric="minisblack")
    with pytest.raises(NonFiniteError):
        io.require_finite(read(tmp_path / "a.tif")[0], "a.tif", 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int64", "float32"])
def test_an_inverted_stack_is_darkest_where_the_stack_is_brightest(dtype):
    pixels = np.arange(60).reshape(3, 4, 5).astype(dtype)
    found = io.open_array(pixels, "test").inverted()
    assert found.read().dtype == found.dtype
    np.testing.assert_array_equal(np.diff(found.read().ravel().astype(float)), -1)
    assert found.sha256() == io.open_array(pixels, "test").sha256()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_short_numbers_are_inverted_as_fiji_does(dtype):
    pixels = np.arange(60).reshape(3, 4, 5).astype(dtype)
    top = np.iinfo(dtype).max
    np.testing.assert_array_equal(io.open_array(top - pixels, "test").inverted().read(), pixels)


def test_an_input_is_hashed_once_also_for_stacks_made_of_it(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise(SHAPE), photometric="minisblack")
    hashed = []
    monkeypatch.setattr("sfseg.io.open.hash_input", lambda name: hashed.append(name) or "abc")
    with io.open_stack(tmp_path / "a.tif") as stack:
        made = [stack, stack.inverted(), turn_stack(stack, (1, 0, 2), 2**20)]
        assert [each.sha256() for each in made] == ["abc"] * 3
    assert hashed == [str(tmp_path / "a.tif")]
