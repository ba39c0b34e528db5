"""Machines that people have: disks of clusters, limits of containers, closed or odd streams."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import FAST, TINY, sfseg
from tests.processes import HANGS_S, end, started

ROOT = Path(__file__).parents[2]


def run(command, *arguments, cwd, shim="", **environment):
    """Run a command in a process that first runs the code `shim`; give code, stdout, stderr."""
    folder = cwd / "shim"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(shim, encoding="utf-8")
    search = os.pathsep.join(map(str, (folder, ROOT)))
    env = os.environ | {"PYTHONPATH": search} | environment
    program = "tests.small_sfseg" if command == "train" else "sfseg"
    with started("-m", program, command, *arguments, cwd=cwd, env=env) as process:
        stdout, stderr = end(process)
    assert "Traceback" not in stderr
    return process.returncode, stdout, stderr


# --- disks of clusters

REFUSING = """
import errno, fcntl, os, stat
def flock(file, operation):
    raise OSError(errno.{flock}, os.strerror(errno.{flock}))
def fsync(descriptor, real=os.fsync):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.{fsync}, os.strerror(errno.{fsync}))
    real(descriptor)
fcntl.flock, os.fsync = flock, fsync
"""

OWN = ("--images", "volume.tif", "--labels", "labels.tif", *TINY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "flock", "fsync", "product"),
    [
        (
            ("predict", "volume.tif", "-o", "maps/map.tif", *FAST),
            "ENOSYS",
            "EINVAL",
            "maps/map.tif",
        ),
        (("train", *OWN, "--out", "run"), "ENOLCK", "EOPNOTSUPP", "run/weights.safetensors"),
        (("fetch", "tissue", "--data-dir", "data"), "EOPNOTSUPP", "EBADF", "data/tissue"),
    ],
)
def test_a_disk_without_locks_that_flushes_no_folders(tissue_files, command, flock, fsync, product):
    shim = REFUSING.format(flock=flock, fsync=fsync)
    code, stdout, stderr = run(*command, cwd=tissue_files, shim=shim)
    assert code == 0, stderr
    assert stdout == f"{product}\n"
    assert (tissue_files / product).exists()
    assert stderr.count("warning: the file system has no locks") == 1
    stray = [path for path in tissue_files.rglob("*") if {".lock", ".part"} & set(path.suffixes)]
    assert stray == []


# --- limits


def test_a_plan_that_needs_more_memory_than_there_is_is_told_before_the_work(volume, monkeypatch):
    monkeypatch.setattr("sfseg.prediction.plan.available_bytes", lambda _: 2**20)
    result = sfseg("predict", volume, "-o", volume.with_name("map.tif"), *FAST)
    assert result.exit_code == 0, result.output
    told = re.search(r"warning: this needs up to .* may be used: .*--tile 256", result.stderr)
    assert told
    assert told.start() < result.stderr.index("plan: ")


# --- streams


def piped(*arguments, cwd, redirect, **environment):
    """Run the command from a shell; give its exit code, stdout and stderr."""
    words = shlex.join([sys.executable, "-m", "sfseg", *map(str, arguments)])
    done = subprocess.run(
        ["bash", "-c", f"{words} {redirect}; exit ${{PIPESTATUS[0]}}"],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        timeout=HANGS_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirect", "code"),
    [
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("| true", 0),
        (">/dev/full", 1),
        ("2>/dev/full", 0),
    ],
)
def test_streams_that_nobody_reads_do_not_cost_the_work(tissue_files, redirect, code):
    found, _, stderr = piped(
        *("predict", "volume.tif", "-o", "map.tif", *FAST), cwd=tissue_files, redirect=redirect
    )
    assert found == code, stderr
    assert (tissue_files / "map.tif").exists()
    if code:
        assert "error: standard output: cannot be written: disk full" in stderr


@pytest.mark.parametrize("help_of", [["--help"], ["predict", "--help"]])
@pytest.mark.parametrize(("redirect", "code"), [("| true", 0), (">/dev/full", 1)])
def test_help_that_nobody_reads(tmp_path, help_of, redirect, code):
    found, _, stderr = piped(*help_of, cwd=tmp_path, redirect=redirect)
    assert found == code, stderr
    assert ("error: standard output: cannot be written: disk full" in stderr) == bool(code)


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_path_that_stdout_cannot_encode_still_leads_to_its_file(tissue_files, environment):
    name = "map \u2192 \u9078.tif"
    code, stdout, stderr = piped(
        *("predict", "volume.tif", "-o", name, *FAST),
        cwd=tissue_files,
        redirect="",
        **environment,
    )
    assert code == 0, stderr
    assert stdout == f"{name}\n".encode()
    assert (tissue_files / name).exists()
