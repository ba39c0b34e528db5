"""Zarr stores in: OME-Zarr and plain arrays, of formats 2 and 3."""

import json
import math
import pickle
import re
import sys
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import io
from sfseg.errors import MissingExtraError, StackError
from tests.io.files import VOXEL, noise, read, refused

zarr = pytest.importorskip("zarr")

SHAPE = (3, 40, 50)
UNITS = {"z": "micrometer", "y": "nanometer", "x": "angstrom"}
SCALES = {"z": 0.05, "y": 4.6, "x": 40.0, "t": 1.0, "c": 1.0}
pytestmark = pytest.mark.parametrize("version", [2, 3])


def ome(axes="zyx", path="s0", **changed):
    """The metadata of an image with two resolutions."""
    types = {"t": "time", "c": "channel"}
    scale = [SCALES[axis] for axis in axes]
    level = {"coordinateTransformations": [{"type": "scale", "scale": scale}]}
    half = {"coordinateTransformations": [{"type": "scale", "scale": [2 * n for n in scale]}]}
    names = [
        {"name": axis, "type": types.get(axis, "space")}
        | ({"unit": UNITS[axis]} if axis in UNITS else {})
        for axis in axes
    ]
    datasets = [level | {"path": path}, half | {"path": "s1"}]
    return {"version": "0.4", "axes": names, "datasets": datasets} | changed


