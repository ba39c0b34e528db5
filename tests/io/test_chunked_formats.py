"""N5 and precomputed volumes: what the specifications say is read right, the rest refused."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg import io
from tests.io.files import SHAPE, assert_windows_of, noise, read, refused, windows
from tests.io.writers import PACK, n5, precomputed


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("full", [True, False])
def test_n5_is_read_in_each_compression(tmp_path, kind, dtype, full):
    pixels = noise(SHAPE, dtype)
    np.testing.assert_array_equal(read(n5(tmp_path / "a.n5", pixels, kind, full=full)), pixels)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pixelResolution": {"unit": "um", "dimensions": [0.004, 0.0046, 0.05]}},
        {"resolution": [4, 4.6, 50]},
    ],
)
def test_the_voxel_size_of_n5_is_x_y_z(tmp_path, attributes):
    with io.open_stack(n5(tmp_path / "a.n5", noise(SHAPE), **attributes)) as stack:
        np.testing.assert_allclose(stack.voxel_size_nm, (50, 4.6, 4))


def test_a_voxel_of_a_smaller_copy_in_n5_covers_several(tmp_path):
    attributes = {"pixelResolution": [4, 4.6, 50], "downsamplingFactors": [2, 2, 1]}
    with io.open_stack(n5(tmp_path / "a.n5", noise(SHAPE), **attributes)) as stack:
        np.testing.assert_allclose(stack.voxel_size_nm, (50, 9.2, 8))


def test_the_full_resolution_of_a_group_is_read_and_a_folder_in_a_store_is_a_source(tmp_path):
    pixels = noise(SHAPE)
    n5(tmp_path / "a.n5", pixels, path="raw/s0")
    (tmp_path / "a.n5/raw/attributes.json").write_text('{"resolution": [4, 4, 40]}')
    for source in (f"{tmp_path}/a.n5:/raw", tmp_path / "a.n5/raw/s0"):
        np.testing.assert_array_equal(read(source), pixels)
    with io.open_stack(f"{tmp_path}/a.n5:/raw") as stack:
        assert stack.voxel_size_nm == (40, 4, 4)
    assert "it holds /raw/s0" in refused(tmp_path / "a.n5")
    assert "no N5 array or group" in refused(f"{tmp_path}/a.n5:/nowhere")
    assert "there is no such store" in refused(f"{tmp_path}/b.n5:/raw")


def test_axes_of_n5_are_in_its_own_order(tmp_path):
    pixels = noise(SHAPE)
    source = n5(tmp_path / "a.n5", pixels.transpose(2, 1, 0), axes=["z", "y", "x"])
    np.testing.assert_array_equal(read(source), pixels)


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(windows(), min_size=3, max_size=3))
def test_windows_of_n5_are_those_of_the_sections(tmp_path_factory, wanted):
    pixels = noise(SHAPE)
    with io.open_stack(n5(tmp_path_factory.mktemp("n5") / "a.n5", pixels)) as stack:
        assert_windows_of(stack, pixels, wanted)


def test_a_chunk_that_was_never_written_is_0_but_one_must_exist(tmp_path):
    pixels = noise(SHAPE)
    source = n5(tmp_path / "a.n5", pixels)
    (tmp_path / "a.n5/volumes/raw/0/1/0").unlink()
    pixels[:2, 16:32, :32] = 0
    np.testing.assert_array_equal(read(source), pixels)
    for file in list((tmp_path / "a.n5/volumes/raw").rglob("*/*")):
        if file.is_file() and file.name != "attributes.json":
            file.unlink()
    assert "no chunk" in refused(source)


def test_links_and_paths_that_leave_an_n5_store_are_refused(tmp_path):
    source = n5(tmp_path / "a.n5", noise(SHAPE))
    chunk = tmp_path / "a.n5/volumes/raw/0/0/0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    assert "is not a file of this store" in refused(source)
    assert "leaves this store" in refused(f"{tmp_path}/a.n5:/../b.n5")


@pytest.mark.parametrize(
    "attributes",
    [
        {"dimensions": [-70, 50, 3]},
        {"dimensions": [70, 50]},
        {"dimensions": [10**9, 10**9, 10**9]},
        {"blockSize": [0, 16, 2]},
        {"blockSize": [10**6, 10**6, 2]},
        {"dataType": "object"},
        {"compression": {"type": "bzip2"}},
        {"compression": {}},
        {"dimensions": "abc"},
    ],
)
def test_metadata_of_n5_that_make_no_sense_are_refused(tmp_path, attributes):
    refused(n5(tmp_path / "a.n5", noise(SHAPE), **attributes))


@pytest.mark.parametrize("kind", PACK)
def test_damaged_and_very_large_chunks_of_n5_are_refused(tmp_path, kind):
    source = n5(tmp_path / "a.n5", noise(SHAPE), kind)
    chunk = tmp_path / "a.n5/volumes/raw/0/0/0"
    whole = chunk.read_bytes()
    big = PACK[kind](bytes(2**27))
    for data in (whole[:-9], whole[:8], b"", whole[:16] + big, b"\0\1" + whole[2:]):
        chunk.write_bytes(data)
        refused(source)


# --- precomputed


@pytest.mark.parametrize("options", [{}, {"packed": True, "suffix": ".gz"}, {"packed": True}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "uint64"])
@pytest.mark.parametrize("offset", [(0, 0, 0), (100, 7, 30)])
def test_precomputed_volumes_are_read(tmp_path, options, dtype, offset):
    pixels = noise(SHAPE, dtype)
    store = precomputed(tmp_path / "em", pixels, offset=offset, **options)
    with io.open_stack(store) as stack:
        assert stack.voxel_size_nm == (50, 4.6, 4)
        np.testing.assert_array_equal(stack.read(), pixels)


@pytest.mark.parametrize("packed", [True, False])
def test_chunks_of_jpeg_are_decoded(tmp_path, packed):
    steps = np.arange(np.prod(SHAPE)).reshape(SHAPE) // 40 % 200
    store = precomputed(tmp_path / "em", steps.astype("u1"), encoding="jpeg", packed=packed)
    assert np.abs(read(store).astype(int) - steps).max() <= 3


def test_channels_of_a_precomputed_volume_are_refused_until_named(tmp_path):
    pixels = noise((2, *SHAPE))
    store = precomputed(tmp_path / "em", pixels)
    assert "(CZYX)" in refused(store)
    expected = np.rint(pixels.mean(axis=0))
    np.testing.assert_array_equal(read(store, axes="CZYX"), expected)


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(windows(), min_size=3, max_size=3))
def test_windows_of_precomputed_are_those_of_the_sections(tmp_path_factory, wanted):
    pixels = noise(SHAPE)
    with io.open_stack(precomputed(tmp_path_factory.mktemp("em") / "em", pixels)) as stack:
        assert_windows_of(stack, pixels, wanted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sharding": {"@type": "neuroglancer_uint64_sharded_v1"}}, "in shards"),
        ({"encoding": "compressed_segmentation"}, "stored as 'compressed_segmentation'"),
        ({"size": [-70, 50, 3]}, "make no sense"),
        ({"size": [10**7, 10**7, 10**7]}, "over 10000 times"),
        ({"size": [70, 50]}, "cannot be read"),
        ({"chunk_sizes": [[0, 16, 2]]}, "make no sense"),
        ({"chunk_sizes": []}, "cannot be read"),
        ({"resolution": "abc"}, "cannot be read"),
    ],
)
def test_precomputed_volumes_that_cannot_be_read_are_refused(tmp_path, options, words):
    assert words in refused(precomputed(tmp_path / "em", noise(SHAPE), **options))


def test_keys_and_links_that_leave_a_precomputed_volume_are_refused(tmp_path):
    store = precomputed(tmp_path / "em", noise(SHAPE))
    info = json.loads((store / "info").read_text())
    info["scales"][0]["key"] = "../em2"
    (store / "info").write_text(json.dumps(info))
    assert "leaves this store" in refused(store)
    store = precomputed(tmp_path / "other", noise(SHAPE))
    chunk = store / "4_4_50/0-32_0-16_0-2"
    chunk.unlink()
    chunk.symlink_to(tmp_path / "em/info")
    assert "is not a file of this store" in refused(store)


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_chunks_of_precomputed_are_refused(tmp_path, packed):
    store = precomputed(tmp_path / "em", noise(SHAPE), packed=packed)
    chunk = store / "4_4_50/0-32_0-16_0-2"
    whole = chunk.read_bytes()
    for data in (
        whole[:-9],
        b"",
        gzip.compress(bytes(2**27)),
        whole[:20] + bytes(9) + whole[29:-1],
    ):
        chunk.write_bytes(data)
        refused(store)


def test_a_folder_of_pictures_with_a_file_of_a_common_name_is_no_store(tmp_path):
    pixels = noise(SHAPE)
    for number, section in enumerate(pixels):
        io.write_picture(tmp_path / f"{number}.png", section)
    (tmp_path / "info").write_text("taken in May")
    (tmp_path / "attributes.json").write_text("{}")
    np.testing.assert_array_equal(read(tmp_path), pixels)


def test_hashes_follow_the_chunks(tmp_path):
    store = precomputed(tmp_path / "em", noise(SHAPE))
    with io.open_stack(store) as stack:
        first = stack.sha256()
    (store / "4_4_50/0-32_0-16_0-2").write_bytes(bytes(1024))
    with io.open_stack(store) as stack:
        assert stack.sha256() != first
