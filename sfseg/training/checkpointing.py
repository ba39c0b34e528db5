"""A training made durable now and then: its state, and what people read of it."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from sfseg.system import files
from sfseg.training import curves
from sfseg.training.progress import EpochRecord
from sfseg.training.time_budget import TimeBudget
from sfseg.training.trainer import Trainer

HISTORY, CURVES = "history.csv", "curves.png"


class Saving:
    """Makes a training durable now and then: at the end of each epoch and every so many seconds.

    Parameters
    ----------
    trainer : Trainer
        Whose state, history and curves are written.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._chore = TimeBudget()
        self._epochs = -1

    def save_if_due(self, *, at_end: bool) -> None:
        """Save, if that is due after a step or `at_end` of an epoch, and not too often."""
        is_due = at_end or self._chore.waited_s > self._trainer.config.save_every_s
        if is_due and self._chore.is_affordable:
            self.save()

    def save(self) -> None:
        """Save what is not saved yet."""
        with self._chore.doing():
            self._trainer.save_state()
            history = self._trainer.progress.history
            if self._trainer.world.is_first and len(history) != self._epochs:
                write_history(self._trainer.config.out, history)
                self._epochs = len(history)


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv`` and ``curves.png``."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(EpochRecord)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(record) for record in history)
    files.write_text(folder / HISTORY, text.getvalue(), overwrite=True)
    curves.write_curves(folder / CURVES, [dataclasses.asdict(r) for r in history])
