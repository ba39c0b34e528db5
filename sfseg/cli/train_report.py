"""What `sfseg train` says: what is trained, how far it is, how each epoch ended."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sfseg.cli.console import format_time, say
from sfseg.cli.progress import ProgressDisplay

if TYPE_CHECKING:
    from sfseg.training.progress import EpochRecord, StepRecord
    from sfseg.training.run_setup import TrainSetup


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

    def report(record: "StepRecord | EpochRecord") -> None:
        if isinstance(record, EpochRecord):
            say(describe_epoch(record))
        else:
            bar.update(record.step, record.steps, describe_step(record), record.seconds_left)

    return report


def describe_step(record: "StepRecord") -> str:
    """Say in a few words how training goes."""
    best = "" if record.best_v_rand is None else f" best V_Rand {record.best_v_rand:.4f}"
    return (
        f"epoch {record.epoch}/{record.epochs} loss {record.loss:.4f} "
        f"lr {record.learning_rate:.1e}{best}"
    )


def describe_epoch(record: "EpochRecord") -> str:
    """Say in a line how an epoch ended."""
    line = f"epoch {record.epoch}: loss {record.loss:.4f}"
    if record.v_rand is not None:
        line += (
            f", V_Rand {record.v_rand:.4f} (threshold {record.v_rand_threshold:.1f}), "
            f"V_Info {record.v_info:.4f}, Dice {record.dice:.4f}"
        )
    return f"{line}, {format_time(record.seconds)}"
