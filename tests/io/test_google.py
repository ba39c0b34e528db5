"""Buckets of Google. moto stands in: Google's XML interface has the requests of S3."""

import os
import socket
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from sfseg import cli, io
from sfseg.errors import RemoteError, StackError
from sfseg.io import objects
from sfseg.io.objects import Objects
from sfseg.io.remote_errors import explain_remote
from sfseg.system.remote import as_location
from tests.buckets import google_key, upload
from tests.io.files import noise
from tests.localhost import Host, deliver

pytest.importorskip("zarr")
obstore = pytest.importorskip("obstore", reason="the extra cloud is not installed")


@pytest.fixture(scope="module")
def key(s3_service):
    return google_key(s3_service)


@pytest.fixture(autouse=True)
def _without_keys(monkeypatch):
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")  # where gcloud would leave keys
    monkeypatch.setitem(objects.RETRIES, "max_retries", 0)


@pytest.fixture
def twin(bucket, key, monkeypatch, tmp_path):
    """The address of a bucket at Google, and at S3."""
    (tmp_path / "key.json").write_text(key)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    return bucket.replace("s3://", "gs://"), bucket


def test_a_store_in_a_bucket_of_google_is_read_and_hashed_as_in_one_of_s3(twin, tmp_path):
    volume = noise((3, 700, 600), dtype="uint8")
    io.write_stack(tmp_path / "a.zarr", volume, voxel_size_nm=(50, 4, 4))
    google, s3 = (f"{bucket}/in a folder/metadata.zarr" for bucket in twin)
    upload(tmp_path / "a.zarr", s3)
    with io.open_stack(f"{google}:/0") as stack:
        assert stack.voxel_size_nm == (50.0, 4.0, 4.0)
        assert np.array_equal(stack.read(), volume)
        assert np.array_equal(
            stack.window(1, slice(5, 9), slice(510, 520)), volume[1, 5:9, 510:520]
        )
    assert io.hash_input(google) == io.hash_input(s3)


def test_what_is_not_there_or_not_permitted_is_named(twin, tmp_path, monkeypatch):
    google, s3 = twin
    io.write_stack(tmp_path / "a.zarr", noise((1, 9, 9), dtype="uint8"))
    upload(tmp_path / "a.zarr", f"{s3}/a.zarr")
    with pytest.raises(StackError, match="there is no bucket nosuchbucket") as missing:
        io.open_stack("gs://nosuchbucket/a.zarr")
    assert "AWS" not in missing.value.hint
    with pytest.raises(StackError, match="there is no Zarr array or group"):
        io.open_stack(f"{google}/b.zarr")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    with pytest.raises(RemoteError, match="no permission\nhint: set GOOGLE_APPLICATION_CRED"):
        io.open_stack(f"{google}/a.zarr")


def test_no_key_is_in_a_message(tmp_path, monkeypatch, key):
    (tmp_path / "key.json").write_text(key.replace("-----BEGIN", "-----BEGUN"))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    result = CliRunner().invoke(cli.app, ["score", "gs://b/a.zarr", "gs://b/b.zarr"])
    assert result.exit_code == 1
    assert "the file of the credentials cannot be used" in result.stderr
    assert "BEGUN" not in result.output
    assert "key.json" not in result.output
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "none.json"))
    with pytest.raises(RemoteError, match="the file of the credentials cannot be used"):
        io.open_stack("gs://b/a.zarr")


def test_a_bucket_that_does_not_list_is_named_with_a_way_round(monkeypatch):
    denied = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"
    with Host() as host:
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", google_key(host.url.strip("/")))
        host.serve("bucket?list-type=2&prefix=a.zarr%2F", deliver(denied, status=403))
        with pytest.raises(RemoteError, match="no permission to list the bucket") as refused:
            list(Objects(as_location("gs://bucket/a.zarr")).list())
    assert "https://storage.googleapis.com/bucket/a.zarr" in refused.value.hint


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_network_that_swallows_the_question_for_a_role_is_not_waited_for(scheme, monkeypatch):
    monkeypatch.setitem(objects.ROLE_WAITS, "timeout", "300ms")
    monkeypatch.setitem(objects.RETRIES, "max_retries", 7)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{address}")
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        monkeypatch.setenv("GCE_METADATA_IP", address)
        began = time.monotonic()
        with pytest.raises(RemoteError, match=r"there are no credentials\nhint: set (AWS|GOOGLE)_"):
            io.open_stack(f"{scheme}://bucket/a.zarr")
        assert time.monotonic() - began < 30  # and not the two minutes of an answer


@pytest.mark.parametrize(
    ("scheme", "name"), [("gs", "GOOGLE_BASE_URL"), ("s3", "AWS_ENDPOINT_URL")]
)
@pytest.mark.parametrize("value", ["minio.example.org", "localhost:9000", " http://localhost"])
def test_a_server_without_http_before_it_is_refused(scheme, name, value, monkeypatch):
    monkeypatch.setenv(name, value)  # at which obstore panics
    with pytest.raises(RemoteError, match=f"{name} is not the address of a server"):
        io.open_stack(f"{scheme}://bucket/a.zarr")


@pytest.mark.parametrize(
    ("scheme", "variables", "message"),
    [
        ("s3", {"AWS_ACCESS_KEY_ID": "half"}, "there are no credentials"),
        ("gs", {"GOOGLE_SKIP_SIGNATURE": "perhaps"}, "GOOGLE_SKIP_SIGNATURE is neither true nor"),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "none.json"}, "the file of the credentials"),
    ],
)
def test_variables_that_cannot_be_used_are_named(scheme, variables, message, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RemoteError, match=message):
        io.open_stack(f"{scheme}://bucket/a.zarr")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "Error performing token request: Error performing POST https://x/token in 3ms - "
            "Server returned non-2xx status code: 400 Bad Request: invalid_grant",
            "the credentials are not accepted",
        ),
        (
            "Error performing token request: Error performing POST https://x/token in 3ms - "
            "HTTP error: error sending request",
            "no answer",
        ),
        ("Error performing GET https://x/b/metadata/credentials.zarr in 3ms", "no answer"),
    ],
)
def test_a_login_that_is_refused_differs_from_a_server_that_is_silent(said, message):
    with (
        pytest.raises(RemoteError, match=message),
        explain_remote(as_location("gs://b/metadata/credentials.zarr")),
    ):
        raise obstore.exceptions.GenericError(f"Generic GCS error: {said}")
