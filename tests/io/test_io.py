"""The door to image files: what goes in comes out, and what is broken stays out."""

import hashlib
import json
import logging
import math
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import (
    MissingExtraError,
    NonFiniteError,
    OptionError,
    OutputExistsError,
    ShapeMismatchError,
    StackError,
    UnknownNameError,
)
from sfseg.io import voxels
from sfseg.io.write import fits_imagej

ISBI = Path(__file__).parents[3] / "shared" / "data" / "ISBI-2012-challenge"
ISBI_PIXELS = {  # from the page of datasets
    "train-volume.tif": "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
    "train-labels.tif": "a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
    "test-volume.tif": "1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
}
VOXEL = (50.0, 4.6, 4.0)


def noise(shape, dtype="uint8", seed=0):
    """Random pixels over the range of a type."""
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    top = np.iinfo(dtype).max
    return generator.integers(0, top, shape, dtype=dtype, endpoint=True)


def read(source, **options):
    """All pixels of a source."""
    with io.open_stack(source, **options) as stack:
        return stack.read()


def pages_of(path):
    """Where the pages of a TIFF and their first strips lie, as tifffile finds them."""
    with tifffile.TiffFile(path) as tif:
        return [(page.offset, page.dataoffsets[0], page.databytecounts[0]) for page in tif.pages]


def refused(source, **options):
    """The text of the StackError that opening and reading a source raises."""
    with pytest.raises(StackError) as caught:
        read(source, **options)
    assert caught.value.hint
    return str(caught.value)


# --- TIFF stacks in


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from([None, "lzw", "deflate", "zstd", "packbits"]),
    layout=st.sampled_from([{}, {"tile": (16, 32)}, {"rowsperstrip": 7}]),
    predictor=st.booleans(),
    byteorder=st.sampled_from("<>"),
    bigtiff=st.booleans(),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(2, 40)),  # tifffile drops 1
)
def test_a_tiff_is_read_as_it_was_written_whatever_its_type_layout_and_compression(
    tmp_path, dtype, compression, layout, predictor, byteorder, bigtiff, shape
):
    pixels = noise(shape, dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        compression=compression,
        predictor=predictor and compression not in (None, "packbits"),
        byteorder=byteorder,
        bigtiff=bigtiff,
        photometric="minisblack",
        **layout,
    )
    with io.open_stack(tmp_path / "a.tif") as stack:
        assert stack.shape == shape
        assert stack.dtype == dtype
        assert stack.dtype.isnative
        np.testing.assert_array_equal(stack.read(), pixels)


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


