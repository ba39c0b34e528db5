"""Samples of the rows of `tests.trust` that write: full disks, kills, crowds, folders of work.

In a process of its own, that forks: this one may have threads.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = {"disks": 8, "crowds": 2, "predictions": 3, "trainings": 1, "signals": 1, "folders": 6}
CODE = """
import dataclasses, importlib, json, sys
for name, count in json.loads(sys.argv[1]).items():
    row = importlib.import_module(f"tests.trust.{name}").run(count, 0)
    print(json.dumps([name, dataclasses.asdict(row)]))
"""


@pytest.fixture(scope="module")
def rows():
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    pytest.importorskip("zarr")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, json.dumps(SAMPLES)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_the_promise_holds_in_a_sample(rows, name):
    row = rows[name]
    assert row["failures"] == []
    assert row["held"] == row["tried"] >= SAMPLES[name]
