"""Prediction on a Dask cluster: real worker processes that die, fail, hang, or are of yesterday."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("distributed")
pytest.importorskip("zarr")

from sfseg import __version__, cli, io
from sfseg.cluster import worker
from sfseg.cluster.blocks import missing_blocks, section_blocks
from sfseg.cluster.connect import connect
from sfseg.cluster.predict import ClusterModel
from sfseg.config import PredictConfig
from sfseg.errors import BlocksError, ClusterError, StackError
from sfseg.io.zarr import writer
from sfseg.prediction.jobs import make_jobs
from sfseg.prediction.model import Model
from sfseg.prediction.opening import open_as_said
from sfseg.prediction.predict import predict_files
from sfseg.prediction.tiles import section_tiles
from tests.cluster.small_workers import changed, silent, small_cluster
from tests.processes import HANGS_S, end, started, wait_until

FLOAT32 = {"device": "cpu", "precision": "float32"}
KINDS = {
    "float32": {},
    "uint8 with levels": {"dtype": "uint8", "multiscale": True},
    "binary in tiles": {"output": "binary", "tile_px": 32},
    "closed gaps": {"close_gaps": True},
}


@pytest.fixture(scope="module")
def processes():
    with small_cluster() as found:
        yield found


@pytest.fixture(autouse=True)
def _small(small_shipped, monkeypatch):  # noqa: ARG001 - the workers have the small network, too
    """Let small sections be several blocks of several files."""
    monkeypatch.setattr(writer, "_CHUNK_PX", 16)
    monkeypatch.setattr(writer, "_SHARD_BYTES", 2**10)
    monkeypatch.setattr(writer, "_SMALLEST_PX", 32)
    monkeypatch.setattr("sfseg.cluster.blocks.BLOCK_PX", 2**12)


def load(cluster, **options):
    """Load the network on the workers of a cluster; None: in this process."""
    config = PredictConfig(**FLOAT32, **options)
    return Model.load(config) if cluster is None else ClusterModel.load(cluster, config, say=silent)


def predict(cluster, source, out, report=silent, **options):
    """Predict a stack; return its result, or what failed."""
    config = PredictConfig(**FLOAT32, **options)
    jobs = make_jobs([str(source)], out, resume=config.resume)
    (result,) = predict_files(jobs, load(cluster, **options), config, report=report)
    return result


def hashed(cluster, source, out, report=silent, **options):
    """Predict a stack, and return the hash of the output, which lies there alone."""
    result = predict(cluster, source, out, report, **options)
    assert getattr(result, "error", None) is None
    assert {path.name for path in out.parent.iterdir()} == {out.name, f"{out.name}.json"}
    return io.hash_input(out)


@pytest.fixture
def expected(volume, tmp_path):
    """The hash of what one process predicts."""
    return hashed(None, volume, tmp_path / "expected" / "map.zarr")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "map.zarr"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_makes_the_bytes_of_one_machine(cluster, volume, tmp_path, kind):
    ours, theirs = (
        hashed(each, volume, tmp_path / name / "map.zarr", **KINDS[kind])
        for name, each in (("here", None), ("there", cluster))
    )
    assert ours == theirs


@pytest.mark.slow
def test_ctrl_c_of_a_terminal_ends_a_local_cluster_without_a_word_of_its_workers(volume, out):
    command = ["-m", "sfseg", "predict", volume, "-o", out, "--dask", "local", "--device", "cpu"]
    with started(*command, start_new_session=True) as process:
        wait_until(lambda: any(out.parent.glob("map.zarr.part*")), process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, said = end(process)
    assert process.returncode == 128 + signal.SIGINT, said
    assert said.splitlines()[-1].startswith("interrupted"), said
    assert "Traceback" not in said
    began = time.monotonic()
    while is_there(process.pid):
        assert time.monotonic() - began < HANGS_S
        time.sleep(0.05)


def is_there(group):
    """Tell whether a group of processes has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_input_that_was_replaced_is_read_again(cluster, volume, tissue, tmp_path):
    hashed(cluster, volume, tmp_path / "before" / "map.zarr")
    io.write_stack(volume, tissue[0][::-1], overwrite=True)
    ours, theirs = (
        hashed(each, volume, tmp_path / name / "map.zarr")
        for name, each in (("here", None), ("there", cluster))
    )
    assert ours == theirs