def test_jpeg_in_a_tiff_is_read(tmp_path):
    pixels = np.full((2, 32, 32), 77, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="jpeg", photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


def test_pages_written_one_at_a_time_are_sections(tmp_path):
    pixels = noise((3, 8, 9))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in pixels:
            writer.write(section, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)


def described(path, pixels, description):
    """A TIFF of a page for each section whose first page has a description."""
    with tifffile.TiffWriter(path) as writer:
        for section in pixels:
            options = {"description": description, "metadata": None}
            writer.write(section, photometric="minisblack", **options)
            description = None
    return path


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("lengths", [[-1, -1], [-2, -2], [0, 4], [-4, -1, 1]])
def test_lengths_that_no_array_has_leave_the_pages_sections(tmp_path, count, lengths):
    pixels = noise((count, 5, 6))
    told = json.dumps({"shape": [*lengths, 5, 6]})
    np.testing.assert_array_equal(read(described(tmp_path / "a.tif", pixels, told)), pixels)


def test_axes_may_be_a_list_of_letters_and_nothing_else(tmp_path):
    path, pixels = tmp_path / "a.tif", noise((2, 3, 5, 6))
    options = {"metadata": {"axes": [*"TZYX"]}, "photometric": "minisblack"}
    tifffile.imwrite(path, pixels, **options)
    assert "an array of 2x3x5x6 (TZYX) is not one stack" in refused(path)
    for axes in ([1, 2, 3, 4], True, 7, [None] * 4, [["T"], "Z", "Y", "X"]):
        told = json.dumps({"shape": pixels.shape, "axes": axes})
        assert "TypeError" in refused(described(path, pixels.reshape(6, 5, 6), told))


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


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "ZYX"}}, {}])
def test_a_stack_whose_images_follow_a_single_page_is_read(tmp_path, options):
    # so does ImageJ store stacks over 4 GiB
    pixels = noise((5, 6, 7), "uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, truncate=True, photometric="minisblack", **options)
    assert len(pages_of(path)) == 1
    np.testing.assert_array_equal(read(path), pixels)
    path.write_bytes(path.read_bytes()[:-1])
    assert "the header says 5 images, the file has 4" in refused(path)


@pytest.mark.parametrize("name", ISBI_PIXELS)
def test_the_challenge_stacks_are_what_their_page_says(name):
    if not (ISBI / name).exists():
        pytest.skip("the ISBI 2012 stacks are not beside the repository")
    with io.open_stack(ISBI / name) as stack:
        assert stack.describe() == "30 sections of 512x512, uint8, voxel 50x4x4 nm"
        assert hashlib.sha256(stack.read().tobytes()).hexdigest() == ISBI_PIXELS[name]


def test_the_challenge_labels_are_left_as_they_are():
    if not (ISBI / "train-labels.tif").exists():
        pytest.skip("the ISBI 2012 stacks are not beside the repository")
    np.testing.assert_array_equal(
        io.read_labels(ISBI / "train-labels.tif"), read(ISBI / "train-labels.tif")
    )


# --- folders, patterns, pictures, HDF5


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_folder_of_numbered_images_is_read_in_natural_order(tmp_path, suffix, dtype):
    pixels = noise((12, 5, 6), dtype)
    for number, section in enumerate(pixels, start=1):
        imageio.imwrite(tmp_path / f"s{number}.{suffix}", section)
    (tmp_path / "notes.txt").write_text("not an image")
    np.testing.assert_array_equal(read(tmp_path), pixels)
    np.testing.assert_array_equal(read(f"{tmp_path}/s1*.{suffix}"), pixels[[0, 9, 10, 11]])


def test_a_pattern_may_be_relative(tmp_path, monkeypatch):
    imageio.imwrite(tmp_path / "a.png", noise((5, 6)))
    monkeypatch.chdir(tmp_path)
    assert read("*.png").shape == (1, 5, 6)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    imageio.imwrite(tmp_path / "a [1] ü*.png", noise((5, 6)))
    assert read(tmp_path / "a [1] ü*.png").shape == (1, 5, 6)


@pytest.mark.parametrize("pattern", ["", "s*/x.tif", "s*/x.*", "**/x.tif"])
@pytest.mark.parametrize("target", ["nowhere.tif", "x.tif"])  # to nothing, and to itself
def test_a_link_to_nothing_is_a_section_that_is_missing(tmp_path, pattern, target):
    for number in range(3):
        (tmp_path / f"s{number}").mkdir()
        tifffile.imwrite(tmp_path / f"s{number}" / "x.tif", noise((5, 6), seed=number))
        (tmp_path / f"s{number}.tif").symlink_to(f"s{number}/x.tif")
    source = f"{tmp_path}/{pattern}"
    assert read(source).shape == (3, 5, 6)
    (tmp_path / "s1" / "x.tif").unlink()
    (tmp_path / "s1" / "x.tif").symlink_to(target)
    missing = tmp_path / ("s1/x.tif" if pattern else "s1.tif")
    assert io.list_files(source)[1] == missing
    assert f"{missing}: this is a broken link" in refused(source)
    with pytest.raises(StackError, match="this is a broken link"):
        io.hash_input(source)


def test_links_to_folders_are_no_sections(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "b.tif").symlink_to("folder")
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 6)))
    assert io.list_files(tmp_path) == io.list_files(f"{tmp_path}/*") == [tmp_path / "a.tif"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_single_picture_is_one_section(tmp_path, suffix):
    imageio.imwrite(tmp_path / f"a.{suffix}", np.full((16, 24), 99, np.uint8))
    with io.open_stack(tmp_path / f"a.{suffix}") as stack:
        assert stack.describe() == "1 section of 16x24, uint8, no voxel size"
        np.testing.assert_array_equal(stack.read(), np.full((1, 16, 24), 99))


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


def test_a_dataset_in_an_hdf5_file_is_read_with_its_voxel_size(tmp_path):
    h5py = pytest.importorskip("h5py")
    pixels = noise((3, 5, 6), "uint16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["/volumes/raw"] = pixels
        file["/volumes/raw"].attrs["resolution"] = VOXEL
        file["/ids"] = pixels.astype(">u8")
    with io.open_stack(f"{tmp_path}/a.h5:/volumes/raw") as stack:
        assert stack.voxel_size_nm == VOXEL
        np.testing.assert_array_equal(stack.read(), pixels)
    with io.open_stack(f"{tmp_path}/a.h5:ids") as stack:
        assert stack.dtype == np.dtype("uint64")
        np.testing.assert_array_equal(stack.read(), pixels)


def test_a_chunk_that_was_never_written_is_the_fill_value(tmp_path):
    h5py = pytest.importorskip("h5py")
    pixels = noise((3, 8, 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = file.create_dataset("raw", pixels.shape, "u1", chunks=(1, 8, 8), fillvalue=7)
        raw[0], raw[2] = pixels[0], pixels[2]
    pixels[1] = 7
    np.testing.assert_array_equal(read(f"{tmp_path}/a.h5:/raw"), pixels)


def test_hdf5_that_cannot_be_read_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["raw"] = noise((3, 5, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/raw"] = noise((2, 3, 5, 6))
        file["link"] = h5py.ExternalLink(tmp_path / "other.h5", "raw")
        file.create_dataset("bomb", (2000, 2000, 2000), np.float64, chunks=(1, 2000, 2000))
        file["words"] = ["not", "pixels"]
    name = f"{tmp_path}/a.h5"
    assert "an HDF5 file holds many arrays, and none is named" in refused(name)
    assert "this is a group, not a dataset\nhint: the file holds /bomb, /group/raw" in refused(
        f"{name}:/group"
    )
    assert "there is no such dataset" in refused(f"{name}:/nowhere")
    assert "the pixels lie in another file" in refused(f"{name}:/link")
    assert "0 bytes decode to 64000000000" in refused(f"{name}:/bomb")
    assert "--axes TZYX" not in refused(f"{name}:/words")
    assert "--axes ZCYX" in refused(f"{name}:/group/raw")
    assert "b.h5:/raw: there is no such file" in refused(f"{tmp_path}/b.h5:/raw")
    (tmp_path / "text.h5").write_text("no HDF5")
    assert "the pixels cannot be read: OSError" in refused(f"{tmp_path}/text.h5:/raw")


def test_hdf5_without_h5py_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match="pip install h5py"):
        io.open_stack(f"{tmp_path}/a.h5:/raw")


# --- the hash of an input


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    imageio.imwrite(tmp_path / "a.png", noise((5, 6)))
    expected = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert io.hash_input(tmp_path / "a.png") == expected
    assert io.hash_input(str(tmp_path / "a.png")) == expected


def test_the_hash_of_a_folder_is_that_of_its_images_and_their_order(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in (2, 10):
            imageio.imwrite(tmp_path / folder / f"s{number}.png", noise((5, 6), seed=number))
    first = io.hash_input(tmp_path / "a")
    assert io.hash_input(tmp_path / "b") == io.hash_input(f"{tmp_path}/b/s*.png") == first
    (tmp_path / "b" / "notes.txt").write_text("not an image")
    assert io.hash_input(tmp_path / "b") == first
    (tmp_path / "b" / "s10.png").rename(tmp_path / "b" / "s1.png")
    assert io.hash_input(tmp_path / "b") != first
    assert io.hash_input(f"{tmp_path}/a/s2.png") != io.hash_input(f"{tmp_path}/a/s1*.png")


def test_files_of_one_name_keep_an_order(tmp_path):
    for folder in "cab":
        (tmp_path / folder).mkdir()
        imageio.imwrite(tmp_path / folder / "s.png", noise((5, 6)))
    assert io.list_files(f"{tmp_path}/*/s.png") == [tmp_path / c / "s.png" for c in "abc"]


def test_the_hash_of_a_dataset_is_that_of_the_file_and_its_path(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    hashes = {io.hash_input(f"{tmp_path}/a.h5{path}") for path in ("", ":/raw", ":/other")}
    assert len(hashes) == 3
    assert io.hash_input(f"{tmp_path}/a.h5:raw") in hashes


@pytest.mark.parametrize("name", ["a.tif", "a.h5:/raw", "a.zarr", "a.zarr:/raw", "*.png", ""])
def test_there_is_no_hash_of_nothing(tmp_path, name):
    with pytest.raises(StackError, match=r"there (is no such file|are no images here)\nhint: "):
        io.hash_input(f"{tmp_path}/{name}")


# --- axes


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


@pytest.mark.parametrize("axes", ["YX", "TZYX", "ZXX", "ABC", "", "ZY"])
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", noise((4, 5, 6)), photometric="minisblack")
    with pytest.raises(OptionError, match=f"a.tif: the axes '{axes}' (do not fit|are not)"):
        io.open_stack(tmp_path / "a.tif", axes=axes)


# --- voxel size


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
def test_resolution_tags_tell_rows_and_columns(tmp_path, unit, nm):
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


# --- stacks out


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


def test_fiji_finds_the_voxel_size_in_imagej_terms(tmp_path):
    io.write_stack(tmp_path / "a.tif", noise((2, 5, 6)), voxel_size_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.imagej_metadata["unit"] == "nm"
        assert tif.imagej_metadata["spacing"] == 50
        assert tif.imagej_metadata["slices"] == 2
        assert tif.pages[0].tags["XResolution"].value == (1, 4)
        assert tif.pages[0].tags["YResolution"].value == (5, 23)
        assert tif.series[0].axes == "ZYX"


def test_segments_are_ome_with_units(tmp_path):
    pixels = noise((2, 5, 6), "int32")
    io.write_stack(tmp_path / "a.tif", pixels, voxel_size_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="50.0" PhysicalSizeZUnit="nm"' in tif.ome_metadata


def test_only_what_fits_in_4_gib_is_written_as_imagej():
    assert fits_imagej((1023, 2048, 2048), "uint8")
    assert not fits_imagej((1024, 2048, 2048), "uint8")
    assert not fits_imagej((256, 2048, 2048), "float32")


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    for dtype in ("uint8", "int32"):
        written = []
        for folder in ("a", "b"):
            path = tmp_path / dtype / folder / "out.tif"
            io.write_stack(path, noise((2, 5, 6), dtype), voxel_size_nm=VOXEL)
            written.append(path.read_bytes())
        assert written[0] == written[1]


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


# --- broken and hostile input


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


@pytest.mark.parametrize(
    ("name", "found"), [("a.png", "the pixels cannot be read"), ("a.jpg", "have no end")]
)
def test_a_picture_cut_short_is_refused(tmp_path, name, found):
    imageio.imwrite(tmp_path / name, noise((64, 64)))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert found in refused(tmp_path / name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True},
        {"ome": True},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"byteorder": ">"},
    ],
)
def test_a_tiff_cut_short_anywhere_is_refused(tmp_path, options):
    pixels = noise((6, 20, 20))
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}} | options
    tifffile.imwrite(whole, pixels, **options)
    np.testing.assert_array_equal(read(whole), pixels)
    data = whole.read_bytes()
    last = max(offset for offset, _, _ in pages_of(whole))
    for length in (*range(0, len(data), 97), last, last + 20):
        cut.write_bytes(data[:length])
        try:
            found = read(cut)
        except StackError:
            continue
        # nothing but padding was lost
        assert length > len(data) - 16
        np.testing.assert_array_equal(found, pixels)


def test_an_imagej_header_must_agree_with_the_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in noise((3, 5, 6)):
            header = "ImageJ=1.54f\nimages=4\nslices=4\n"
            writer.write(section, photometric="minisblack", description=header, metadata=None)
    assert "the header says 4 images, the file has 3" in refused(tmp_path / "a.tif")


def test_pages_of_different_shape_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shape in ((5, 6), (5, 6), (2, 3)):
            writer.write(noise(shape), photometric="minisblack")
    assert "is not stored like page 1, (5, 6) of uint8" in refused(tmp_path / "a.tif")


def test_a_loop_of_pages_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((2, 5, 6)), photometric="minisblack", byteorder="<")
    (first, _, _), (second, _, _) = pages_of(path)
    data = bytearray(path.read_bytes())
    tags = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * tags, first)
    path.write_bytes(data)
    assert "the pages loop after page 2" in refused(path)


def tiny_tiff(width, height, data, *, compression=1, bits=8):
    """A little TIFF of one strip that may declare what it does not hold."""
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, compression), (262, 3, 1),
        (273, 4, 134), (277, 3, 1), (278, 4, height), (279, 4, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return header.ljust(134, b"\0") + data


def test_the_tiny_tiff_of_these_tests_is_good(tmp_path):
    pixels = noise((10, 20))
    (tmp_path / "a.tif").write_bytes(tiny_tiff(20, 10, pixels.tobytes()))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels[None])


def test_bombs_are_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiny_tiff(60_000, 60_000, b"x"))
    assert "needs 3600000000 bytes of pixels" in refused(path)
    path.write_bytes(tiny_tiff(60_000, 60_000, b"x", compression=8))
    assert "bytes decode to 3600000000, over 10000 times" in refused(path)
    path.write_bytes(tiny_tiff(40_000, 40_000, bytes(200_000), compression=8))
    assert "has 1600000000 bytes, over 1 GiB" in refused(path)


