"""Datasets of HDF5 files."""

import errno
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import MissingExtraError
from tests.io.files import SHAPE, VOXEL, assert_windows_of, noise, read, refused, windows


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


def test_a_file_is_read_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = noise((3, 5, 6), "uint8")
    real = h5py.File

    def locking(path, mode, locking=True):
        if locking:
            raise OSError(errno.EOPNOTSUPP, "unable to lock file")
        return real(path, mode)

    monkeypatch.setattr(h5py, "File", locking)
    with io.open_stack(f"{tmp_path}/a.h5:raw") as stack:
        np.testing.assert_array_equal(stack.read(), noise((3, 5, 6), "uint8"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chunks=st.sampled_from([None, (1, 16, 16), (2, 50, 7)]),
    axes=st.sampled_from(["ZYX", "YXZ", "XZY"]),
    data=st.data(),
)
def test_a_window_of_an_hdf5_dataset_is_that_part(tmp_path, chunks, axes, data):
    h5py = pytest.importorskip("h5py")
    stored = noise(SHAPE, "uint16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=stored, chunks=chunks)
    pixels = stored.transpose([axes.index(letter) for letter in "ZYX"])
    wanted = data.draw(st.lists(windows(pixels.shape), min_size=1, max_size=5))
    with io.open_stack(f"{tmp_path}/a.h5:raw", axes=axes) as stack:
        assert_windows_of(stack, pixels, wanted)


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
    assert f"hint: name one: {name}:/bomb or {name}:/group/raw or {name}:/words" in refused(name)
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


def test_the_hint_for_a_file_without_a_dataset_reads_the_only_one(tmp_path):
    h5py = pytest.importorskip("h5py")
    name = f"{tmp_path}/a.h5"
    with h5py.File(name, "w") as file:
        file.create_group("empty")
    assert "it holds no dataset" in refused(name)
    with h5py.File(name, "a") as file:
        file["some/raw"] = noise((3, 5, 6))
    hint = refused(name).partition("hint: name it: ")[2]
    np.testing.assert_array_equal(read(hint), noise((3, 5, 6)))


def test_hdf5_without_h5py_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match="pip install h5py"):
        io.open_stack(f"{tmp_path}/a.h5:/raw")


def test_a_dataset_may_be_named_like_a_path_as_in_ilastik(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    pixels = noise((3, 5, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["/volumes/raw"] = pixels
    for source in (f"{tmp_path}/a.h5/volumes/raw", tmp_path / "a.h5" / "volumes" / "raw"):
        np.testing.assert_array_equal(read(source), pixels)
        assert io.hash_input(source) == io.hash_input(f"{tmp_path}/a.h5:/volumes/raw")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read("a.h5/volumes/raw"), pixels)
    assert "there is no such dataset" in refused("a.h5/raw")
    assert "there is no such file" in refused("b.h5/raw")
    (tmp_path / "b.h5").mkdir()
    assert "there is no such file" in refused("b.h5/raw.tif")
