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