def test_jpeg_pixels_are_whole_and_as_large_as_their_page(tmp_path):
    path, options = tmp_path / "a.tif", {"compression": "jpeg", "photometric": "minisblack"}
    tifffile.imwrite(path, noise((64, 64)), **options)
    data = path.read_bytes()
    ((_, start, count),) = pages_of(path)
    path.write_bytes(data[: start + count - 40] + bytes(40) + data[start + count :])
    assert "bytes of JPEG data have no end" in refused(path)
    frame = data.index(struct.pack(">HH", 64, 64), start)
    path.write_bytes(data[:frame] + struct.pack(">HH", 65500, 65500) + data[frame + 4 :])
    assert "a JPEG strip or tile has 65500x65500 pixels" in refused(path)


def test_strips_whose_lengths_are_not_told_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((8, 8), np.uint8), byteorder="<", metadata=None)
    told, other = struct.pack("<HH", 279, 4), struct.pack("<HH", 65000, 4)
    data = path.read_bytes()
    assert data.count(told) == 1
    path.write_bytes(data.replace(told, other))
    with pytest.raises(StackError, match="0 of 1 strips or tiles are listed"):
        io.open_stack(path)


def test_strips_that_share_bytes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((2, 20, 20)), photometric="minisblack", byteorder="<")
    (_, first, _), (_, second, _) = pages_of(path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", second), struct.pack("<I", first)))
    assert f"two strips or tiles overlap at byte {first}" in refused(path)


def test_a_strip_that_unpacks_to_more_than_its_page_stays_small(tmp_path):
    packed = zlib.compress(bytes(30_000_000))
    (tmp_path / "a.tif").write_bytes(tiny_tiff(20, 10, packed, compression=8))
    refused(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_a_corrupt_page_is_named(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((3, 40, 40)), compression=compression, photometric="minisblack")
    _, start, count = pages_of(path)[1]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes([255]) * count
    path.write_bytes(data)
    with io.open_stack(path) as stack:
        stack.section(0)
        with pytest.raises(StackError, match="page 2: the pixels cannot be read") as caught:
            stack.section(1)
    assert caught.value.__cause__ is not None


def test_a_page_whose_tags_are_damaged_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    data = bytearray(tiny_tiff(20, 10, zlib.compress(bytes(200)), compression=8))
    data[10 + 12 * 3 + 2] = 99  # the type of the tag Compression
    path.write_bytes(data)
    assert "tag 259 is damaged" in refused(path)


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
    assert "the OME metadata say 2 pages of 5x6, the file has 1" in refused(path)


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
        ("<TiffData/><TiffData/>", None),  # a plane is told twice, which takes long for many
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


def test_the_library_stays_quiet_and_lets_others_listen(tmp_path, caplog):
    path = tmp_path / "a.tif"
    data = bytearray(tiny_tiff(20, 10, bytes(200)))
    data[10 + 12 * 2 + 2] = 99
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="tifffile"):
        refused(path)
    assert caplog.records
    code = (
        "import sys; from sfseg import io\ntry: io.open_stack(sys.argv[1])\nexcept ValueError: pass"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert run.stderr == b""


# --- labels and finite pixels


@pytest.mark.parametrize("high", [1, 255, 65535, True])
def test_labels_of_two_values_become_255_and_0(tmp_path, high):
    inside = np.array([[[0, 1, 1], [1, 0, 1]]], bool)
    dtype = {1: "uint8", 255: "uint8", 65535: "uint16"}[high] if high is not True else bool
    tifffile.imwrite(tmp_path / "a.tif", (inside * high).astype(dtype), photometric="minisblack")
    labels = io.read_labels(tmp_path / "a.tif")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, inside * 255)
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif", "membrane"), ~inside * 255)


def test_the_membrane_of_instances_is_0_and_where_numbers_meet(tmp_path):
    ids = np.array([[[5, 5, 5, 9, 9, 9], [5, 5, 5, 9, 9, 9], [5, 5, 5, 0, 9, 9]]], np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", ids, photometric="minisblack")
    expected = np.array([[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 1]]) * 255
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif", "instances")[0], expected)


@pytest.mark.parametrize("values", [(0, 1, 2), (1, 2), (0, 255, 7, 8, 9, 10)])
def test_labels_that_look_like_instances_are_refused(tmp_path, values):
    ids = np.resize(np.array(values, np.uint8), (2, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", ids, photometric="minisblack")
    with pytest.raises(StackError, match="--labels-are instances"):
        io.read_labels(tmp_path / "a.tif")


def test_two_values_over_the_stack_may_be_one_in_a_section(tmp_path):
    labels = np.stack([np.zeros((5, 6), np.uint8), np.full((5, 6), 255, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack")
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("kind", ["interior", "membrane", "instances"])
@pytest.mark.parametrize("value", [0, 255])
def test_labels_of_one_value_are_refused(tmp_path, kind, value):
    tifffile.imwrite(
        tmp_path / "a.tif", np.full((2, 5, 6), value, np.uint8), photometric="minisblack"
    )
    found = f"interior or membrane is missing, the labels are only {value}"
    with pytest.raises(StackError, match=found):
        io.read_labels(tmp_path / "a.tif", kind)


def test_an_unknown_kind_of_labels_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'membrane'"):
        io.read_labels(tmp_path / "a.tif", "membranes")


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


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_sections_that_tifffile_stores_as_planes_of_rgb_are_sections(tmp_path, count):
    stack = np.arange(count * 6 * 7, dtype=np.uint8).reshape(count, 6, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tifffile's word on its own guess
        tifffile.imwrite(tmp_path / "stack.tif", stack)
    with io.open_stack(tmp_path / "stack.tif") as opened:
        np.testing.assert_array_equal(opened.read(), stack)
