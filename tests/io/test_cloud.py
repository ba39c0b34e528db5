"""Zarr stores at an address: in a bucket, and on a web server."""

import json
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sfseg import io
from sfseg.errors import MissingExtraError, OutputError, RemoteError, StackError
from sfseg.io import objects
from sfseg.system.remote import RemotePath, as_location
from tests.buckets import open_bucket, upload, web_server
from tests.io.files import noise

zarr = pytest.importorskip("zarr")
pytest.importorskip("obstore", reason="the extra cloud is not installed")

VOXEL = (50.0, 4.0, 4.0)


@pytest.fixture
def volume():
    return noise((3, 700, 600), dtype="uint8")


@pytest.fixture
def store(tmp_path, volume):
    """An OME-Zarr with several chunks in a file."""
    io.write_stack(tmp_path / "a.zarr", volume, voxel_size_nm=VOXEL)
    return tmp_path / "a.zarr"


def check(source, volume, *, voxel=VOXEL):
    with io.open_stack(source) as stack:
        assert stack.voxel_size_nm == voxel
        assert np.array_equal(stack.read(), volume)
        assert np.array_equal(
            stack.window(1, slice(5, 20), slice(510, 520)), volume[1, 5:20, 510:520]
        )


@pytest.mark.parametrize("inside", ["", "/0", ":/0"])
def test_a_store_in_a_bucket_is_read_as_from_the_disk(bucket, store, volume, inside):
    upload(store, f"{bucket}/in a folder/a.zarr")
    check(f"{bucket}/in a folder/a.zarr{inside}", volume)


def test_a_path_keeps_the_address_that_it_was_made_of(bucket, store, volume):
    upload(store, f"{bucket}/a.zarr")
    check(Path(f"{bucket}/a.zarr"), volume)


def test_an_address_stays_one_whatever_is_made_of_it():
    path = as_location("s3://b/x/a.zarr")
    assert (path.scheme, path.bucket, path.key) == ("s3", "b", "x/a.zarr")
    for same in (
        as_location(Path("s3://b/x/a.zarr/")),
        as_location(path),
        path.with_name("c").with_name("a.zarr"),
        path.parent / "a.zarr",
        path.with_suffix(".tif").with_suffix(".zarr"),
        pickle.loads(pickle.dumps(path)),  # noqa: S301 - our own
        path.resolve(),
    ):
        assert (str(same), same, hash(same)) == ("s3://b/x/a.zarr", path, hash(path))
        assert isinstance(same, RemotePath)
    assert [str(folder) for folder in path.parents][:2] == ["s3://b/x", "s3://b"]
    assert str(as_location("https://h:80/a%20b.zarr/")) == "https://h:80/a%20b.zarr"
    assert not path.exists()
    assert not isinstance(as_location("s3:/b"), RemotePath)  # a folder of that name


@pytest.mark.parametrize("version", [2, 3])
def test_a_web_server_serves_stores_of_both_formats(tmp_path, volume, version):
    array = zarr.create_array(
        tmp_path / "a.zarr", data=volume, chunks=(1, 300, 300), zarr_format=version
    )
    assert array.shape == volume.shape
    with web_server(tmp_path, sends_parts=False) as address:
        check(f"{address}/a.zarr", volume, voxel=None)


def test_a_web_server_that_sends_parts_serves_chunks_in_shards(store, volume):
    with web_server(store.parent) as address:
        check(f"{address}/a.zarr", volume)
    with (
        web_server(store.parent, sends_parts=False) as address,
        io.open_stack(f"{address}/a.zarr") as stack,
        pytest.raises(RemoteError, match="sends whole files only"),
    ):
        stack.window(0, slice(0, 5), slice(0, 5))


def test_the_hash_is_that_of_the_versions_and_notices_one_other_chunk(bucket, store):
    upload(store, f"{bucket}/a.zarr")
    upload(store, f"{bucket}/copies/b.zarr")
    first = io.hash_input(f"{bucket}/a.zarr")
    assert io.hash_input(f"{bucket}/copies/b.zarr") == first
    chunk = "a.zarr/0/c/1/0/0"
    data = bytearray(open_bucket(bucket).get(chunk).bytes())
    data[9] ^= 1
    open_bucket(bucket).put(chunk, bytes(data))
    assert io.hash_input(f"{bucket}/a.zarr") != first
    assert io.hash_input(f"{bucket}/a.zarr:/0") != first


def test_the_hash_at_a_web_server_is_that_of_the_address_and_the_metadata(store):
    io.write_stack(store.with_name("b.zarr"), noise((3, 700, 600), dtype="uint8"))
    with web_server(store.parent) as address:
        hashes = [io.hash_input(f"{address}/{name}") for name in ("a.zarr", "b.zarr", "a.zarr")]
        assert hashes[0] == hashes[2] != hashes[1]
        metadata = json.loads((store / "zarr.json").read_text())
        (store / "zarr.json").write_text(json.dumps(metadata | {"more": 1}))
        assert io.hash_input(f"{address}/a.zarr") != hashes[0]


@pytest.mark.parametrize("compressor", ["zstd", "blosc"])
def test_chunks_that_unpack_to_too_much_are_refused(bucket, tmp_path, monkeypatch, compressor):
    from sfseg.io import chunks

    monkeypatch.setattr(chunks, "SMALL_BYTES", 2**10)
    codecs = {"zstd": zarr.codecs.ZstdCodec(), "blosc": zarr.codecs.BloscCodec()}
    for name, size in (("small", 16), ("large", 512)):
        array = zarr.create_array(
            tmp_path / name,
            shape=(1, size, size),
            chunks=(1, size, size),
            dtype="uint8",
            compressors=codecs[compressor],
        )
        array[...] = 7
    upload(tmp_path / "small", f"{bucket}/a.zarr")
    bomb = next((tmp_path / "large" / "c").rglob("0/0/0"))
    open_bucket(bucket).put("a.zarr/c/0/0/0", bomb.read_bytes())
    with io.open_stack(f"{bucket}/a.zarr") as stack, pytest.raises(StackError, match="unpacks to"):
        stack.read()


