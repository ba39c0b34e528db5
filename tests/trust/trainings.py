"""Stop trainings at moments drawn by a seed, up to three times each, resume them, and compare.

The result must be the weights and the state, bit for bit, of a training that was left alone.
Most are of a network of a thousand weights, which saves after each of its quick steps; every fifth
is of sfnet.
"""

import functools
import json
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
from sfseg.training.live_page import LivePage
from sfseg.training.run_folder import STATE
from sfseg.training.trainer import Trainer
from tests.trust.children import Child, sfseg
from tests.trust.moments import count_moments, signal_at
from tests.trust.rows import Row
from tests.trust.small import World

ARCHS = ("small",) * 4 + ("sfnet",)
MOST_STOPS = 3


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
    number : Signals
        Stops it: SIGKILL, or one that it handles.
    """

    def __init__(
        self, world: World, folder: Path, own: Sequence[str], number: signal.Signals
    ) -> None:
        self.world, self.folder, self.own, self.number = world, folder, own, number
        self.whole, count = folder / "whole", folder / "moments"
        ended = self._start(self.whole, count_moments(count, number)).end()
        if ended.code:
            raise RuntimeError(ended.stderr)
        self.moments = int(count.read_text())

    def _start(self, out: Path, *before: Callable[[], object]) -> Child:
        resume = ["--resume"] * (out / STATE).exists()
        command = self.world.train(out, *self.own, *resume)
        return sfseg(*command, before=[self.world.enter, write_page_at_news, *before])

    def _stop(self, out: Path, moment: int, tally: Tally) -> tuple[bool, str]:
        """Signal it at a moment; return whether that stopped it, and what is wrong.

        After SIGTERM all steps have to be saved that were done before it.
        """
        notes, at_signal = (out.with_name(name) for name in ("steps", "steps-at-signal"))
        done = max(0, saved_step(out))
        notes.write_bytes(b"")
        keep = functools.partial(shutil.copyfile, notes, at_signal)
        steps, stop = (
            after_each_step(lambda: _append(notes)),
            signal_at(moment, self.number, keep),
        )
        ended = self._start(out, steps, stop).end()
        if not ended.code:
            return False, ""
        done += at_signal.stat().st_size if at_signal.exists() else 0
        saved = saved_step(out)
        tally.steps.append(saved)
        tally.seconds.append(time.time() - at_signal.stat().st_mtime)
        tally.half_written += any(out.glob("*.part*"))
        if self.number == signal.SIGKILL:
            wrong = ended.code != -self.number
        else:
            wrong = ended.code != 128 + self.number or max(0, saved) < done
        said = f"exit code {ended.code}, step {saved} saved of {done} done"
        return True, f"{ended.stderr[-400:]}{said}" * wrong

    def try_case(self, rng: np.random.Generator, tally: Tally) -> str:
        """Stop it one to three times, let it end, and say what is wrong; nothing if nothing is."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        for _ in range(rng.integers(1, MOST_STOPS + 1)):
            stopped, wrong = self._stop(out, int(rng.integers(1, self.moments + 1)), tally)
            if wrong:
                return wrong
            if not stopped:  # less was left to do than up to that moment
                break
        ended = self._start(out).end()
        wrong = ended.stderr if ended.code else ", ".join(differences(self.whole, out))
        shutil.rmtree(out.parent)
        return wrong


def write_page_at_news() -> None:
    """Let a process write its page after each epoch only, so that its moments are the same."""

    def write(page: LivePage, *, is_news: bool) -> None:
        if is_news:
            page.write("running")

    mock.patch.object(LivePage, "write_if_due", write).start()


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
    """Try so many cases with a signal; the kinds of training take turns."""
    with tempfile.TemporaryDirectory() as folder:
        world, tally, failures = World(Path(folder) / "world"), Tally(), []
        make = functools.cache(lambda *own: Training(world, Path(folder) / own[-1], own, number))
        for case in range(count):
            wrong = make(*kinds[case % len(kinds)]).try_case(
                np.random.default_rng([seed, case]), tally
            )
            failures += [f"seed {seed}, case {case}: {wrong[-600:]}"] * bool(wrong)
    failures += ["nothing was stopped"] * (not tally.steps)
    return Row(name, count - len(failures), count, str(tally), failures)


def run(count: int, seed: int) -> Row:
    """Try so many trainings."""
    name = "training killed at a moment, then --resume: the same bits"
    kinds = [("--arch", arch) for arch in ARCHS]
    return stop_and_resume(name, count, seed, signal.SIGKILL, kinds)
