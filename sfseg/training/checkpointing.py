"""When a training run saves its state, its history and its curves."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from sfseg.system import files
from sfseg.training import curves
from sfseg.training.progress import EpochRecord
from sfseg.training.run_folder import CURVES, HISTORY
from sfseg.training.time_budget import TimeBudget
from sfseg.training.trainer import Trainer


class Saving:
    """Saves a training run after each epoch and every ``save_every_s`` seconds.

    Parameters
    ----------
    trainer : Trainer
        The training whose state, history and curves are saved.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._budget = TimeBudget()
        self._written_epochs = -1

    def save_if_due(self, *, at_end: bool) -> None:
        """Save at the end of an epoch, or when it is time to, unless that takes too much time."""
        is_due = at_end or self._budget.waited_s > self._trainer.config.save_every_s
        if is_due and self._budget.is_affordable:
            self.save()

    def save(self) -> None:
        """Save everything that has changed since the last time."""
        with self._budget.doing():
            self._trainer.save_state()
            history = self._trainer.progress.history
            if self._trainer.world.is_first and len(history) != self._written_epochs:
                write_history(self._trainer.config.out, history)
                self._written_epochs = len(history)


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv`` and ``curves.png``."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(EpochRecord)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(record) for record in history)
    files.write_text(folder / HISTORY, text.getvalue(), overwrite=True)
    curves.write_curves(folder / CURVES, [dataclasses.asdict(r) for r in history])
