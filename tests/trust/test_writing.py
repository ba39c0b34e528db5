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
row = importlib.import_module(f"tests.trust.{sys.argv[1]}").run(int(sys.argv[2]), 0)
print(json.dumps(dataclasses.asdict(row)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("name", SAMPLES)
def test_the_promise_holds_in_a_sample(name):
    pytest.importorskip("zarr")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, name, str(SAMPLES[name])],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["failures"] == []
    assert row["held"] == row["tried"] >= SAMPLES[name]
