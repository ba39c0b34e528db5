"""What a person at a terminal sees while a command works."""

import os
import re
import select

import pytest

from tests.cli.children import small_command
from tests.cli.commands import FAST, TINY
from tests.forks import forked
from tests.processes import end


def on_a_terminal(*arguments, cwd):
    """Run a command whose stderr is a terminal; give what it shows there."""
    ours, theirs = os.openpty()
    shown = b""
    with forked(small_command, *arguments, cwd=cwd, stderr=os.ttyname(theirs)) as process:
        while select.select([ours], [], [], 0.05)[0] or process.poll() is None:
            if select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 4096)
        stdout, _ = end(process)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, shown
    return stdout, shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_how_training_and_prediction_go(tissue_files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", "run", *TINY)
    stdout, shown = on_a_terminal("train", *own, cwd=tissue_files)
    assert stdout == "run/weights.safetensors\n"
    assert re.search(r"epoch 1/1.* left", shown)
    assert re.search(r"loss [▁-█_.:=+*#-]+ \d\.\d{4}  lr \d\.\de-\d\d", shown)
    own = ("volume.tif", "-o", "out.tif", "--model", "run", *FAST)
    stdout, shown = on_a_terminal("predict", *own, cwd=tissue_files)
    assert stdout == "out.tif\n"
    assert re.search(r"volume\.tif [1-4]/4", shown)
    # Messages stand on lines of their own, not behind a bar.
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    assert any(line.startswith("volume.tif: 4 sections") for line in lines)
    assert any(line.startswith("out.tif: done in ") for line in lines)
    stdout, shown = on_a_terminal("score", "out.tif", "labels.tif", cwd=tissue_files)
    assert stdout.startswith("4 sections of 96x112\n")
    assert "scoring out.tif, 4 of 4 sections done" in shown
