"""The hash of an input changes when a pixel may have changed."""

import hashlib

import imageio.v3 as imageio
import pytest

from sfseg import io
from sfseg.errors import StackError
from tests.io.files import noise


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


def test_the_hash_of_a_dataset_is_that_of_the_file_and_its_path(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    hashes = {io.hash_input(f"{tmp_path}/a.h5{path}") for path in ("", ":/raw", ":/other")}
    assert len(hashes) == 3
    assert io.hash_input(f"{tmp_path}/a.h5:raw") in hashes


@pytest.mark.parametrize("name", ["a.tif", "a.h5:/raw", "a.zarr", "a.zarr:/raw", "*.png", ""])
def test_a_missing_input_has_no_hash(tmp_path, name):
    with pytest.raises(StackError, match=r"there (is no such file|are no images here)\nhint: "):
        io.hash_input(f"{tmp_path}/{name}")
