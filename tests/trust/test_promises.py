"""Samples of the rows of `tests.trust`: hostile hosts and files, full disks, kills, crowds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = {
    "hosts": 4,
    "archives": 4,
    "weights": 4,
    "fetches": 4,
    "disks": 8,
    "crowds": 2,
    "predictions": 3,
    "trainings": 1,
    "signals": 1,
    "folders": 6,
}


@pytest.fixture(scope="module")
def server():
    """A process that runs rows; see `tests.trust.server`."""
    pytest.importorskip("zarr")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.trust.server"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("name", SAMPLES)
def test_the_promise_holds_in_a_sample(server, name):
    server.stdin.write(f"{name} {SAMPLES[name]}\n")
    server.stdin.flush()
    row = json.loads(server.stdout.readline())
    assert row["failures"] == []
    assert row["held"] == row["tried"] >= SAMPLES[name]
