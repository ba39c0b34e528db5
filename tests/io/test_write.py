"""`write_stack` takes an array, `write_sections` a stream; both say what is wrong with theirs."""

import math

import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import OutputExistsError, StackError
from tests.io.files import VOXEL, noise


def pixels(shape=(2, 5, 6), dtype="uint8"):
    return np.arange(math.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_an_array_is_written_and_read_back(tmp_path, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    io.write_stack(str(tmp_path / name), pixels(), voxel_size_nm=(50, 4, 4))
    with io.open_stack(tmp_path / name) as stack:
        assert stack.voxel_size_nm == (50, 4, 4)
        np.testing.assert_array_equal(stack.read(), pixels())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_section_is_a_stack_of_one(tmp_path):
    io.write_stack(tmp_path / "a.tif", pixels((5, 6)))
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.shape == (1, 5, 6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
@pytest.mark.parametrize("voxel", [VOXEL, (60e3, 2e3, 2e3), (math.nan, 4.6, 4.0), None])
@pytest.mark.parametrize("count", [1, 3])
def test_a_written_stack_is_read_with_its_voxel_size(tmp_path, dtype, voxel, count):
    pixels = noise((count, 5, 6), dtype)
    path = tmp_path / "new" / "out.tif"
    io.write_sections(path, iter(pixels), pixels.shape, dtype, voxel_size_nm=voxel)
    with io.open_stack(path) as stack:
        assert stack.dtype == dtype
        assert stack.voxel_size_nm == (None if voxel is None else pytest.approx(voxel, nan_ok=True))
        np.testing.assert_array_equal(stack.read(), pixels)
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(path)), np.squeeze(pixels))
    assert list(path.parent.iterdir()) == [path]


def test_an_array_and_its_sections_give_the_same_bytes(tmp_path):
    io.write_stack(tmp_path / "a.tif", pixels())
    io.write_sections(tmp_path / "b" / "a.tif", iter(pixels()), (2, 5, 6), "uint8")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b" / "a.tif").read_bytes()


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    for dtype in ("uint8", "int32"):
        written = []
        for folder in ("a", "b"):
            path = tmp_path / dtype / folder / "out.tif"
            io.write_stack(path, noise((2, 5, 6), dtype), voxel_size_nm=VOXEL)
            written.append(path.read_bytes())
        assert written[0] == written[1]


def test_the_byte_order_of_the_array_does_not_matter(tmp_path):
    io.write_stack(tmp_path / "a.tif", pixels(dtype=">u2"))
    with io.open_stack(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read(), pixels())


def test_nan_in_a_map_is_written_as_it_is(tmp_path):
    io.write_stack(tmp_path / "a.tif", np.full((1, 2, 2), np.nan, np.float32))
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert np.isnan(stack.read()).all()


@pytest.mark.parametrize(
    ("array", "found"),
    [
        ("in.tif", "write_stack: an array is needed here, not the path 'in.tif'"),
        (np.zeros((0, 5, 6), np.uint8), "shape (0, 5, 6) is no stack"),
        (np.zeros(5, np.uint8), "shape (5,) is no stack"),
        (np.zeros((1, 2, 3, 4), np.uint8), "shape (1, 2, 3, 4) is no stack"),
        (np.array(["a", "b"]), "holds no real numbers, but <U1"),
        (np.zeros((2, 2), complex), "holds no real numbers, but complex128"),
        ([[1, 2], [3]], "NumPy cannot make an array of it"),
        (None, "holds no real numbers, but object"),
        (np.zeros((2, 2)), "float64 pixels cannot be written"),
        (np.zeros((2, 2), bool), "bool pixels cannot be written"),
    ],
)
def test_what_is_no_stack_gets_a_sentence_and_leaves_nothing(tmp_path, array, found):
    with pytest.raises(StackError) as caught:
        io.write_stack(tmp_path / "a.tif", array)
    assert found in str(caught.value)
    assert "hint: " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_array_where_the_path_belongs_gets_a_sentence():
    with pytest.raises(StackError, match="the path of a file is needed here, not an array"):
        io.write_stack(pixels(), "a.tif")
    with pytest.raises(StackError, match="the path of a file is needed here, not a NoneType"):
        io.write_stack(None, pixels())


@pytest.mark.parametrize("name", ["a.png", "a"])
def test_a_name_of_another_ending_gets_a_sentence(tmp_path, name):
    with pytest.raises(StackError, match=r"hint: name it .*a\.tif"):
        io.write_stack(tmp_path / "new" / name, pixels())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("voxel", [(4, 4), (50, 4, math.nan), (50, 0, 4), (50, -4, 4)])
def test_a_voxel_size_that_is_none_gets_a_sentence(tmp_path, voxel):
    with pytest.raises(StackError, match="is not three lengths in nm"):
        io.write_stack(tmp_path / "a.tif", pixels(), voxel_size_nm=voxel)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_stack_is_replaced_only_on_request(tmp_path, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    io.write_stack(tmp_path / name, pixels())
    with pytest.raises(OutputExistsError):
        io.write_stack(tmp_path / name, pixels() + 1)
    io.write_stack(tmp_path / name, pixels() + 1, overwrite=True)
    with io.open_stack(tmp_path / name) as stack:
        np.testing.assert_array_equal(stack.read(), pixels() + 1)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_sections_that_are_not_what_was_said_leave_nothing_behind(tmp_path, dtype):
    path, pixels = tmp_path / "out.tif", noise((3, 5, 6), dtype)
    cases = {
        "4 sections announced, 3 came": (pixels, (4, 5, 6), dtype),
        "more than 2 sections": (pixels, (2, 5, 6), dtype),
        "section 1: 5x6 of .* do not fill 5x7": (pixels, (3, 5, 7), dtype),
        "section 1: 5x6 of .* do not fill 5x6 of uint16": (pixels, (3, 5, 6), "uint16"),
        "float64 pixels cannot": (pixels, (3, 5, 6), "float64"),
        "0 sections of 5x6 has no pixels": (pixels[:0], (0, 5, 6), dtype),
    }
    for found, (sections, shape, said) in cases.items():
        with pytest.raises(StackError, match=found):
            io.write_sections(path, sections, shape, said)
        assert list(tmp_path.iterdir()) == []


def test_an_error_while_sections_come_leaves_the_old_file(tmp_path):
    def sections():
        yield noise((5, 6))
        raise KeyboardInterrupt

    path = tmp_path / "out.tif"
    path.write_text("the old one")
    with pytest.raises(OutputExistsError):
        io.write_sections(path, sections(), (2, 5, 6), "uint8")
    with pytest.raises(KeyboardInterrupt):
        io.write_sections(path, sections(), (2, 5, 6), "uint8", overwrite=True)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]
