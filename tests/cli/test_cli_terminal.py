"""What a person at a terminal sees while a command works."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

from tests.cli.commands import FAST, TINY


def on_a_terminal(*arguments, cwd):
    """Run a command whose stderr is a terminal of 80 columns; give what it shows there."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "sfseg", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the command ends
            while chunk := os.read(ours, 4096):
                shown += chunk
        stdout = process.communicate()[0].decode()
    os.close(ours)
    assert process.returncode == 0, shown
    return stdout, shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_how_training_and_prediction_go(tissue_files):
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", "run", *TINY)
    stdout, shown = on_a_terminal("train", *own, cwd=tissue_files)
    assert stdout == "run/weights.safetensors\n"
    assert re.search(r"epoch 1/1 loss \d\.\d{4} lr \d\.\de-\d\d.* left", shown)
    stdout, shown = on_a_terminal("predict", "volume.tif", "-o", "out.tif", *FAST, cwd=tissue_files)
    assert stdout == "out.tif\n"
    assert re.search(r"volume\.tif [1-4]/4", shown)
    # Messages stand on lines of their own, not behind a bar.
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    assert any(line.startswith("volume.tif: 4 sections") for line in lines)
    assert any(line.startswith("out.tif: done in ") for line in lines)
    stdout, shown = on_a_terminal("score", "out.tif", "labels.tif", cwd=tissue_files)
    assert stdout.startswith("4 sections of 96x112\n")
    assert "scoring out.tif, 4 of 4 sections done" in shown
