"""Ctrl-C, SIGTERM and others: what is done is kept, and the command that continues is printed."""

import json
import os
import pty
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sfseg.io import write_stack
from sfseg.models.safetensors_file import read_tensors
from tests.cli.children import patient_command, signalled_command
from tests.cli.commands import FAST, fails, sfseg
from tests.forks import forked
from tests.processes import end, started, wait_until

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_training_with_a_state_to_resume_from(tissue_files, number, code):
    out = tissue_files / "run"
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", out)
    endless = ("--epochs", 100_000, "--sections", 1, "--validation", "none", "--patch", 32)
    with forked(patient_command, "train", *own, *endless, cwd=tissue_files) as process:
        wait_until((out / "history.csv").exists, process)
        process.send_signal(number)
        _, stderr = end(process)
    assert process.returncode == code, stderr
    assert "--resume" in stderr
    assert not list(out.glob("*.part"))
    _, saved = read_tensors(out / "state.safetensors")
    assert saved["progress"]["step"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("small_shipped")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_signal_stops_predict_and_finished_tiles_are_kept_for_resume(
    tissue_files, small_weights, number, code
):
    big = np.tile(tifffile.imread(tissue_files / "volume.tif")[:, :80, :80], (3, 1, 1))
    write_stack(tissue_files / "big.tif", big)
    command = ("predict", "big.tif", "-o", "out.tif", "--model", small_weights, *FAST)
    with forked(signalled_command, number, *command, cwd=tissue_files) as process:
        stdout, stderr = end(process)
    assert process.returncode == code, stderr
    assert stdout == ""
    assert (
        "out.tif: finished tiles are kept; to continue, add --resume to the same command" in stderr
    )
    assert "Traceback" not in stderr
    assert not (tissue_files / "out.tif").exists()
    assert "without --resume" in fails(
        *("predict", tissue_files / "big.tif", "-o", tissue_files / "out.tif", *FAST),
        *("--model", small_weights, "--resume", "--tta", "flips"),
    )
    result = sfseg(
        *("predict", tissue_files / "big.tif", "-o", tissue_files / "out.tif", *FAST),
        *("--model", small_weights, "--resume", "--json"),
    )
    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    assert 0 < facts["resumed"] < facts["pieces"] == 12
    assert f"continuing after {facts['resumed']} of 12 tiles" in result.stderr
    found = tifffile.imread(tissue_files / "out.tif")
    for copy in range(1, 3):  # each four sections are the same
        np.testing.assert_array_equal(found[4 * copy : 4 * copy + 4], found[:4])
    assert not list(tissue_files.glob("*.part*"))


IGNORING = """
import os, signal
from sfseg.cli import main
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
from sfseg.prediction import predict
real = predict.predict_job
def predict_job(*arguments, **options):
    os.kill(os.getpid(), signal.SIGHUP)
    return real(*arguments, **options)
predict.predict_job = predict_job
main()
"""


@pytest.mark.slow
def test_a_command_under_nohup_outlives_its_terminal(tissue_files):
    command = ("-c", IGNORING, "predict", "volume.tif", "-o", "out.tif", *FAST)
    with started(*command, cwd=tissue_files) as process:
        stdout, stderr = end(process)
    assert (process.returncode, stdout) == (0, "out.tif\n"), stderr


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_training_with_a_state_to_resume_from(tissue_files):
    """The process gets SIGHUP, and nothing can be written to its terminal any more."""
    out = tissue_files / "run"
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", out)
    endless = ("--epochs", 100_000, "--sections", 1, "--validation", "none", "--patch", 32)
    program = ("-m", "tests.small_sfseg", "train", *own, *endless)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tissue_files)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, *map(str, program)], environment)
    shown = b""
    while not (out / "history.csv").exists():
        shown += os.read(terminal, 4096)  # fails if the process has ended
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129, shown
    _, saved = read_tensors(out / "state.safetensors")
    assert saved["progress"]["step"] > 0
    assert not list(out.glob("*.part"))