def test_codecs_that_run_code_and_paths_that_leave_are_refused(bucket, tmp_path, store):
    zarr.create_array(tmp_path / "p", data=np.zeros((1, 9, 9), "uint8"), zarr_format=2)
    metadata = json.loads((tmp_path / "p" / ".zarray").read_text())
    (tmp_path / "p" / ".zarray").write_text(json.dumps(metadata | {"filters": [{"id": "pickle"}]}))
    upload(tmp_path / "p", f"{bucket}/p.zarr")
    with pytest.raises(StackError):
        io.open_stack(f"{bucket}/p.zarr")
    metadata = json.loads((store / "zarr.json").read_text())
    level = metadata["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    level["path"] = "../b.zarr/0"
    (store / "zarr.json").write_text(json.dumps(metadata))
    upload(store, f"{bucket}/a.zarr")
    with pytest.raises(StackError, match="leaves this store"):
        io.open_stack(f"{bucket}/a.zarr")


def test_what_is_not_there_is_named(bucket, store, monkeypatch):
    upload(store, f"{bucket}/a.zarr")
    for source, message in {
        "s3://no-such-bucket/a.zarr": "there is no bucket no-such-bucket",
        f"{bucket}/b.zarr": "there is no Zarr array or group",
        f"{bucket}/a.tif": "there is no Zarr array or group",
        f"{bucket}/a.zarr:/1": "there is no Zarr array or group",
    }.items():
        with pytest.raises(StackError, match=message):
            io.open_stack(source)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(RemoteError, match="no permission"):
        io.open_stack(f"{bucket}/a.zarr")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=f"{bucket}/a.zarr: no answer"):
        io.open_stack(f"{bucket}/a.zarr")


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
@pytest.mark.parametrize("value", ["eu west 1", "eu-west-1\r", "https://eu-west-1"])
def test_what_is_no_region_is_said_and_shown(name, value, bucket, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(RemoteError) as caught:
        io.open_stack(f"{bucket}/a.zarr")
    assert caught.value.message == (
        f"{bucket}/a.zarr: {name} is {value!r}, not the name of a region"
    )
    assert name in caught.value.hint
    with pytest.raises(RemoteError, match=f"{name} is .*, not the name of a region"):
        objects.Objects(RemotePath(f"{bucket}/out.zarr")).write("zarr.json", b"{}")


@pytest.mark.parametrize("region", ["us-gov-west-1", "auto", "my_region.2", ""])
def test_regions_of_other_services_are_taken(region, bucket, store, monkeypatch, volume):
    upload(store, f"{bucket}/a.zarr")
    monkeypatch.setenv("AWS_REGION", region)
    check(f"{bucket}/a.zarr", volume)


def test_an_empty_address_of_a_server_is_said(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    with pytest.raises(RemoteError, match="AWS_ENDPOINT_URL is set, but empty"):
        io.open_stack(f"{bucket}/a.zarr")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_a_key_with_the_end_of_its_line_is_said_and_not_shown(name, bucket, monkeypatch):
    monkeypatch.setenv(name, "TOPSECRET\r")
    with pytest.raises(RemoteError, match=f"{name} has a line break") as caught:
        io.open_stack(f"{bucket}/a.zarr")
    assert "TOPSECRET" not in str(caught.value)


def test_a_server_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(objects, "RETRIES", {"max_retries": 0})
    monkeypatch.setitem(objects.WAITS, "timeout", "1s")
    from tests.localhost import Host

    with Host() as host:
        host.serve("a.zarr/zarr.json", host.stall(b"{"))
        began = time.monotonic()
        with pytest.raises(RemoteError, match="no answer"):
            io.open_stack(f"{host.url}a.zarr")
        assert time.monotonic() - began < 30


def test_a_server_that_is_busy_at_first_is_asked_again(store, volume):
    from tests.localhost import Host, deliver

    with Host() as host:
        for file in (each for each in store.rglob("*") if each.is_file()):
            path = f"a.zarr/{file.relative_to(store).as_posix()}"
            host.serve(path, deliver(b"", status=503), deliver(file.read_bytes()))
        with io.open_stack(f"{host.url}a.zarr") as stack:
            assert np.array_equal(stack.read(), volume)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:topsecret@bucket/a.zarr",
        "s3://AKIA:top/secret@bucket/a.zarr",
        "https://me:topsecret@example.org/a.zarr",
        "https://example.org/a.zarr?X-Amz-Signature=topsecret",
        "gs://bucket/a.zarr#topsecret",
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_with_a_secret_is_refused_and_not_repeated(address, kind):
    with pytest.raises(StackError, match="without a user") as refused:
        io.open_stack(kind(address))
    assert "secret" not in str(refused.value)


def test_what_is_written_to_a_disk_is_not_written_to_an_address(volume, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s3://bucket/a.tif", "gs://bucket/a.zarr", Path("s3://bucket/a.mrc")):
        with pytest.raises(OutputError, match="cannot be written to an address"):
            io.write_stack(name, volume.astype("float32"))
    assert list(tmp_path.iterdir()) == []


def test_without_obstore_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match="the extra 'cloud' is not installed"):
        io.open_stack("s3://bucket/a.zarr")
