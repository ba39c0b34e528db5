"""Axes that files of HDF5 and Zarr tell, and what is said where they tell none."""

import json
import re

import numpy as np
import pytest

from sfseg import io
from sfseg.errors import StackError
from sfseg.io.axes import resolve_axes
from tests.io.files import noise, read, refused

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")

STACK = noise((6, 20, 30))


def tags(keys):
    """The attribute ``axistags`` as ilastik writes it."""
    return json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in keys]})


def hdf5(tmp_path, pixels, *, axistags=None, labels=None):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = file.create_dataset("raw", data=pixels)
        if axistags is not None:
            raw.attrs["axistags"] = axistags
        for number, label in enumerate(labels or ()):
            raw.dims[number].label = label
    return f"{tmp_path}/a.h5:/raw"


@pytest.mark.parametrize(
    ("pixels", "axes"),
    [
        (STACK.T, "xyz"),
        (STACK[..., None], "zyxc"),
        (STACK[None, :, None], "tzcyx"),
        (STACK.transpose(1, 2, 0), "yxz"),
        (STACK, "tyx"),
    ],
)
def test_the_axes_of_ilastik_and_the_labels_of_hdf5_are_read(tmp_path, pixels, axes):
    np.testing.assert_array_equal(read(hdf5(tmp_path, pixels, axistags=tags(axes))), STACK)
    np.testing.assert_array_equal(read(hdf5(tmp_path, pixels, labels=axes)), STACK)


def test_a_channel_axis_of_ilastik_is_not_taken_for_sections(tmp_path):
    source = hdf5(tmp_path, STACK[:3], axistags=tags("cyx"))
    assert "an array of 3x20x30 (CYX) is not one stack" in refused(source)
    np.testing.assert_array_equal(read(source, axes="zyx"), STACK[:3])


@pytest.mark.parametrize("axistags", ["{", "[]", '{"axes": 3}', tags("zy"), tags("abc"), 7])
def test_tags_that_make_no_sense_say_nothing(tmp_path, axistags):
    np.testing.assert_array_equal(read(hdf5(tmp_path, STACK, axistags=axistags)), STACK)


@pytest.mark.parametrize(
    "shape", [(1, 6, 20, 30), (6, 20, 30, 1), (1, 1, 6, 20, 30), (6, 1, 20, 30)]
)
def test_dimensions_of_length_1_need_no_axes(tmp_path, shape):
    np.testing.assert_array_equal(read(hdf5(tmp_path, STACK.reshape(shape))), STACK)


def test_axes_that_contradict_the_file_are_told(tmp_path):
    source = hdf5(tmp_path, STACK, axistags=tags("cyx"))
    with io.open_stack(source, axes="ZYX") as stack:
        assert stack.notes == ("the file says that its axes are CYX, --axes reads them as ZYX",)
    with io.open_stack(source, axes="ZYX", labels=True) as stack:
        assert "--label-axes reads them as ZYX" in stack.notes[0]
    for axes, said in (("ZYX", "tyx"), ("CYX", "cyx")):
        with io.open_stack(hdf5(tmp_path, STACK, axistags=tags(said)), axes=axes) as stack:
            assert stack.notes == ()
    with io.open_stack(hdf5(tmp_path, STACK), axes="YXZ") as stack:  # the file says nothing
        assert stack.notes == ()


@pytest.mark.parametrize(
    "shape",
    [(6, 20, 30, 3), (2, 6, 20, 30), (6, 2, 20, 30), (20, 30, 3), (20, 30, 4, 1, 2), (20, 3)],
)
def test_each_hint_for_an_array_without_axes_tells_what_it_leads_to(tmp_path, shape):
    pixels = noise(shape)
    source = hdf5(tmp_path, pixels)
    hints = re.findall(r"--axes (\w+) if it is (\d+) sections? of (\d+)x(\d+)", refused(source))
    assert hints
    for axes, *told in hints:
        found = read(source, axes=axes)
        assert list(found.shape) == [int(n) for n in told]
        channel = axes.find("C")
        expected = pixels if channel < 0 else np.rint(pixels.mean(axis=channel))
        np.testing.assert_array_equal(found.ravel(), expected.ravel())


def test_five_long_dimensions_get_no_letters_as_a_hint(tmp_path):
    assert "--axes" not in refused(hdf5(tmp_path, noise((2, 2, 2, 6, 7))))


def test_an_unknown_name_twice_gets_a_hint_that_works():
    with pytest.raises(StackError) as caught:
        resolve_axes("a", (2, 3, 20, 30), "??YX", None)
    assert "--axes CCYX" not in str(caught.value)


def store(tmp_path, pixels, *, version=3, names=None, attributes=None, inside="0"):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    options = {"dimension_names": names} if names and version == 3 else {}
    array = group.create_array(inside, shape=pixels.shape, dtype=pixels.dtype, **options)
    array[...] = pixels
    if names and version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = names
    group.attrs.update(attributes or {})
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("version", [2, 3])
def test_the_names_of_zarr_dimensions_are_read(tmp_path, version):
    path = store(tmp_path, STACK.T, version=version, names=["x", "y", "z"])
    np.testing.assert_array_equal(read(f"{path}:/0"), STACK)
    path = store(tmp_path, STACK, version=version, names=["dim_0", "dim_1", "dim_2"])
    np.testing.assert_array_equal(read(f"{path}:/0"), STACK)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", None])
def test_images_of_old_ome_zarr_are_tczyx(tmp_path, version):
    image = {"version": version, "datasets": [{"path": "0"}]}
    attributes = {"multiscales": [image]}
    path = store(tmp_path, STACK[None, None], version=2, attributes=attributes)
    np.testing.assert_array_equal(read(path), STACK)


def test_axes_of_ome_zarr_0_3_are_a_list_of_names(tmp_path):
    image = {"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}
    path = store(tmp_path, STACK, version=2, attributes={"multiscales": [image]})
    np.testing.assert_array_equal(read(path), STACK)


def series(tmp_path, count, version):
    """A folder as bioformats2raw writes it."""
    root = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=version)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if version == 2 else {"ome": {"version": "0.5"} | layout})
    root.create_group("OME")
    for number in range(count):
        group = root.create_group(str(number))
        array = group.create_array("0", shape=(1, 1, *STACK.shape), dtype="u1")
        array[...] = (STACK + number)[None, None]
        axes = [{"name": name, "type": "space"} for name in "zyx"]
        axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *axes]
        image = {"name": f"cell {number}", "axes": axes, "datasets": [{"path": "0"}]}
        images = {"multiscales": [image]}
        group.attrs.update(images if version == 2 else {"ome": images})
    return tmp_path / "b.zarr"


@pytest.mark.parametrize("version", [2, 3])
def test_a_folder_of_bioformats2raw_with_one_series_opens_it(tmp_path, version):
    np.testing.assert_array_equal(read(series(tmp_path, 1, version)), STACK)


@pytest.mark.parametrize("version", [2, 3])
def test_several_series_of_bioformats2raw_are_refused_with_their_names(tmp_path, version):
    path = series(tmp_path, 2, version)
    found = refused(path)
    assert "it holds 2 images: 0 (cell 0), 1 (cell 1)" in found
    assert f"name one: {path}:/0 or {path}:/1" in found
    np.testing.assert_array_equal(read(f"{path}:/1"), STACK + 1)
