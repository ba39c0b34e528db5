"""Kill a worker, the command or the scheduler of a prediction on Dask, then add --resume.

The result must be the bytes of one process, with nothing beside it. Every second time, the run is
resumed without the cluster.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import distributed  # noqa: F401 - what each child would import
import numpy as np

import sfseg.cluster.predict
from sfseg.cluster import blocks
from tests.trust.children import Child, Ended, content, names, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

SHAPE = (6, 200, 200)
NAME = "map.zarr"
OPTIONS = ("--dtype", "uint8", "--multiscale", "--resume")
VICTIMS = ("worker", "command", "scheduler")
WORKERS = 2
BLOCK_PX = 2**14
STARTS_S = 600
"""A process that has not started in this time hangs."""


class Machines:
    """A scheduler and workers that are started again when they are gone."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def repair(self) -> str:
        """Start what is missing; return the address of the scheduler."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self.stop()  # the workers of a scheduler end with it
            place = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", self._file)
            self._scheduler = _start("scheduler", *place)
            _wait(self._file.exists)
        address = str(json.loads(self._file.read_text())["address"])
        self.workers = [each for each in self.workers if each.poll() is None]
        while len(self.workers) < WORKERS:
            preload = ("--preload", "tests.cluster.small_workers")
            self.workers.append(
                _start("worker", address, "--no-nanny", "--nthreads", "1", *preload)
            )
        return address

    def kill(self, victim: str, rng: np.random.Generator) -> None:
        """Kill a worker or the scheduler."""
        process = self._scheduler if victim == "scheduler" else self.workers[rng.integers(WORKERS)]
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Kill all."""
        for process in [self._scheduler, *self.workers]:
            if process is not None:
                process.kill()
                process.wait()
        self._file.unlink(missing_ok=True)
        self._scheduler, self.workers = None, []


def _start(program: str, *arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard"]
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *map(str, arguments)], **nowhere)


def _wait(event) -> None:
    began = time.monotonic()
    while not event():
        if time.monotonic() - began > STARTS_S:
            raise TimeoutError(event)
        time.sleep(0.05)


class Prediction:
    """The command on a stack, with the cluster and without."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        ended = self.start(folder / "whole").end()
        if ended.code:
            raise RuntimeError(ended.stderr)
        self._whole = content(folder / "whole" / NAME)

    def start(self, place: Path, *own: object) -> Child:
        """Start the command."""
        command = self.world.predict(place / NAME, *OPTIONS, *own)
        return sfseg(*command, before=[self.world.enter, _cut_small])

    def difference(self, place: Path, ended: Ended) -> str:
        """Say what is not as in the prediction that was left alone; empty if nothing is."""
        if ended.code:
            return ended.stderr
        if names(place) != {NAME, f"{NAME}.json"}:
            return f"left behind: {sorted(names(place))}"
        found = content(place / NAME)
        wrong = [key for key in found | self._whole if found.get(key) != self._whole.get(key)]
        return f"other bytes: {wrong}" if wrong else ""


def _cut_small() -> None:
    """Let the small sections be several blocks."""
    blocks.BLOCK_PX = BLOCK_PX


def try_case(
    prediction: Prediction,
    machines: Machines,
    place: Path,
    rng: np.random.Generator,
    longest_s: float,
) -> tuple[str, bool, str]:
    """Kill something and resume; return the victim, whether half was done, what is wrong."""
    victim = str(rng.choice(VICTIMS))
    child = prediction.start(place, "--dask", machines.repair())
    time.sleep(rng.uniform(0, longest_s))
    if victim == "command":
        os.kill(child.pid, signal.SIGKILL)
    else:
        machines.kill(victim, rng)
    ended = child.end()
    half_done = (place / f"{NAME}.part").exists() or (victim == "worker" and not ended.code)
    if victim == "worker" and ended.code:
        return victim, half_done, ended.stderr
    own = ("--dask", machines.repair()) if rng.integers(2) else ()
    return victim, half_done, prediction.difference(place, prediction.start(place, *own).end())


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[Machines]:
    machines = Machines(folder)
    try:
        yield machines
    finally:
        machines.stop()


def run(count: int, seed: int) -> Row:
    """Try so many cases."""
    failures, hits = [], dict.fromkeys(VICTIMS, 0)
    with tempfile.TemporaryDirectory() as name, _cluster(Path(name)) as machines:
        folder = Path(name)
        prediction = Prediction(World(folder / "world", SHAPE), folder)
        longest_s = 0.0
        for _ in range(2):  # the first time, the workers import what they need
            began, place = time.monotonic(), Path(tempfile.mkdtemp(dir=folder))
            ended = prediction.start(place, "--dask", machines.repair()).end()
            longest_s = time.monotonic() - began
            if wrong := prediction.difference(place, ended):
                return Row("prediction on Dask", 0, count, "", [wrong])
        for case in range(count):
            rng, place = np.random.default_rng([seed, case]), Path(tempfile.mkdtemp(dir=folder))
            victim, half_done, wrong = try_case(prediction, machines, place, rng, longest_s)
            hits[victim] += half_done
            if wrong:
                failures.append(f"seed {seed}, case {case}, {victim} killed: {wrong[-900:]}")
            shutil.rmtree(place)
    notes = ", ".join(f"{number} times a {victim} in the middle" for victim, number in hits.items())
    what = "prediction on Dask, a process killed at a random moment, then --resume: the same bytes"
    return Row(what, count - len(failures), count, notes, failures)
