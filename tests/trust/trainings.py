"""Stop trainings at random moments, up to three times each, resume them, and compare.

What they end in must be the weights and the state, bit for bit, of a training that was left alone.
Most are of a network of a thousand weights, which saves after each of its quick steps; every fifth
is of sfnet.
"""

import functools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import torch
from safetensors import safe_open

from sfseg.models.safetensors_file import read_tensors
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.training.run_folder import STATE
from sfseg.training.trainer import Trainer
from tests.trust.children import Child, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

ARCHS = ("small",) * 4 + ("sfnet",)
MOST_STOPS = 3
MOST_MISSES = 20
"""Signals that come too late, one after the other, before one has to stop a training."""

WITHIN_S = 10
"""So soon a cluster kills after SIGTERM."""


@dataclass
class Tally:
    """What happened.

    Attributes
    ----------
    seconds : list of float
        From each signal to the end of the process.
    steps : list of int
        The step that the state was of, after each; -1 = there was none yet.
    half_written : int
        Stops that left a file half written.
    """

    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    half_written: int = 0

    def __str__(self) -> str:
        if not self.seconds:
            return "no stops"
        return (
            f"{len(self.seconds)} stops, {sum(step > 0 for step in self.steps)} after the first "
            f"step, {self.half_written} in the midst of writing; from signal to end "
            f"{median(self.seconds):.2f} s, at most {max(self.seconds):.2f} s"
        )


class Training:
    """One kind of training, done once without a stop.

    Parameters
    ----------
    world : World
        What is trained on.
    folder : Path
        Of its own.
    own : sequence of str
        Options of the command, that come last.
    """

    def __init__(self, world: World, folder: Path, own: Sequence[str]) -> None:
        self.world, self.folder, self.own, self.whole = world, folder, own, folder / "whole"
        began = time.monotonic()
        ended = self._start(self.whole).end()
        self.longest_s = time.monotonic() - began
        if ended.code:
            raise RuntimeError(ended.stderr)

    def _start(self, out: Path, *before: Callable[[], object]) -> Child:
        resume = ["--resume"] * (out / STATE).exists()
        command = self.world.train(out, *self.own, *resume)
        return sfseg(*command, before=[self.world.enter, *before])

    def _stop(
        self, out: Path, number: signal.Signals, delay_s: float, tally: Tally
    ) -> tuple[bool, str]:
        """Let it run for a while, and signal it; return whether that stopped it, and what is wrong.

        After SIGTERM all steps have to be saved that were done before it.
        """
        notes, done = out.with_name("steps"), max(0, saved_step(out))
        notes.write_bytes(b"")
        child = self._start(out, after_each_step(lambda: _append(notes)))
        if number != signal.SIGKILL:
            wait_until_caught(child.pid, number)
        time.sleep(delay_s)
        done += notes.stat().st_size
        os.kill(child.pid, number)
        signalled = time.monotonic()
        ended = child.end()
        took = time.monotonic() - signalled
        if not ended.code:
            return False, ""
        saved = saved_step(out)
        tally.seconds.append(took)
        tally.steps.append(saved)
        tally.half_written += any(out.glob("*.part*"))
        if number == signal.SIGKILL:
            wrong = ended.code != -number
        else:
            wrong = ended.code != 128 + number or max(0, saved) < done or took > WITHIN_S
        said = f"exit code {ended.code} after {took:.1f} s, step {saved} saved of {done} done"
        return True, f"{ended.stderr[-400:]}{said}" * wrong

    def try_case(self, rng: np.random.Generator, number: signal.Signals, tally: Tally) -> str:
        """Stop it one to three times, let it end, and say what is wrong; nothing if nothing is."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        wanted, stops, misses = int(rng.integers(1, MOST_STOPS + 1)), 0, 0
        while stops < wanted:
            stopped, wrong = self._stop(out, number, rng.uniform(0, self.longest_s), tally)
            if wrong:
                return wrong
            if stopped:
                stops += 1
                self.longest_s *= 1.05
            else:  # it was too quick: once more, if it was not stopped before
                self.longest_s *= 0.9
                misses += 1
                if stops:
                    break
                if misses == MOST_MISSES:
                    return f"exit code 0 after each of {misses} signals"
                shutil.rmtree(out)
        ended = self._start(out).end()
        wrong = ended.stderr if ended.code else ", ".join(differences(self.whole, out))
        shutil.rmtree(out.parent)
        return wrong


def after_each_step(call: Callable[[], object]) -> Callable[[], None]:
    """Give a function that lets a process call something whenever it has finished a step."""

    def patch() -> None:
        take_step = Trainer.take_step

        def take(*arguments: object) -> object:
            record = take_step(*arguments)
            call()
            return record

        mock.patch.object(Trainer, "take_step", take).start()

    return patch


def _append(path: Path) -> None:
    """Make a file a byte longer, by one call."""
    with path.open("ab", buffering=0) as file:
        file.write(b".")


def wait_until_caught(pid: int, number: signal.Signals) -> None:
    """Wait until a process has a handler for a signal, or has ended."""
    status, mask = Path(f"/proc/{pid}/status"), 1 << number - 1
    while True:
        said = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        if said["State"].startswith("Z") or int(said["SigCgt"], 16) & mask:
            return
        time.sleep(0.001)


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


def stop_and_resume(
    name: str, count: int, seed: int, number: signal.Signals, kinds: Sequence[Sequence[str]]
) -> Row:
    """Try so many cases with a signal; the kinds of training, told by options, take turns."""
    with tempfile.TemporaryDirectory() as folder:
        world, tally, failures = World(Path(folder) / "world"), Tally(), []
        make = functools.cache(lambda *own: Training(world, Path(folder) / own[-1], own))
        for case in range(count):
            training = make(*kinds[case % len(kinds)])
            wrong = training.try_case(np.random.default_rng([seed, case]), number, tally)
            failures += [f"seed {seed}, case {case}: {wrong[-600:]}"] * bool(wrong)
    return Row(name, count - len(failures), count, str(tally), failures)


def run(count: int, seed: int) -> Row:
    """Try so many trainings."""
    name = "training killed at random moments, then --resume: the same bits"
    kinds = [("--arch", arch) for arch in ARCHS]
    return stop_and_resume(name, count, seed, signal.SIGKILL, kinds)
