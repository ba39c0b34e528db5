"""Machines that people have: disks of clusters, limits of containers, closed or odd streams."""

import os
from pathlib import Path

import pytest

from tests.cli.commands import FAST, TINY
from tests.processes import end, started

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
