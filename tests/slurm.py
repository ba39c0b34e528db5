"""Stands for SLURM: `sbatch` runs jobs on this machine, and again if they are requeued.

A test puts the programs into a folder of the PATH, see `install`; the folder keeps what they did.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.forks import command
from tests.processes import HANGS_S

ROOT = Path(__file__).parents[1]
FOLDER, FOREGROUND = "FAKE_SLURM", "FAKE_SLURM_WAITS"


def install(folder: Path, *, waits: bool) -> dict[str, str]:
    """Write the programs, and return the environment in which a shell finds them.

    Parameters
    ----------
    folder : Path
        The folder to make.
    waits : bool
        Whether `sbatch` runs all tasks before it ends; else it starts a job and leaves it alone.
    """
    folder.mkdir()
    programs = {
        name: f"#!{sys.executable}\nfrom tests import slurm\nslurm.{name}()\n"
        for name in ("sbatch", "scancel", "scontrol", "sfseg")
    }
    for name, text in (programs | {"python3": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(ROOT), FOLDER: str(folder)}
    return {**os.environ, **settings, **({FOREGROUND: "1"} if waits else {})}


def jobs(folder: Path) -> list[list[str]]:
    """Return the arguments of each call of `sbatch`, in order."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("job-*"))]


def sbatch() -> None:
    """Be `sbatch`: run the tasks at the same time, wait for them, and print the number."""
    folder, arguments = Path(os.environ[FOLDER]), sys.argv[1:]
    number = 100 + len(jobs(folder))
    (folder / f"job-{number}").write_text(json.dumps(arguments))
    at = next(i for i, each in enumerate(arguments) if not each.startswith("-"))
    ranges = (re.fullmatch(r"--array=(\d+)-(\d+)", each) for each in arguments[:at])
    array = next(filter(None, ranges), None)
    if FOREGROUND not in os.environ:
        start(folder, number, arguments[at:])
        return
    tasks = range(int(array[1]), int(array[2]) + 1) if array else [None]
    with ThreadPoolExecutor(len(tasks)) as pool:
        for task in tasks:
            pool.submit(run_task, folder, number, task, arguments[at:])
    sys.stdout.write(f"{number}\n")


def start(folder: Path, number: int, command: list[str]) -> None:
    """Start a job in a session of its own, and print its number."""
    with (folder / f"log-{number}").open("w") as log:
        child = subprocess.Popen(
            ["bash", *command], stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
    (folder / f"pid-{number}").write_text(str(child.pid))
    sys.stdout.write(f"Submitted batch job {number}\n")


def scancel() -> None:
    """Be `scancel`: end all processes of a job."""
    pid = int((Path(os.environ[FOLDER]) / f"pid-{sys.argv[1]}").read_text())
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)


def run_task(folder: Path, number: int, task: int | None, command: list[str]) -> None:
    """Run a task, again and again as long as it is requeued or was preempted."""
    name = f"{number}" if task is None else f"{number}_{task}"
    variables = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task)}
    for restarts in range(10):
        numbers = {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_RESTART_COUNT": str(restarts)}
        with (folder / f"log-{name}").open("a") as log:
            environment = os.environ | numbers | variables
            bash = ["bash", *command]
            ended = subprocess.run(bash, check=False, stdout=log, stderr=log, env=environment)
        (folder / f"code-{name}").write_text(f"{ended.returncode}")
        requeued = folder / f"requeue-{name}"
        if not requeued.exists() and ended.returncode != 128 + signal.SIGTERM:
            return
        requeued.unlink(missing_ok=True)


def scontrol() -> None:
    """Be ``scontrol requeue JOB_TASK``."""
    _, what, name = sys.argv
    assert what == "requeue"
    (Path(os.environ[FOLDER]) / f"requeue-{name}").touch()


def sfseg() -> None:
    """Be `sfseg`, of an array with the small network.

    Its task 1 meets its time limit, then a preemption.
    """
    from sfseg.prediction import compute, run
    from tests.cli.children import small_command

    if FOREGROUND not in os.environ:
        command(*sys.argv[1:])
        return
    stops = [(3, signal.SIGUSR1), (2, signal.SIGTERM)]  # after so many tiles
    restarts = int(os.environ["SLURM_RESTART_COUNT"])
    if os.environ.get("SLURM_ARRAY_TASK_ID") == "1" and restarts < len(stops):
        after, number = stops[restarts]
        put, pieces = compute.WriteBehind.put, []

        def put_or_stop(self: compute.WriteBehind, item: object) -> None:
            put(self, item)
            pieces.append(item)
            if len(pieces) == after:
                os.kill(os.getppid(), number)  # the shell of the task; it stops this process
                time.sleep(HANGS_S)

        run.FLUSH_S, compute.WriteBehind.put = 0, put_or_stop
    small_command(*sys.argv[1:])