def test_each_block_is_whole_files_and_all_its_tiles():
    shape = (3, 96, 112)
    tiles = section_tiles(shape[1:], 16, limit_px=60 * 60, block_px=(64, 64))
    blocks = section_blocks(shape, tiles, (64, 64))
    found = list(missing_blocks(shape, blocks, finished=set(range(len(tiles))), threads=2))
    assert {block.sections for block in found} == {range(1, 2), range(2, 3)}
    numbers = [number for block in found for number in block.numbers(len(tiles))]
    assert numbers == list(range(len(tiles), 3 * len(tiles)))
    for block in blocks:
        for number in block.positions:
            for span, (start, stop) in zip(
                tiles[number].write, (block.rows, block.columns), strict=True
            ):
                assert start <= span.start < span.stop <= stop
    assert found[1].place(shape) == "section 2, rows 0 to 63, columns 64 to 111"


def test_small_sections_in_a_row_are_one_block():
    shape = (160, 8, 8)
    blocks = section_blocks(shape, section_tiles(shape[1:], 16), None)
    found = list(missing_blocks(shape, blocks, finished={0, 11}, threads=2))
    assert [block.sections for block in found[:4]] == [
        range(1, 6),
        range(6, 11),
        range(12, 17),
        range(17, 22),
    ]
    assert found[-1].place(shape) == "sections 158 to 160"


class Stop:
    """Do something once, when the first tile is finished."""

    def __init__(self, function):
        self._function, self.record = function, None

    def __call__(self, record):
        if record.done and self.record is None:
            self.record = record
            self._function()


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("first_is_here", [True, False])
def test_one_machine_and_a_cluster_resume_what_the_other_began(
    cluster, volume, out, expected, first_is_here
):
    places = [None, cluster] if first_is_here else [cluster, None]
    with pytest.raises(KeyboardInterrupt):
        predict(places[0], volume, out, Stop(interrupt))
    assert hashed(places[1], volume, out, resume=True) == expected
    assert json.loads(out.with_name("map.zarr.json").read_text())["resumed"] > 0


def test_a_worker_killed_in_the_middle_changes_nothing(cluster, volume, out, expected):
    (victim, *_) = cluster.client.run(os.getpid).values()
    assert hashed(cluster, volume, out, Stop(lambda: os.kill(victim, signal.SIGKILL))) == expected


def test_a_worker_that_hangs_changes_nothing(cluster, volume, out, expected, monkeypatch):
    monkeypatch.setattr("sfseg.cluster.feed.SLOW_S", 1)
    (victim, *_) = cluster.client.run(os.getpid).values()
    try:
        hang = Stop(lambda: os.kill(victim, signal.SIGSTOP))
        assert hashed(cluster, volume, out, hang) == expected
    finally:
        with contextlib.suppress(ProcessLookupError):  # Dask ends one that hangs for long
            os.kill(victim, signal.SIGCONT)


