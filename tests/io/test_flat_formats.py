"""NumPy, NRRD, NIfTI and DM: what other libraries write is read right, or refused."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg import io
from tests.io.files import SHAPE, assert_windows_of, noise, read, refused, windows
from tests.io.writers import dm

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")

TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
NARROW = {"int16": "int32", "float64": "float32"}
"""Types that are read as another."""


# --- NumPy


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("kind", ["uint8", ">u2", "<i2", ">f4", "bool", "float16"])
def test_npy_is_read_in_both_orders_of_dimensions_and_bytes(tmp_path, kind, order):
    pixels = noise(SHAPE, "uint8") > 99 if kind == "bool" else noise(SHAPE, kind)
    np.save(tmp_path / "a.npy", np.asarray(pixels, order=order))
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), pixels)


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(windows(), min_size=2, max_size=2), order=st.sampled_from("CF"))
def test_windows_of_npy_are_those_of_the_sections(tmp_path_factory, wanted, order):
    pixels, path = noise(SHAPE, "uint16"), tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asarray(pixels, order=order))
    with io.open_stack(path) as stack:
        assert_windows_of(stack, pixels, wanted)


def test_axes_of_npy_are_given_or_follow_from_the_shape(tmp_path):
    pixels, path = noise((20, 30, 6)), tmp_path / "a.npy"
    np.save(path, pixels)
    np.testing.assert_array_equal(read(path, axes="YXZ"), np.moveaxis(pixels, 2, 0))
    np.save(path, pixels[..., :3])
    assert "--axes YXC if it is 1 section of 20x30 with 3 channels" in refused(path)
    np.save(path, pixels[None, :, :, :1])
    np.testing.assert_array_equal(read(path)[0], pixels[..., 0])


def test_npy_of_objects_records_or_complex_numbers_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    for array in (np.array([[{}, 1]], object), np.zeros((3, 9, 9), "u1,f4")):
        np.save(path, array, allow_pickle=True)
        assert "not numbers" in refused(path)
    np.save(path, np.zeros((3, 9, 9), complex))
    assert "pixels of type complex128 cannot be read" in refused(path)


def test_npy_that_is_cut_short_or_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, noise(SHAPE))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "the file has 10499 of 10500 bytes of pixels" in refused(path)
    for shape in (b"(3, 50, 70)", b"(3, -50, 70"), (b"(3, 50, 70)", b"(3,9**9,70)"):
        path.write_bytes(whole.replace(*shape))
        refused(path)
    path.write_bytes(whole[:20])
    refused(path)
    np.savez(tmp_path / "a.npz", noise(SHAPE))
    assert "NPZ is not read" in refused(tmp_path / "a.npz")


# --- NRRD


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("kind", [*TYPES, ">u2", ">f4"])
def test_nrrd_of_pynrrd_is_read(tmp_path, kind, encoding):
    pixels, path = noise(SHAPE, kind), str(tmp_path / "a.nrrd")
    header = {"encoding": encoding, "space directions": np.diag([4.0, 4.6, 50.0])}
    header |= {"space dimension": 3, "space units": ["nm"] * 3}
    nrrd.write(path, pixels.T, header)
    with io.open_stack(path) as stack:
        assert stack.voxel_size_nm == (50, 4.6, 4)
        assert stack.dtype == NARROW.get(kind, np.dtype(kind).newbyteorder("="))
        np.testing.assert_array_equal(stack.read(), pixels.astype(stack.dtype))


@pytest.mark.parametrize(
    ("fields", "voxel"),
    [
        ('spacings: 0.004 0.0046 0.05\nspace units: "um" "um" "um"', (50, 4.6, 4)),
        ('spacings: 4 4.6 50\nunits: "nm" "nm" "nm"', (50, 4.6, 4)),
        ('spacings: 4 4.6 nan\nspace units: "nm" "nm" "nm"', (np.nan, 4.6, 4)),
        ("spacings: 4 4.6 50", None),
    ],
)
def test_the_voxel_size_of_nrrd_needs_a_unit(tmp_path, fields, voxel):
    with io.open_stack(by_hand(tmp_path, noise(SHAPE), fields)) as stack:
        if voxel is None:
            assert stack.voxel_size_nm is None
        else:
            np.testing.assert_allclose(stack.voxel_size_nm, voxel)


def by_hand(tmp_path, pixels, fields="", *, data=None, encoding="raw", sizes=None, kind="uint8"):
    sizes = sizes or " ".join(map(str, pixels.shape[::-1]))
    header = f"NRRD0004\n# a comment\ntype: {kind}\ndimension: {pixels.ndim}\nsizes: {sizes}\n"
    header += f"encoding: {encoding}\nname:=x: y\n{fields}"
    content = pixels.tobytes() if data is None else data
    (tmp_path / "a.nrrd").write_bytes(header.rstrip().encode() + b"\n\n" + content)
    return tmp_path / "a.nrrd"


def test_axes_of_nrrd_are_its_labels_or_kinds(tmp_path):
    pixels = noise((6, 20, 30))
    source = by_hand(tmp_path, pixels.T.copy(), 'labels: "z" "y" "x"')
    np.testing.assert_array_equal(read(source), pixels)
    colours = noise((6, 20, 30, 3))
    source = by_hand(tmp_path, colours, "kinds: RGB-color domain domain domain")
    assert "(ZYXS)" in refused(source)
    source = by_hand(tmp_path, pixels, "kinds: domain domain time")
    np.testing.assert_array_equal(read(source), pixels)


def test_bytes_of_nrrd_are_skipped_as_the_header_says(tmp_path):
    pixels = noise(SHAPE)
    data = bytes(7) + pixels.tobytes()
    for skip in (7, -1):
        source = by_hand(tmp_path, pixels, f"byte skip: {skip}", data=data)
        np.testing.assert_array_equal(read(source), pixels)


def test_nrrd_that_cannot_be_read_is_refused(tmp_path):
    pixels = noise(SHAPE)
    for fields in ("data file: ../secret.raw", "datafile: b.raw", "data file: LIST"):
        assert "lie in another file" in refused(by_hand(tmp_path, pixels, fields))
    assert "stored as 'bzip2'" in refused(by_hand(tmp_path, pixels, encoding="bzip2"))
    assert "'block' are no grey values" in refused(by_hand(tmp_path, pixels, kind="block"))
    for sizes in ("-70 50 3", "70 50", "9999999 9999999 9", "70 50 x", "0 50 3"):
        refused(by_hand(tmp_path, pixels, sizes=sizes))
    bomb = gzip.compress(bytes(1000))
    source = by_hand(tmp_path, pixels, data=bomb, encoding="gzip", sizes="9999999 9999 3")
    assert "over 10000 times as many" in refused(source)
    source = by_hand(tmp_path, pixels, data=bomb, encoding="gzip")
    assert "cannot be read" in refused(source)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"x" * 100_000)
    assert "no end" in refused(tmp_path / "a.nrrd")


# --- NIfTI


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_nifti_of_nibabel_is_read(tmp_path, kind, suffix, version):
    pixels, path = noise(SHAPE, kind), tmp_path / f"a{suffix}"
    image = (nibabel.Nifti1Image, nibabel.Nifti2Image)[version - 1]
    written = image(pixels.T, np.diag([4e-6, 4.6e-6, 50e-6, 1]), dtype=kind)
    written.header.set_xyzt_units("mm")
    nibabel.save(written, path)
    with io.open_stack(path) as stack:
        np.testing.assert_allclose(stack.voxel_size_nm, (50, 4.6, 4), rtol=1e-5)
        assert stack.dtype == NARROW.get(kind, kind)
        np.testing.assert_array_equal(stack.read(), pixels.astype(stack.dtype))


def test_big_endian_nifti_and_its_scale_are_read(tmp_path):
    pixels, path = noise(SHAPE, "int16"), tmp_path / "a.nii"
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype("int16")
    image = nibabel.Nifti1Image(pixels.T, None, header)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, path)
    expected = np.asanyarray(nibabel.load(path).dataobj).T
    with io.open_stack(path) as stack:
        assert (stack.dtype, stack.voxel_size_nm) == (np.float32, None)
        np.testing.assert_allclose(stack.read(), expected, rtol=1e-6)


def test_singleton_times_of_nifti_need_no_axes(tmp_path):
    pixels = noise(SHAPE)
    nibabel.save(nibabel.Nifti1Image(pixels.T[..., None, None], np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read(tmp_path / "a.nii"), pixels)


def test_nifti_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    colours = np.zeros((70, 50, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for pixels in (colours, noise(SHAPE, "float32").astype("complex64")):
        nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), path)
        assert "no grey values" in refused(path)
    nibabel.save(nibabel.Nifti1Image(noise(SHAPE).T, np.eye(4)), path)
    whole = path.read_bytes()
    for at, data, words in (
        (42, struct.pack("<3h", -70, 50, 3), "below 0"),
        (42, struct.pack("<3h", 32767, 32767, 32767), "bytes of pixels"),
        (40, struct.pack("<h", 30000), "30000 dimensions"),
        (108, struct.pack("<f", float("nan")), "begin at byte nan"),
        (344, b"ni1\0", "another file"),
    ):
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])
        assert words in refused(path)
    path.write_bytes(whole[:-1])
    assert "bytes of pixels" in refused(path)


# --- Digital Micrograph


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[1:], (5, 6)])
def test_the_image_of_dm3_and_dm4_is_read_and_not_its_preview(
    tmp_path, kind, order, version, shape
):
    pixels, path = noise(shape, kind), tmp_path / f"a.dm{version}"
    path.write_bytes(dm(pixels, version=version, order=order))
    with io.open_stack(path) as stack:
        found = stack.read()
        np.testing.assert_array_equal(found, pixels.reshape(found.shape).astype(found.dtype))
        np.testing.assert_allclose(stack.voxel_size_nm, (4 if len(shape) == 3 else np.nan, 4, 4))


@pytest.mark.parametrize(("unit", "voxel"), [("µm", (4000, 4000, 4000)), ("1/nm", None)])
def test_the_unit_of_dm_is_read(tmp_path, unit, voxel):
    (tmp_path / "a.dm3").write_bytes(dm(noise(SHAPE, "int16"), unit=unit))
    with io.open_stack(tmp_path / "a.dm3") as stack:
        assert stack.voxel_size_nm == voxel


def test_dm_that_cannot_be_read_is_refused(tmp_path):
    path, pixels = tmp_path / "a.dm3", noise(SHAPE, "int16")
    path.write_bytes(dm(pixels, code=3))
    assert "no grey values" in refused(path)
    path.write_bytes(dm(pixels, sizes=(70, 50, 2**30)))
    assert "does not fill" in refused(path)
    whole = dm(pixels)
    for cut in (10, 20, 60, len(whole) // 2):
        path.write_bytes(whole[:cut])
        refused(path)
    path.write_bytes(whole.replace(b"ImageList", b"NoImages."))
    assert "no image" in refused(path)


def test_groups_within_groups_without_end_are_refused(tmp_path):
    nested = b"\1\0" + struct.pack(">i", 1) + struct.pack(">BH", 20, 0)
    header = struct.pack(">iii", 3, 1000, 1)
    (tmp_path / "a.dm3").write_bytes(header + nested * 5000)
    assert "make no sense" in refused(tmp_path / "a.dm3")


# --- what is not read


@pytest.mark.parametrize(
    ("name", "magic", "words"),
    [
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "bfconvert a.jp2 a.ome.tif"),
        ("a.czi", b"ZISRAWFILE", "Bio-Formats"),
        ("a.nd2", b"\xda\xce\xbe\x0a", "Bio-Formats"),
        ("a.lif", b"\x70\0\0\0", "Bio-Formats"),
        ("a.dv", b"\x01", "Bio-Formats"),
        ("a.am", b"# AmiraMesh 3D BINARY", "Amira"),
        ("a.bmp", b"BM", "Fiji"),
    ],
)
def test_formats_that_are_not_read_name_the_program_that_converts_them(
    tmp_path, name, magic, words
):
    (tmp_path / name).write_bytes(magic + bytes(2000))
    assert words in refused(tmp_path / name)


def test_a_packed_tiff_gets_the_way_to_unpack_it(tmp_path):
    (tmp_path / "a.tif.gz").write_bytes(gzip.compress(b"II*\0" + bytes(100)))
    assert "packed with gzip\nhint: unpack it" in refused(tmp_path / "a.tif.gz")
