"""What `sfseg train` says: what is trained, how far it is, how each epoch ended."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sfseg.cli.console import say
from sfseg.cli.live import Curve, Trace
from sfseg.cli.progress import ProgressDisplay
from sfseg.types import format_time

if TYPE_CHECKING:
    from sfseg.training.progress import EpochRecord, StepRecord
    from sfseg.training.run_setup import TrainSetup
    from sfseg.training.train import TrainResult


def describe_run(setup: "TrainSetup") -> str:
    """Say what is trained, on which device, and where to."""
    from sfseg.system.devices import describe

    config, where = setup.config, describe(setup.device, setup.dtype)
    origin = f" from {config.init}" if config.init else ""
    return (
        f"training {config.arch}{origin} on {where}, into {config.out}; recipe {config.recipe.name}"
    )


def reporter(bar: ProgressDisplay) -> "Callable[[StepRecord | EpochRecord], None]":
    """Show the steps as progress, and print a line for each epoch."""
    from sfseg.training.progress import EpochRecord

    course = Course()

    def report(record: "StepRecord | EpochRecord") -> None:
        if isinstance(record, EpochRecord):
            course.add_epoch(record)
            say(describe_epoch(record))
        else:
            course.show_step(bar, record)

    return report


class Course:
    """How a training went so far, for a display."""

    def __init__(self) -> None:
        self._losses, self._scores = Trace(), Trace()

    def add_epoch(self, record: "EpochRecord") -> None:
        """Add the score of an epoch, if sections are held out."""
        if record.v_rand is not None:
            self._scores.add(record.v_rand)

    def show_step(self, bar: ProgressDisplay, record: "StepRecord", where: str = "") -> None:
        """Show how training goes, and after what is said of it the curves."""
        self._losses.add(record.loss)
        curves = [
            Curve("loss", f"{record.loss:.4f}", self._losses.values),
            Curve("lr", f"{record.learning_rate:.1e}"),
        ]
        if record.best_v_rand is not None:
            best = f"{record.best_v_rand:.4f}"
            curves.append(Curve("best V_Rand", best, self._scores.values))
        note = f"{where}epoch {record.epoch}/{record.epochs}"
        bar.update(record.step, record.steps, note, record.seconds_left, curves)


def describe_epoch(record: "EpochRecord") -> str:
    """Say in a line how an epoch ended."""
    from sfseg.training.progress import describe_scores

    line = f"epoch {record.epoch}: loss {record.loss:.4f}"
    if record.v_rand is not None:
        line += f", {describe_scores(dataclasses.asdict(record))}"
    return f"{line}, {format_time(record.seconds)}"


def describe_kept(result: "TrainResult") -> Iterator[str]:
    """Say which weights are kept, and how they compare with those that the run started from."""
    kept = result.kept
    if kept is None:
        return
    if kept.v_rand is None:
        yield f"kept: the weights after epoch {kept.epoch}; no held-out section scores them"
        return
    line = f"kept: the weights after epoch {kept.epoch}, V_Rand {kept.v_rand:.4f}"
    start = result.start["v_rand"] if result.start else None
    yield line + (f" (starting weights {start:.4f})" if start is not None else "")
    if start is not None and start >= kept.v_rand:
        yield "warning: no epoch scores higher than the starting weights: they may serve you better"