def limit_files(*, undo):
    """Let a process write no file, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if undo else 0, hard))


def test_what_a_worker_with_a_full_disk_cannot_write_another_one_writes(
    cluster, volume, out, expected
):
    (full, *others) = cluster.threads()
    assert others
    with changed(cluster, limit_files, workers=[full]):
        assert hashed(cluster, volume, out) == expected


def hide_input(*, undo):
    """Let a worker not see the input."""

    def hidden(source, _config):
        raise StackError(f"{source}: there is no such file")

    worker.open_as_said = open_as_said if undo else hidden


def test_a_worker_that_does_not_see_the_input_is_named(cluster, volume, out):
    worker_names = "|".join(cluster.threads())
    with changed(cluster, hide_input):
        failure = predict(cluster, volume, out)
    message = rf"volume\.tif: there is no such file \(on the worker ({worker_names})\)"
    assert re.search(message, failure.error.message)
    assert "let each worker see the input" in failure.error.hint


def poison(section, *, undo):
    """Let a worker fail at the tiles of a section."""
    whole = worker.finish_tile
    if undo:
        worker.finish_tile = whole.__wrapped__
        return

    def finish(tile, *arguments, **options):
        if tile.section == section:
            raise ArithmeticError("poison")
        return whole(tile, *arguments, **options)

    finish.__wrapped__ = whole
    worker.finish_tile = finish


def test_a_poisoned_block_is_named_and_all_others_are_finished(cluster, volume, out, expected):
    with changed(cluster, poison, 1):
        failure = predict(cluster, volume, out)
    assert isinstance(failure.error, BlocksError)
    assert "section 2, rows 0 to 63, columns 0 to 63: ArithmeticError: poison" in str(failure.error)
    assert hashed(None, volume, out, resume=True) == expected
    record = json.loads(out.with_name("map.zarr.json").read_text())
    assert record["pieces"] - record["resumed"] == record["pieces"] // 4  # of four sections


def test_the_command_names_the_section_that_is_no_stack_of_numbers(cluster, tissue, tmp_path):
    pixels = tissue[0].astype("float32")
    pixels[2, 5, 6] = np.nan
    io.write_stack(tmp_path / "nan.tif", pixels)
    arguments = ["predict", tmp_path / "nan.tif", "-o", tmp_path / "map.zarr", "--device", "cpu"]
    arguments += ["--precision", "float32", "--dask", cluster.address]
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == 3
    assert "section 3, rows 0 to 63, columns 0 to 63: " in result.stderr
    assert "the pixel in row 5, column 6" in result.stderr
    assert "--resume" in result.stderr


HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def dask(program, *arguments, **options):
    """Start a program of distributed."""
    return started("-m", f"distributed.cli.dask_{program}", *arguments, "--no-dashboard", **options)


@contextlib.contextmanager
def scheduler(folder):
    """Start a scheduler; give its process and its address."""
    file = folder / "scheduler.json"
    with dask("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file) as process:
        wait_until(file.exists, process)
        yield process, json.loads(file.read_text())["address"]


def test_a_worker_of_another_version_is_refused(tmp_path):
    (tmp_path / "sfseg").mkdir()
    (tmp_path / "sfseg" / "__init__.py").write_text("__version__ = '0.0.9'\n")
    yesterday = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with (
        scheduler(tmp_path) as (_, address),
        dask("worker", address, "--no-nanny", env=yesterday, cwd=tmp_path),
        connect(address) as cluster,
        pytest.raises(ClusterError, match="has sfseg 0.0.9, but sfseg " + __version__),
    ):
        load(cluster)


def test_a_scheduler_that_ends_leaves_what_is_finished(volume, out, expected, tmp_path):
    with (
        scheduler(tmp_path) as (process, address),
        dask("worker", address, "--no-nanny", "--preload", "tests.cluster.small_workers", env=HERE),
        connect(address) as cluster,
    ):
        failure = predict(cluster, volume, out, Stop(process.kill))
    assert isinstance(failure.error, ClusterError)
    assert "the connection to the scheduler is lost" in str(failure.error)
    assert hashed(None, volume, out, resume=True) == expected


def test_that_all_workers_are_gone_is_said_while_the_network_loads(volume, tmp_path):
    said = []
    a_worker = ("--no-nanny", "--preload", "tests.cluster.small_workers")
    with (
        scheduler(tmp_path) as (process, address),
        connect(address) as cluster,
        io.open_stack(volume) as stack,
        ThreadPoolExecutor() as pool,
    ):
        with dask("worker", address, *a_worker, env=HERE):
            config = PredictConfig(**FLOAT32)
            model = ClusterModel.load(cluster, config, say=said.append)
        wait_until(lambda: not cluster.threads(), process)
        said.clear()
        resolved = pool.submit(model.resolve, stack, config)
        wait_until(lambda: f"{address} has no worker: waiting for one" in said, process)
        with dask("worker", address, *a_worker, env=HERE):
            assert resolved.result(HANGS_S)["device"] == "cpu"


def test_a_scheduler_that_is_not_there_is_said():
    with (
        pytest.raises(ClusterError, match="no Dask scheduler answers"),
        connect("tcp://127.0.0.1:1"),
    ):
        pass


def test_a_server_that_waits_for_a_request_is_no_scheduler(monkeypatch):
    monkeypatch.setattr("sfseg.cluster.connect.CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no Dask scheduler answers"), connect(address):
            pass