def write(path, pixels, version, image=None, *, name="s0", **options):
    """Write an array, and beside it what makes it an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(path, mode="a", zarr_format=version)
        options = {"chunks": tuple(min(n, 16) for n in pixels.shape)} | options
        array = group.create_array(name, shape=pixels.shape, dtype=pixels.dtype, **options)
        array[...] = pixels
    if image is not None:
        keys = {"multiscales": [image]}
        group.attrs.update(keys if version == 2 else {"ome": {"version": "0.5"} | keys})
    return path


def array_metadata(path, version):
    """The file that describes an array, and what is in it."""
    file = path / (".zarray" if version == 2 else "zarr.json")
    return file, json.loads(file.read_text())


def test_an_image_is_read_in_full_resolution_with_its_voxel_size(tmp_path, version):
    pixels = noise(SHAPE, dtype="uint16")
    path = write(tmp_path / "a.zarr", pixels, version, ome())
    write(path, pixels[:, ::2, ::2], version, name="s1")
    with io.open_stack(path) as stack:
        assert stack.describe() == "3 sections of 40x50, uint16, voxel 50x4.6x4 nm"
        np.testing.assert_array_equal(stack.read(), pixels)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_window_is_that_part_of_its_section(tmp_path, version, data):
    options = data.draw(
        st.sampled_from(
            [
                {"chunks": (1, 16, 16)},
                {"chunks": (3, 40, 50)},
                {"chunks": (2, 7, 50)},
                {"chunks": (1, 64, 64), "compressors": None},
            ]
            + [{"chunks": (1, 10, 10), "shards": (1, 20, 20)}] * (version == 3)
        )
    )
    pixels = noise(SHAPE, dtype=data.draw(st.sampled_from(["u1", "<u2", ">u2", ">f4"])))
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
    write(path, pixels, version, ome(), **options)
    with io.open_stack(path) as stack:
        assert stack.dtype.isnative
        for _ in range(3):
            index = data.draw(st.integers(0, 2))
            top, left = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 49))
            rows = slice(top, data.draw(st.integers(top + 1, 40)))
            columns = slice(left, data.draw(st.integers(left + 1, 50)))
            found = stack.window(index, rows, columns)
            np.testing.assert_array_equal(found, pixels[index, rows, columns])
            np.testing.assert_array_equal(stack.section(index), pixels[index])


@pytest.mark.parametrize(
    ("axes", "shape"), [("tczyx", (1, 1, 3, 8, 9)), ("yx", (8, 9)), ("tyx", (4, 8, 9))]
)
def test_axes_are_those_of_the_metadata(tmp_path, version, axes, shape):
    pixels = noise(shape)
    path = write(tmp_path / "a.zarr", pixels, version, ome(axes))
    with io.open_stack(path) as stack:
        assert stack.voxel_size_nm[1:] == VOXEL[1:]
        assert math.isnan(stack.voxel_size_nm[0]) == ("z" not in axes)
        np.testing.assert_array_equal(stack.read(), pixels.reshape(-1, 8, 9))


def test_channels_are_refused_until_the_person_averages_them(tmp_path, version):
    pixels = noise((2, 3, 8, 9))
    path = write(tmp_path / "a.zarr", pixels, version, ome("czyx"))
    assert (
        "an array of 2x3x8x9 (CZYX) is not one stack of grey sections\nhint: --axes CZYX to average"
        in refused(path)
    )
    grey = np.rint(pixels.mean(axis=0))
    np.testing.assert_array_equal(read(path, axes="CZYX"), grey)


def test_scales_of_the_level_and_of_the_image_multiply(tmp_path, version):
    image = ome(coordinateTransformations=[{"type": "scale", "scale": [1, 2, 2]}])
    with io.open_stack(write(tmp_path / "a.zarr", noise(SHAPE), version, image)) as stack:
        assert stack.voxel_size_nm == pytest.approx((50, 9.2, 8))


def test_axes_without_units_give_no_voxel_size(tmp_path, version):
    image = ome()
    for axis in image["axes"]:
        del axis["unit"]
    with io.open_stack(write(tmp_path / "a.zarr", noise(SHAPE), version, image)) as stack:
        assert stack.voxel_size_nm is None


def test_an_array_in_a_group_is_read_as_one_of_hdf5(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, name="volumes/raw")
    write(path, noise((8, 9)), version, name="flat")
    np.testing.assert_array_equal(read(f"{path}:/volumes/raw"), noise(SHAPE))
    np.testing.assert_array_equal(read(f"{path}:flat"), noise((8, 9))[None])
    np.testing.assert_array_equal(read(path / "volumes" / "raw"), noise(SHAPE))
    write(path, noise((8, 9, 3)), version, name="colour")
    assert "an array of 8x9x3 (no axes in the file)" in refused(f"{path}:colour")
    assert read(f"{path}:colour", axes="YXS").shape == (1, 8, 9)


def test_a_resolution_that_is_named_has_the_axes_and_the_voxel_size_of_its_image(tmp_path, version):
    stored = noise(SHAPE).transpose(2, 1, 0)
    path = write(tmp_path / "a.zarr", stored, version, ome("xyz"))
    write(path, stored[::2, ::2, ::2], version, name="s1")
    write(path, noise((8, 9)), version, name="other")
    for name, step in (("s0", 1), ("s1", 2)):
        for source in (f"{path}:/{name}", path / name):
            np.testing.assert_array_equal(read(source), noise(SHAPE)[::step, ::step, ::step])
            with io.open_stack(source) as stack:
                np.testing.assert_allclose(stack.voxel_size_nm, step * np.array(VOXEL))
    with io.open_stack(f"{path}:/other") as stack:
        assert stack.voxel_size_nm is None


@pytest.mark.parametrize("axes", [None, 5, ["z"], [{"type": "space"}] * 3])
def test_an_array_that_is_named_is_read_whatever_its_image_says(tmp_path, version, axes):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, ome(axes="zyx") | {"axes": axes})
    assert refused(path)
    np.testing.assert_array_equal(read(f"{path}:/s0"), noise(SHAPE))


def test_a_group_says_what_it_holds(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, name="volumes/raw")
    write(path / "image", noise(SHAPE), version, ome())
    text = refused(path)
    assert "this is a group, not an array or an OME-Zarr image" in text
    assert "it holds /image, /volumes/raw; name one like" in text
    np.testing.assert_array_equal(read(f"{path}:/image"), noise(SHAPE))
    zarr.open_group(tmp_path / "empty.zarr", mode="w", zarr_format=version)
    assert "it holds no array" in refused(tmp_path / "empty.zarr")


def test_a_path_that_is_not_there_is_named(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version)
    assert "there is no Zarr array or group in" in refused(f"{path}:/nowhere")
    assert "there is no such store" in refused(f"{tmp_path}/b.zarr:/raw")
    assert "there is no such file" in refused(tmp_path / "b.zarr")
    (tmp_path / "folder.zarr").mkdir()
    assert "there is no Zarr array or group in" in refused(tmp_path / "folder.zarr")
    (tmp_path / "file.zarr").write_text("no store")
    assert "this is not an image" in refused(tmp_path / "file.zarr")
    assert "this is not a folder" in refused(f"{tmp_path}/file.zarr:/raw")


@pytest.mark.parametrize(
    "path", ["../secret.zarr/s0", "..\\secret.zarr/s0", "s0/../../secret.zarr"]
)
def test_pixels_of_other_stores_are_never_read(tmp_path, version, path):
    write(tmp_path / "secret.zarr", noise(SHAPE), version)
    store = write(tmp_path / "a.zarr", noise(SHAPE), version, ome(path=path))
    assert f"the path /{path} leaves this store" in refused(store)
    assert "leaves this store" in refused(f"{store}:/{path}")


def test_an_array_that_is_a_link_to_another_store_is_refused(tmp_path, version):
    secret = write(tmp_path / "secret.zarr", noise(SHAPE), version)
    store = write(tmp_path / "a.zarr", noise(SHAPE), version)
    (store / "link").symlink_to(secret / "s0", target_is_directory=True)
    assert "leaves this store" in refused(f"{store}:/link")


def test_a_chunk_that_is_not_there_is_the_fill_value(tmp_path, version):
    options = {"fill_value": 7, "chunks": (1, 40, 50)}
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, ome(), **options)
    (path / "s0" / ("1.0.0" if version == 2 else "c/1/0/0")).unlink()
    expected = noise(SHAPE)
    expected[1] = 7
    np.testing.assert_array_equal(read(path), expected)


def test_an_array_without_a_chunk_is_refused(tmp_path, version):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("raw", shape=(10**6, 10**6, 10**6), chunks=(1, 64, 64), dtype="u1")
    assert "the store has no chunk of the array" in refused(f"{path}:/raw")


def test_a_chunk_over_1_gib_is_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version)
    file, found = array_metadata(path / "s0", version)
    if version == 2:
        found["chunks"] = [1024, 1024, 1025]
    else:
        found["chunk_grid"]["configuration"]["chunk_shape"] = [1024, 1024, 1025]
    file.write_text(json.dumps(found))
    assert "one strip, tile, chunk or picture has" in refused(f"{path}:/s0")


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_codec_that_runs_what_it_finds_is_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version)
    for chunk in (file for file in (path / "s0").rglob("*") if file.name[0] in "012c"):
        if chunk.is_file():
            chunk.write_bytes(pickle.dumps(Touch(tmp_path / "owned")))
    file, found = array_metadata(path / "s0", version)
    if version == 2:
        found["compressor"] = {"id": "pickle", "protocol": 5}
    else:
        found["codecs"].append({"name": "pickle", "configuration": {}})
    file.write_text(json.dumps(found))
    assert re.search("codec pickle are not known|cannot be read: ", refused(f"{path}:/s0"))
    assert not (tmp_path / "owned").exists()


def test_a_codec_that_is_not_known_to_be_safe_is_named(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version)
    file, found = array_metadata(path / "s0", version)
    if version == 2:
        found["compressor"] = {"id": "base64"}
    else:
        found["codecs"].insert(0, {"name": "numcodecs.pcodec", "configuration": {"level": 8}})
    file.write_text(json.dumps(found))
    named = "the codec base64 are not known to be safe"
    if version == 3:  # zarr may not know pcodec
        named = "the codec pcodec are not known to be safe|the pixels cannot be read: "
    assert re.search(named, refused(f"{path}:/s0"))


def test_a_damaged_chunk_is_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, ome(), chunks=(1, 40, 50))
    chunk = path / "s0" / ("1.0.0" if version == 2 else "c/1/0/0")
    chunk.write_bytes(chunk.read_bytes()[:9])
    with io.open_stack(path) as stack:
        stack.section(0)
        with pytest.raises(StackError, match="the pixels cannot be read"):
            stack.section(1)


@pytest.mark.parametrize(
    "changed",
    [
        {"axes": None},
        {"axes": ["z", 1, "x"]},
        {"axes": [{"type": "space"}] * 3},
        {"axes": ome()["axes"][1:]},
        {"axes": ome()["axes"][:1] * 3},
        {"datasets": []},
        {"datasets": [{}]},
        {"datasets": [{"path": "s9"}]},
        {"datasets": [{"path": "s0", "coordinateTransformations": [{"scale": [1, 2]}]}]},
        {"datasets": [{"path": "s0", "coordinateTransformations": [{"scale": ["a"] * 3}]}]},
        {"datasets": "s0"},
        {"datasets": [{"path": ""}]},
    ],
)
def test_metadata_that_are_not_whole_are_refused(tmp_path, version, changed):
    refused(write(tmp_path / "a.zarr", noise(SHAPE), version, ome() | changed))


def test_damaged_json_is_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, ome())
    file, _ = array_metadata(path / "s0", version)
    for text in ("{", "[]", "null", '{"zarr_format": 9}', file.read_text()[:-20]):
        file.write_text(text)
        assert "a.zarr: " in refused(path).partition("\nhint: ")[0]


def test_a_store_is_one_source_whatever_its_name(tmp_path, version):
    path = write(tmp_path / "image", noise(SHAPE), version, ome())
    assert io.list_files(path) == [path]
    np.testing.assert_array_equal(read(path), noise(SHAPE))
    tifffile.imwrite(tmp_path / "a.tif", noise((8, 9)))
    assert io.list_files(tmp_path) == [tmp_path / "a.tif"]


def test_the_hash_of_a_store_is_that_of_its_files_and_of_the_array_named(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, name="a")
    write(path, noise(SHAPE), version, name="b")
    hashes = {io.hash_input(path), io.hash_input(f"{path}:/a"), io.hash_input(f"{path}:/b")}
    assert len(hashes) == 3
    assert io.hash_input(f"{path}:a") == io.hash_input(f"{path}:/a/")
    path = path.rename(tmp_path / "moved.zarr")
    assert io.hash_input(path) in hashes
    chunk = next(file for file in sorted(path.rglob("*")) if file.is_file() and file.name[0] == "0")
    chunk.write_bytes(b"other")
    assert io.hash_input(path) not in hashes


def test_the_hash_of_a_store_follows_no_link_out_of_it(tmp_path, version):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, name="a")
    (path / "again").symlink_to(next(file for file in path.rglob("*") if file.is_file()))
    (path / "folder").symlink_to(tmp_path, target_is_directory=True)
    (path / "nothing").symlink_to("nowhere")
    io.hash_input(path)
    (tmp_path / "secret").write_text("secret")
    (path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(StackError, match=f"{path / 'link'} is not a file of this store"):
        io.hash_input(path)


def test_without_zarr_the_extra_is_named(tmp_path, version, monkeypatch):
    path = write(tmp_path / "a.zarr", noise(SHAPE), version, ome())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match="pip install zarr"):
        io.open_stack(path)
