"""The example for SLURM, with programs that stand for it."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfseg.io import hash_input, write_stack
from tests import slurm
from tests.cli.commands import FAST, sfseg

EXAMPLE = Path(__file__).parents[1] / "examples" / "slurm"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.usefixtures("small_shipped")
def test_an_array_job_with_a_time_limit_and_a_preemption_makes_the_bytes_of_one_run(
    tmp_path, small_weights
):
    pytest.importorskip("zarr")
    from sfseg.datasets.synthetic import make_tissue

    write_stack(tmp_path / "big.zarr", make_tissue((15, 64, 70), seed=3)[0])
    options = ("--dtype", "uint8", *FAST, "--model", small_weights)
    environment = slurm.install(tmp_path / "slurm", waits=True)
    command = [EXAMPLE / "submit.sh", "big.zarr", "parts/map.zarr", "8", *options]
    ran = subprocess.run(
        command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.stdout.startswith("parts: job 100, 2 tasks; output: job 101;")
    logs = {path.name: path.read_text() for path in (tmp_path / "slurm").glob("log-*")}
    assert [line[0] for line in codes(tmp_path)] == ["0", "0", "0"], logs
    assert logs["log-100_1"].count("finished tiles are kept") == 2
    continued = [int(n) for n in re.findall(r"continuing after (\d) of 7 tiles", logs["log-100_1"])]
    assert len(continued) == 2
    assert 0 < continued[0] < continued[1] < 7
    assert "sections 1-8: done in" in logs["log-100_0"]
    array, finish = slurm.jobs(tmp_path / "slurm")
    assert "--array=0-1" in array
    assert "--dependency=afterany:100" in finish
    whole = tmp_path / "one" / "map.zarr"
    assert sfseg("predict", tmp_path / "big.zarr", "-o", whole, *options).exit_code == 0
    made = tmp_path / "parts" / "map.zarr"
    assert hash_input(made) == hash_input(whole)
    parts = json.loads((tmp_path / "parts" / "map.zarr.json").read_text())["parts"]
    assert [part["sections"] for part in parts] == ["1-8", "9-15"]
    assert not list(made.parent.glob("*.parts"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_workers_that_slurm_starts_for_dask_make_the_bytes_of_one_run(tmp_path):
    for package in ("zarr", "distributed", "dask_jobqueue"):
        # Not imported: dask_jobqueue takes Ctrl-C from the process that imports it.
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    from sfseg.datasets.synthetic import make_tissue

    write_stack(tmp_path / "big.zarr", make_tissue((2, 64, 70), seed=3)[0])
    environment = slurm.install(tmp_path / "slurm", waits=False) | {"WORKERS": "1"}
    command = [sys.executable, EXAMPLE / "dask_cluster.py", "big.zarr", "made/map.zarr", *FAST]
    ran = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    whole = tmp_path / "one" / "map.zarr"
    # In a process of its own, too: other tests of this file give this one a small network.
    one = [sys.executable, "-m", "sfseg", "predict", "big.zarr", "-o", whole, *FAST]
    subprocess.run(one, check=True, cwd=tmp_path, capture_output=True)
    assert hash_input(tmp_path / "made" / "map.zarr") == hash_input(whole)
    assert slurm.jobs(tmp_path / "slurm")


def codes(folder):
    """Give the exit codes of all tasks."""
    return [path.read_text() for path in sorted((folder / "slurm").glob("code-*"))]
