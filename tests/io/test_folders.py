"""Folders and patterns: which files are the sections, and in which order."""

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import StackError
from tests.io.files import noise, read, refused


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


def test_files_of_one_name_keep_an_order(tmp_path):
    for folder in "cab":
        (tmp_path / folder).mkdir()
        imageio.imwrite(tmp_path / folder / "s.png", noise((5, 6)))
    assert io.list_files(f"{tmp_path}/*/s.png") == [tmp_path / c / "s.png" for c in "abc"]


@pytest.mark.parametrize(
    "names",
    [
        ["s1.tif", "s1.25.tif", "s1.5.tif", "s2.tif", "s10.tif"],
        ["s1.8.tif", "s1.9.tif", "s1.10.tif", "s1.11.tif"],  # a counter behind a dot
        ["s1.05.tif", "s1.10.tif", "s1.50.tif"],
        ["z-2.tif", "z-10.tif"],
        ["2024.01.5.tif", "2024.01.25.tif"],
    ],
)
def test_numbers_in_names_are_sorted_as_a_person_does(tmp_path, names):
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in io.list_files(tmp_path)] == names


def test_hidden_files_are_not_sections_unless_they_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 6)))
    (tmp_path / ".cache").mkdir()
    for name in ("._a.tif", ".DS_Store", "Thumbs.db", "desktop.ini", ".cache/a.tif"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    for pattern in ("", "/*", "/*.tif", "/**/*.tif", "/.cache/../*.tif"):
        assert [path.name for path in io.list_files(f"{tmp_path}{pattern}")] == ["a.tif"]
    assert io.list_files(f"{tmp_path}/._*.tif") == [tmp_path / "._a.tif"]
    assert io.list_files(f"{tmp_path}/.cache/*") == [tmp_path / ".cache/a.tif"]


@pytest.mark.parametrize("folder", ["raw [1-3]", "what*", "why?"])
def test_wildcards_in_the_name_of_a_folder_that_exists_are_letters(tmp_path, folder):
    (tmp_path / folder).mkdir()
    for name in ("s2.tif", "s10.tif", "t1.tif"):
        tifffile.imwrite(tmp_path / folder / name, noise((5, 6)))
    found = io.list_files(f"{tmp_path}/{folder}/s*.tif")
    assert [path.name for path in found] == ["s2.tif", "s10.tif"]
    assert "there is no such file" in refused(tmp_path / folder / "u.tif")


def test_jpg_and_jpeg_are_one_kind_and_png_is_another(tmp_path):
    for name in ("a1.jpg", "a2.jpeg", "a3.JPG"):
        imageio.imwrite(tmp_path / name, noise((16, 16)), extension=".jpg")
    assert read(tmp_path).shape == (3, 16, 16)
    imageio.imwrite(tmp_path / "a4.png", noise((16, 16)))
    assert "several kinds: .jpg, .png" in refused(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((1, 2, 4), "the number 3 is missing"),
        ((7, 8, 9, 12, 13, 20), "the numbers 10-11, 14-19 are missing"),
        ((10, 20, 40), "the number 30 is missing"),
        ((1, 2, 3), None),
        ((5, 900), None),
        ((1, 17, 230, 561), None),  # no count of sections
    ],
)
def test_missing_numbers_are_told(tmp_path, numbers, missing):
    for number in numbers:
        tifffile.imwrite(tmp_path / f"w2_s{number:03}_4nm.tif", noise((5, 6)))
    with io.open_stack(tmp_path) as stack:
        assert stack.numbers == numbers
        assert [note for note in stack.notes if missing is None or missing not in note] == []
        assert len(stack.notes) == (missing is not None)


def test_names_that_differ_in_more_than_a_number_have_no_numbers(tmp_path):
    for name in ("a1.tif", "b2.tif", "c3_4.tif"):
        tifffile.imwrite(tmp_path / name, noise((5, 6)))
    with io.open_stack(tmp_path) as stack:
        assert stack.numbers is None


def test_notes_about_files_of_a_folder_are_joined(tmp_path):
    for number in range(5):
        photometric = "miniswhite" if number else "minisblack"
        tifffile.imwrite(tmp_path / f"{number}.tif", noise((5, 6)), photometric=photometric)
    with io.open_stack(tmp_path) as stack:
        (note,) = stack.notes
        assert note.startswith("1.tif, 2.tif, 3.tif and 1 more: its pixels are stored min-is-white")
