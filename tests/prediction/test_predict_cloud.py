"""Prediction from a bucket, and into one."""

import contextlib
import json
import subprocess

import numpy as np
import pytest
from typer.testing import CliRunner

from sfseg import cli, io
from sfseg.config import PredictConfig
from sfseg.errors import (
    OptionError,
    OutputError,
    OutputExistsError,
    RemoteError,
    ResumeError,
    SfsegWarning,
    StackError,
)
from sfseg.io import lease
from sfseg.prediction import run
from sfseg.prediction.jobs import make_jobs
from sfseg.prediction.predict import predict_file, predict_job
from sfseg.prediction.resumable import open_resumable
from sfseg.system.remote import as_location
from tests.buckets import SECRET, keys, open_bucket, upload
from tests.prediction.test_predict import MODEL
from tests.processes import started

zarr = pytest.importorskip("zarr")
pytest.importorskip("obstore", reason="the extra cloud is not installed")

TILES = 8


@pytest.fixture
def volume(tissue, tmp_path):
    """Two sections of 90x90, in a folder."""
    io.write_stack(tmp_path / "in.zarr", tissue[0][:2, :90, :90], voxel_size_nm=(50, 4, 4))
    return tmp_path / "in.zarr"


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(run, "FLUSH_S", 0.0)
    monkeypatch.setattr(lease, "LEASE_S", 3.0)


def predict(source, out, *, report=lambda _: None, **options):
    """Predict with a stand-in for a network, in tiles: eight of them."""
    (job,) = make_jobs(
        [str(source)],
        as_location(out),
        overwrite=options.get("overwrite", False),
        resume=options.get("resume", False),
    )
    config = PredictConfig(**({"tile_px": 32} | options))
    return predict_job(job, MODEL, config, report=report)


def stop_after(tiles, error=KeyboardInterrupt):
    def report(record):
        if record.done == tiles:
            raise error

    return report


def contents(bucket):
    store = open_bucket(bucket)
    return {key: bytes(store.get(key).bytes()) for key in keys(bucket)}


def test_a_map_of_a_bucket_has_the_bytes_of_one_of_a_folder(bucket, volume, tmp_path):
    upload(volume, f"{bucket}/in.zarr")
    for source, name in ((volume, "a.tif"), (f"{bucket}/in.zarr", "b.tif")):
        predict(source, tmp_path / name)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    record = (tmp_path / "b.tif.json").read_text()
    assert json.loads(record)["input"]["source"] == f"{bucket}/in.zarr"
    assert predict(f"{bucket}/in.zarr", tmp_path / "b.tif", resume=True).resumed == TILES
    io.write_stack(volume, io.open_stack(volume).read() // 2, overwrite=True)
    upload(volume, f"{bucket}/in.zarr")
    with pytest.raises(ResumeError, match="input"):
        predict(f"{bucket}/in.zarr", tmp_path / "b.tif", resume=True)


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "uint8", "multiscale": True}, {"output": "segments"}]
)
def test_a_map_in_a_bucket_has_the_objects_of_the_files_in_a_folder(
    bucket, volume, tmp_path, options, monkeypatch
):
    from sfseg.io.zarr import writer

    monkeypatch.setattr(writer, "_SMALLEST_PX", 32)
    predict(volume, tmp_path / "map.zarr", **options)
    predict(volume, f"{bucket}/map.zarr", **options)
    found = contents(bucket)
    record = json.loads(found.pop("map.zarr.json"))
    files = [file for file in (tmp_path / "map.zarr").rglob("*") if file.is_file()]
    assert found == {
        file.relative_to(tmp_path).as_posix(): file.read_bytes() for file in files
    }  # and nothing else: no lock, no manifest
    theirs = zarr.open(zarr.storage.ObjectStore(open_bucket(f"{bucket}/map.zarr")), mode="r")["0"]
    assert np.array_equal(theirs[...], io.open_stack(tmp_path / "map.zarr").read())
    assert record["pieces"] == TILES
    assert predict(volume, f"{bucket}/map.zarr", resume=True, **options).resumed == TILES
    open_bucket(bucket).put("map.zarr/0/c/0/0/0", b"changed")
    with pytest.raises(ResumeError, match="has changed"):
        predict(volume, f"{bucket}/map.zarr", resume=True, **options)


