"""Kill a training at random moments, resume it, and compare with one that was left alone.

The full count, which takes some minutes; `test_resume.py` samples it::

    python -m tests.kills --kills 50
    python -m tests.kills --kills 20 --signal TERM
    python -m tests.kills --kills 5 --signal TERM -- --arch fusionnet --recipe thesis --epochs 1

With TERM it also tells how long the training took to save its state and end. What follows ``--``
goes to `sfseg train`. One process imports torch and forks a child for each run, with one thread.
"""

import argparse
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors import safe_open

from sfseg import cli, train
from sfseg.checkpoints import WEIGHTS_NAME, read_tensors
from sfseg.io import write_stack
from sfseg.tissue import make_tissue
from sfseg.trainer import STATE

SMALL = ("--sections", "1-2", "--epochs", "3", "--patch", "32", "--batch-size", "2")
HARD = ("--precision", "float32", "--device", "cpu", "--save-every", "0")


@dataclass
class Tally:
    """What happened.

    Attributes
    ----------
    kills : int
        Runs that a signal ended.
    half_written : int
        Those that left a file half written.
    seconds : list of float
        From the signal to the end of each.
    steps : list of int
        The step that the state was of, after each; -1 = there was none yet.
    trainings, identical : int
        Trainings that came to their end, and those that ended like the one left alone.
    wrong : list of str
        What was not as it should be.
    """

    kills: int = 0
    half_written: int = 0
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    trainings: int = 0
    identical: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        times = sorted(self.seconds) or [0.0]
        return (
            f"{self.kills} kills, the states of steps {sorted(self.steps)}, {self.half_written} "
            f"in the midst of writing; {self.identical} of {self.trainings} trainings identical; "
            f"from signal to end {median(times):.2f} s, at most {times[-1]:.2f} s"
            + "".join(f"\nwrong: {line}" for line in self.wrong)
        )


def start(arguments: Sequence[str], log: Path) -> tuple[int, int]:
    """Fork a child that runs `sfseg train` and saves as often as it can.

    Returns
    -------
    child, began : int
        Its number, and a pipe that can be read from when its first step begins or it ends.
    """
    began, begin = os.pipe()
    child = os.fork()
    if child:
        os.close(begin)
        return child, began
    train.run = functools.partial(tell_and_run, train.run, begin)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    train.SAVING_SHARE = 1e9  # after every step
    sys.argv = ["sfseg", "train", *arguments]
    try:
        cli.main()
    except SystemExit as error:
        sys.stderr.flush()
        os._exit(int(error.code or 0))
    os._exit(1)


def tell_and_run(run: Callable[..., None], begin: int, *arguments: object) -> None:
    """Say that the first step begins, and go on."""
    os.write(begin, b".")
    run(*arguments)


def end(child: int) -> int:
    """Wait for a child; gives its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def saved_step(out: Path) -> int:
    """Read of which step the state is; -1 = there is none."""
    if not (out / STATE).exists():
        return -1
    with safe_open(out / STATE, framework="pt") as file:
        return int(json.loads(file.metadata()["sfseg"])["progress"]["step"])


def differences(whole: Path, out: Path) -> list[str]:
    """Name all in which a training's end differs from the other's, the clock aside."""
    expected, facts = read_tensors(whole / STATE)
    found, ours = read_tensors(out / STATE)
    wrong = [name for name in expected | found if not _equal(expected, found, name)]
    losses = [[r["loss"] for r in f["progress"]["history"]] for f in (facts, ours)]
    wrong += ["history"] * (losses[0] != losses[1])
    weights = [(folder / WEIGHTS_NAME).read_bytes() for folder in (whole, out)]
    wrong += [WEIGHTS_NAME] * (weights[0] != weights[1])
    names = [sorted(path.name for path in folder.iterdir()) for folder in (whole, out)]
    return wrong + [f"files {names[1]}"] * (names[0] != names[1])


def _equal(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor], name: str) -> bool:
    return name in expected and name in found and torch.equal(expected[name], found[name])


def kill_often(
    folder: Path, kills: int, number: signal.Signals, own: Sequence[str], seed: int
) -> Tally:
    """Train again and again in a folder, with so many kills in all."""
    for name, stack in zip(("volume", "labels"), make_tissue((3, 64, 64), seed=3), strict=True):
        write_stack(folder / f"{name}.tif", stack, stack.shape, stack.dtype)
    data = ("--images", str(folder / "volume.tif"), "--labels", str(folder / "labels.tif"))
    command = [*data, *HARD, *own]
    whole, out, log = folder / "whole", folder / "killed", folder / "log"
    child, began = start([*command, "--out", str(whole)], log)
    os.read(began, 1)
    started = time.monotonic()
    if code := end(child):
        return Tally(wrong=[f"exit code {code} of the training left alone"])
    longest, rng, tally = time.monotonic() - started, np.random.default_rng(seed), Tally()
    while (tally.kills < kills or saved_step(out) >= 0) and not tally.wrong:
        resume = ["--resume"] * (saved_step(out) >= 0)
        child, began = start([*command, "--out", str(out), *resume], log)
        if rng.random() > 0.1:  # else in the second in which it imports and reads
            os.read(began, 1)
        os.close(began)
        code = kill(child, number, rng.uniform(0, longest) if tally.kills < kills else None, tally)
        if code == 0:
            longest *= 0.8  # so that half are killed, whatever else the machine is doing
            tally.trainings += 1
            wrong = differences(whole, out)
            tally.identical += not wrong
            tally.wrong += wrong
            shutil.rmtree(out)
        elif code in (-signal.SIGKILL, 128 + number):
            longest *= 1.2
            tally.kills += 1
            tally.half_written += bool(list(out.glob("*.part")))
            tally.steps.append(saved_step(out))
        else:
            tally.wrong.append(f"exit code {code}")
    return tally


def kill(child: int, number: signal.Signals, delay_s: float | None, tally: Tally) -> int:
    """Let a child run for a while, or to its end, and signal it; gives its exit code."""
    if delay_s is None:
        return end(child)
    time.sleep(delay_s)
    os.kill(child, number)
    signalled = time.monotonic()
    code = end(child)
    if code:
        tally.seconds.append(time.monotonic() - signalled)
    return code


def main() -> int:
    """Parse the command line, kill, and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("own", nargs="*", help="for sfseg train")
    asked = parser.parse_args()
    number = signal.Signals[f"SIG{asked.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_often(Path(folder), asked.kills, number, asked.own or SMALL, asked.seed)
        sys.stdout.write(f"{tally}\n")
        if tally.wrong:
            sys.stdout.write((Path(folder) / "log").read_text())
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
