"""MRC files: those of mrcfile, of IMOD and by hand are read right; ours are read by mrcfile."""

import gzip
import io as bytes_io

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import StackError
from tests.io.files import SHAPE, assert_windows_of, noise, read, refused, windows

MODES = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}


def write(path, pixels, voxel=(40, 46, 500), *, order="<", **header):
    """Let mrcfile write a file; `header` changes fields afterwards."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(pixels.astype(pixels.dtype.newbyteorder(order)))
        file.voxel_size = voxel  # x, y, z in angstrom
        for key, value in header.items():
            file.header[key] = value
    return path


def change(path, at, data):
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", MODES)
def test_each_mode_is_read_in_both_orders_of_bytes(tmp_path, kind, order):
    pixels = noise(SHAPE, kind)
    path = write(tmp_path / "a.mrc", pixels, order=order)
    with io.open_stack(path) as stack:
        assert stack.dtype == {"int8": "i4", "int16": "i4", "float16": "f4"}.get(kind, kind)
        assert stack.voxel_size_nm == pytest.approx((50, 4.6, 4))
        np.testing.assert_array_equal(stack.read(), pixels)


@pytest.mark.parametrize("suffix", [".rec", ".st", ".map", ".mrcs", ".mrc.gz", ".map.gz"])
def test_any_name_and_gzip_are_read(tmp_path, suffix):
    pixels, path = noise(SHAPE, "int16"), tmp_path / f"a{suffix}"
    write(tmp_path / "a.mrc", pixels)
    data = (tmp_path / "a.mrc").read_bytes()
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    np.testing.assert_array_equal(read(path), pixels)


@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(windows(), min_size=2, max_size=2))
def test_windows_are_those_of_the_sections(tmp_path_factory, wanted):
    pixels, path = noise(SHAPE, "int16"), tmp_path_factory.mktemp("mrc") / "a.mrc"
    with io.open_stack(write(path, pixels)) as stack:
        assert_windows_of(stack, pixels, wanted)


def test_an_extended_header_is_left_out(tmp_path):
    pixels, path = noise(SHAPE, "uint16"), write(tmp_path / "a.mrc", noise(SHAPE, "uint16"))
    with mrcfile.open(path, "r+") as file:
        file.set_extended_header(np.zeros(1000, "V1"))
    np.testing.assert_array_equal(read(path), pixels)


def test_one_section_and_a_stack_of_volumes_are_stacks(tmp_path):
    pixels = noise((4, 5, 6), "int16")
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", pixels[0]))[0], pixels[0])
    path = write(tmp_path / "b.mrc", pixels.reshape(2, 2, 5, 6))
    np.testing.assert_array_equal(read(path), pixels)


def test_a_file_without_the_mark_is_known_by_its_name(tmp_path):
    pixels = noise(SHAPE, "int16")
    old = change(write(tmp_path / "a.rec", pixels), 208, bytes(8))
    np.testing.assert_array_equal(read(old), pixels)
    assert "this is not an image" in refused(old.rename(tmp_path / "a.dat"))


IMOD_UNSIGNED = b"IMOD" + bytes(4)
IMOD_SIGNED = b"IMOD" + b"\x01\0\0\0"


@pytest.mark.parametrize(("mark", "dtype"), [(IMOD_UNSIGNED, "u1"), (IMOD_SIGNED, "i1")])
def test_bytes_of_imod_are_signed_as_its_flags_say(tmp_path, mark, dtype):
    pixels = noise(SHAPE, "int8")
    path = change(write(tmp_path / "a.mrc", pixels), 152, mark)
    np.testing.assert_array_equal(read(path), pixels.view(dtype))


def test_bytes_with_a_maximum_over_127_are_unsigned_and_said_to_be(tmp_path):
    pixels = noise(SHAPE)
    path = write(tmp_path / "a.mrc", pixels.view("int8"), dmin=0, dmax=255, dmean=120)
    with io.open_stack(path) as stack:
        np.testing.assert_array_equal(stack.read(), pixels)
        assert "read without sign" in stack.notes[0]


@pytest.mark.parametrize("width", [70, 71])
def test_pixels_of_4_bits_are_unpacked_the_lower_bits_first(tmp_path, width):
    pixels = noise((3, 50, width)) & 15
    even = np.pad(pixels, ((0, 0), (0, 0), (0, width % 2)))
    packed = even[..., ::2] | even[..., 1::2] << 4
    path = write(tmp_path / "a.mrc", packed.astype("u1").view("i1"))
    change(path, 0, np.array([width], "<i4").tobytes())
    change(path, 12, np.array([101], "<i4").tobytes())
    np.testing.assert_array_equal(read(path), pixels)
    with io.open_stack(path) as stack:
        found = stack.window(1, slice(3, 9), slice(5, 12))
        np.testing.assert_array_equal(found, pixels[1, 3:9, 5:12])


@pytest.mark.parametrize(
    ("voxel", "expected"),
    [
        ((40, 40, 500), (50, 4, 4)),
        ((40, 40, 0), (np.nan, 4, 4)),
        ((0, 0, 0), None),
        ((1, 1, 1), None),  # what programs write that do not know it
        ((1, 1, 40), (4, 0.1, 0.1)),
    ],
)
def test_the_voxel_size_is_the_cell_by_its_intervals_in_angstrom(tmp_path, voxel, expected):
    path = write(tmp_path / "a.mrc", noise(SHAPE, "int16"), voxel)
    with io.open_stack(path) as stack:
        assert bool(stack.notes) == (voxel == (1, 1, 1))
        if expected is None:
            assert stack.voxel_size_nm is None
        else:
            np.testing.assert_allclose(stack.voxel_size_nm, expected, rtol=1e-6)


def test_axes_that_the_header_names_are_followed(tmp_path):
    pixels = noise(SHAPE, "int16")
    path = write(tmp_path / "a.mrc", pixels.T.copy(), mapc=3, mapr=2, maps=1)
    np.testing.assert_array_equal(read(path), pixels)


@pytest.mark.parametrize(("mode", "words"), [(3, "complex"), (4, "complex"), (16, "mode 16")])
def test_modes_that_are_no_grey_values_are_refused(tmp_path, mode, words):
    path = write(tmp_path / "a.mrc", noise(SHAPE, "int16"))
    assert words in refused(change(path, 12, np.array([mode], "<i4").tobytes()))


def test_a_file_that_is_cut_short_is_refused_and_one_that_is_longer_says_so(tmp_path):
    pixels, path = noise(SHAPE, "int16"), write(tmp_path / "a.mrc", noise(SHAPE, "int16"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "the file has 20999 of 21000 bytes of pixels" in refused(path)
    path.write_bytes(whole + bytes(7000))
    with io.open_stack(path) as stack:
        assert stack.notes == (
            "the file holds 1 section more than its header says, which are left out",
        )
        np.testing.assert_array_equal(stack.read(), pixels)


@pytest.mark.parametrize("sizes", [(-5, 50, 3), (2**31 - 1, 2**31 - 1, 2**31 - 1), (0, 0, 0)])
def test_sizes_that_make_no_sense_are_refused(tmp_path, sizes):
    path = write(tmp_path / "a.mrc", noise(SHAPE, "int16"))
    assert "makes no sense" in refused(change(path, 0, np.array(sizes, "<i4").tobytes()))


def test_a_packed_file_that_would_fill_the_disk_is_refused(tmp_path):
    path = write(tmp_path / "a.mrc", noise(SHAPE, "int16"))
    change(path, 0, np.array([2**20, 2**20, 8], "<i4").tobytes())
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "over 10000 times as many" in refused(path)


def test_a_packed_file_that_is_damaged_is_refused(tmp_path):
    path = write(tmp_path / "a.mrc", noise((30, 50, 70), "int16"))
    data = bytearray(gzip.compress(path.read_bytes()))
    for damaged in (data[:-3000], [*data[:-3000], *bytes(100), *data[-2900:]]):
        path.write_bytes(bytes(damaged))
        assert "the pixels cannot be read" in refused(path)


def test_a_folder_of_sections_in_mrc_is_a_stack_and_beside_tiffs_they_are_left_out(tmp_path):
    pixels = noise(SHAPE, "int16")
    for number, section in enumerate(pixels):
        write(tmp_path / f"s{number}.mrc", section)
    np.testing.assert_array_equal(read(tmp_path), pixels)
    np.testing.assert_array_equal(read(tmp_path / "s*.mrc"), pixels)
    io.write_stack(tmp_path / "a.tif", pixels[0].astype("uint16"))
    assert read(tmp_path).shape == (1, *SHAPE[1:])


# --- out


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
@pytest.mark.parametrize("voxel", [(50.0, 4.6, 4.0), (np.nan, 4.6, 4.0), None])
def test_what_is_written_is_read_back_by_mrcfile_and_valid(tmp_path, dtype, voxel):
    pixels, path = noise(SHAPE, dtype), tmp_path / "a.mrc"
    io.write_stack(path, pixels, voxel_size_nm=voxel)
    said = bytes_io.StringIO()
    assert mrcfile.validate(path, print_file=said), said.getvalue()
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, pixels)
        assert file.header.mode == MODES[dtype]
        sides = [float(file.voxel_size[axis]) for axis in "zyx"]
        np.testing.assert_allclose(sides, [10 * n for n in np.nan_to_num(voxel or (0, 0, 0))], 1e-6)
        doubles = pixels.astype("f8")
        told = [float(file.header[key]) for key in ("dmin", "dmax", "dmean", "rms")]
        right = [doubles.min(), doubles.max(), doubles.mean(), doubles.std()]
        np.testing.assert_allclose(told, right, rtol=1e-5, atol=1e-6)
    with io.open_stack(path) as stack:
        np.testing.assert_array_equal(stack.read(), pixels)
        assert (stack.voxel_size_nm is None) == (voxel is None)
        if voxel is not None:
            np.testing.assert_allclose(stack.voxel_size_nm, voxel, rtol=1e-6)


def test_a_canvas_can_be_filled_in_any_order_and_opened_again(tmp_path):
    pixels, whole = noise(SHAPE, "float32"), tmp_path / "whole.mrc"
    io.write_stack(whole, pixels)
    part, all_columns = tmp_path / "part", slice(0, SHAPE[2])
    with io.create_canvas(part, "a.mrc", SHAPE, "float32") as canvas:
        canvas.put(2, slice(0, 50), all_columns, pixels[2])
        canvas.put(0, slice(20, 50), slice(3, 40), pixels[0, 20:50, 3:40])
        canvas.flush()
    with io.reopen_canvas(part, "a.mrc", SHAPE, "float32") as canvas:
        for section in (1, 0):
            canvas.put(section, slice(0, 50), all_columns, pixels[section])
        canvas.finish()
    assert part.read_bytes() == whole.read_bytes()


def test_nan_does_not_count_in_the_statistics(tmp_path):
    pixels = np.full((2, 3, 4), np.nan, "f4")
    io.write_stack(tmp_path / "none.mrc", pixels)
    pixels[0, 0, :2] = 1, 3
    io.write_stack(tmp_path / "some.mrc", pixels)
    with mrcfile.open(tmp_path / "some.mrc") as file:
        assert [float(file.header[k]) for k in ("dmin", "dmax", "dmean", "rms")] == [1, 3, 2, 1]
    with mrcfile.open(tmp_path / "none.mrc") as file:
        assert file.header.dmax < file.header.dmin


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_types_that_mrc_does_not_have_are_refused(tmp_path, dtype):
    with pytest.raises(StackError, match="no type for pixels of") as caught:
        io.write_stack(tmp_path / "a.mrc", noise(SHAPE, dtype))
    assert caught.value.hint == f"write uint16 or float32, or name it {tmp_path / 'a.tif'}"
    assert not list(tmp_path.iterdir())


def test_a_canvas_of_another_layout_is_refused(tmp_path):
    part = tmp_path / "part"
    io.create_canvas(part, "a.mrc", SHAPE, "float32").close()
    for shape, dtype in (((3, 50, 35), "float32"), ((3, 50, 140), "uint16")):
        with pytest.raises(StackError, match=r"sections are missing|this is"):
            io.reopen_canvas(part, "a.mrc", shape, dtype)