def test_an_output_that_is_not_whole_is_no_store_and_is_resumed(bucket, volume):
    predict(volume, f"{bucket}/whole/map.zarr")
    with pytest.raises(KeyboardInterrupt):
        predict(volume, f"{bucket}/map.zarr", report=stop_after(5))
    with pytest.raises(StackError, match="there is no Zarr array or group"):
        io.open_stack(f"{bucket}/map.zarr")
    assert not [key for key in keys(bucket) if key.endswith("lock")]
    with pytest.raises(ResumeError, match="other input or options"):
        predict(volume, f"{bucket}/map.zarr", resume=True, tta="flips")
    assert 0 < predict(volume, f"{bucket}/map.zarr", resume=True).resumed < TILES
    ours, whole = contents(f"{bucket}/map.zarr"), contents(f"{bucket}/whole/map.zarr")
    assert ours == whole
    assert not [key for key in keys(bucket) if ".part" in key]


_KILLED = """
import sys
import numpy as np
from sfseg import io
from sfseg.prediction.resumable import open_resumable
from sfseg.system.remote import as_location

path = as_location(sys.argv[1])
with open_resumable(path, {"input": 1}) as work:
    canvas = io.create_canvas(work.part, str(path), (3, 40, 40), "uint8")
    for section in range(2):
        canvas.put(section, slice(0, 40), slice(0, 40), np.full((40, 40), section + 1, np.uint8))
        work.mark(section, {})
        work.sync()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_was_killed_leaves_a_lock_that_runs_out(bucket):
    path = as_location(f"{bucket}/map.zarr")
    with started("-c", _KILLED, path, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait()
    assert "map.zarr.part.lock" in keys(bucket)
    with contextlib.ExitStack() as stack:
        with pytest.warns(SfsegWarning, match="waiting 3 s"):
            work = stack.enter_context(open_resumable(path, {"input": 1}, resume=True))
        assert set(work.finished) == {0, 1}
        canvas = io.reopen_canvas(work.part, str(path), (3, 40, 40), "uint8")
        canvas.put(2, slice(0, 40), slice(0, 40), np.full((40, 40), 3, np.uint8))
    pixels = io.open_stack(path).read()
    assert [np.unique(section).tolist() for section in pixels] == [[1], [2], [3]]
    assert not [key for key in keys(bucket) if ".part" in key]


def test_a_second_run_is_refused_while_the_first_is_there(bucket, volume):
    refused = []

    def second(record):
        if record.done == 3:
            with pytest.raises(OutputExistsError, match="another run is writing") as error:
                predict(volume, f"{bucket}/map.zarr", resume=True)
            refused.append(error)

    with pytest.warns(SfsegWarning, match="is the lock of another run"):
        predict(volume, f"{bucket}/map.zarr", report=second)
    assert len(refused) == 1
    assert io.open_stack(f"{bucket}/map.zarr").shape == (2, 90, 90)


def test_a_run_that_lost_its_output_to_another_stops(bucket, volume):
    def other(record):
        if record.done == 3:
            number = len(keys(f"{bucket}/map.zarr.part.manifest"))
            for ahead in range(3):  # one of them is the next
                open_bucket(bucket).put(
                    f"map.zarr.part.manifest/{number + ahead:08d}", b'{"whole": 1}\n'
                )

    with pytest.raises(OutputExistsError, match="another run has taken over"):
        predict(volume, f"{bucket}/map.zarr", report=other)
    with pytest.raises(StackError, match="there is no Zarr"):
        io.open_stack(f"{bucket}/map.zarr")


def test_what_is_there_is_replaced_only_on_demand_and_only_if_it_is_a_store(bucket, volume):
    open_bucket(bucket).put("other.zarr/thesis.txt", b"a")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="no Zarr store"):
            predict(volume, f"{bucket}/other.zarr", overwrite=overwrite)
    open_bucket(bucket).put("map.zarr/stale/c/0", b"a")
    open_bucket(bucket).put("map.zarr/zarr.json", b"{}")
    with pytest.raises(OutputExistsError, match="exists already"):
        predict(volume, f"{bucket}/map.zarr")
    predict(volume, f"{bucket}/map.zarr", overwrite=True)
    assert not [key for key in keys(bucket) if "stale" in key]
    with pytest.raises(OutputExistsError, match="this would overwrite"):
        predict(f"{bucket}/map.zarr", f"{bucket}/map.zarr", overwrite=True)


def test_addresses_that_cannot_be_written_to_are_refused(bucket, volume, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output, message in {
        f"{bucket}/map.tif": "only a Zarr store",
        bucket + "/folder": "only a Zarr store",
        "https://example.org/map.zarr": "only to s3://",
        "gs://bucket/map.zarr": "only to s3://",
    }.items():
        with pytest.raises(OutputError, match=message):
            predict(volume, output)
    with pytest.raises(StackError, match="there is no bucket"):
        predict(volume, "s3://no-such-bucket/map.zarr")
    with pytest.raises(OptionError, match="not in a bucket"):
        predict_file(volume, f"{bucket}/map.zarr", sections="1-1")
    with pytest.raises(OptionError, match="--planes"):
        predict(volume, f"{bucket}/map.zarr", planes=True)
    with pytest.raises(OSError, match="cannot be written to an address"):
        as_location(f"{bucket}/folder").mkdir(parents=True, exist_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


@pytest.mark.parametrize("name", ["a.zarr", "s3"])
def test_tiles_are_kept_when_the_network_fails(name, tmp_path, request):
    path = tmp_path / name
    if name == "s3":
        path = as_location(f"{request.getfixturevalue('bucket')}/a.zarr")
    with contextlib.suppress(RemoteError), open_resumable(path, {"input": 1}) as work:
        io.create_canvas(work.part, str(path), (1, 9, 9), "uint8")
        work.mark(0, {"blank": 0})
        raise RemoteError("s3://bucket: no answer")
    assert work.can_resume


def test_the_secret_key_is_in_no_output_record_or_message(bucket, volume, tmp_path, monkeypatch):
    upload(volume, f"{bucket}/in.zarr")
    predict(f"{bucket}/in.zarr", tmp_path / "a.zarr")
    with pytest.raises(KeyboardInterrupt):
        predict(volume, f"{bucket}/b.zarr", report=stop_after(5))
    written = list(contents(bucket).values())
    written += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    commands = [
        ["predict", f"{bucket}/none.zarr", "-o", str(tmp_path / "c.zarr"), "--json"],
        ["predict", f"s3://AKIA:{SECRET}@bucket/a.zarr", "-o", str(tmp_path / "c.zarr")],
        ["predict", str(volume), "-o", f"s3://AKIA:{SECRET}@bucket/a.zarr"],
        ["view", f"https://example.org/a.zarr?X-Amz-Signature={SECRET}"],
        ["score", str(volume), "s3://no-such-bucket/a.zarr"],
        ["measure", f"{bucket}/in.zarr", "-o", f"{bucket}/a.csv"],
    ]
    for setting in (None, "AWS_SKIP_SIGNATURE", "AWS_ENDPOINT_URL"):
        if setting:
            monkeypatch.setenv(setting, "true" if "SKIP" in setting else "http://127.0.0.1:9")
        for command in commands if setting is None else commands[:1]:
            result = CliRunner().invoke(cli.app, command)
            assert result.exit_code in (1, 2)
            assert "error: " in result.stderr
            written += [result.stdout_bytes, result.stderr_bytes]
    assert not [data for data in written if SECRET.encode() in data]
