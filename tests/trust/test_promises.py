"""Samples of the rows of `tests.trust`: hostile hosts and files, full disks, kills, crowds."""

import dataclasses
import importlib
import json
import sys

import pytest

from tests.forks import forked
from tests.processes import end

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


def print_row(name: str, count: int) -> None:
    """Run a row with seed 0, and write it to stdout as JSON."""
    row = importlib.import_module(f"tests.trust.{name}").run(count, 0)
    sys.stdout.write(json.dumps(dataclasses.asdict(row)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("name", SAMPLES)
def test_the_promise_holds_in_a_sample(name, tmp_path):
    """In a fork, for a row forks itself, which only a process of one thread may."""
    pytest.importorskip("zarr")
    with forked(print_row, name, SAMPLES[name], cwd=tmp_path) as process:
        printed, said = end(process)
    assert process.returncode == 0, said
    row = json.loads(printed)
    assert row["failures"] == []
    assert row["held"] == row["tried"] >= SAMPLES[name]
