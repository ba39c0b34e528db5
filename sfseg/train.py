"""Train a network: read the data, take the steps, write weights, history and curves."""

import csv
import dataclasses
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sfseg import __version__, engines, files, models, plots
from sfseg.config import TrainConfig
from sfseg.errors import CheckpointError, OptionError, OutputExistsError, UnknownNameError
from sfseg.fetch import fetch
from sfseg.samples import load_training_data
from sfseg.trainer import STATE, WEIGHTS, EpochRecord, StepRecord, Trainer


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes
    ----------
    weights : Path
        The weights file: of the best epoch, or of the last where nothing is held out.
    history : tuple of EpochRecord
        One record an epoch.
    finished : bool
        False if it was stopped; ``resume`` goes on.
    """

    weights: Path
    history: tuple[EpochRecord, ...]
    finished: bool


Report = Callable[[StepRecord | EpochRecord], None]


def train(
    config: TrainConfig,
    *,
    report: Report = lambda _: None,
    stop: threading.Event | None = None,
) -> TrainResult:
    """Train a network and write its weights.

    Parameters
    ----------
    config : TrainConfig
        What, on what, how, where to.
    report : callable
        Is handed a `StepRecord` after each step and an `EpochRecord` after each epoch.
    stop : threading.Event, optional
        When it is set, training saves its state after the running step and returns.

    Returns
    -------
    TrainResult
        Where the weights are, and the history.

    Raises
    ------
    OutputExistsError
        If the folder holds a training and ``config.resume`` is False.
    CheckpointError
        If there is nothing to resume, or it was started with another configuration.
    NonFiniteError
        If the loss is no longer a number; the last saved state is kept.

    Notes
    -----
    `sfseg.fetch.fetch`, `sfseg.samples.load_training_data` and `sfseg.engines.pick_device` raise
    theirs through it.
    """
    refuse_unusable(config)
    folder = fetch(config.dataset_name) if config.dataset_name else None
    trainer = Trainer(config, load_training_data(config, folder))
    if config.resume:
        trainer.load_state()
    write_config(config)
    run(trainer, report, stop or threading.Event())
    finished = trainer.progress.step == trainer.steps
    return TrainResult(trainer.weights, tuple(trainer.progress.history), finished)


def run(trainer: Trainer, report: Report, stop: threading.Event) -> None:
    """Take the steps that are left, saving the state every so often and at the end."""
    progress, saved = trainer.progress, time.monotonic()
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(trainer.batch, progress.step)
        while progress.step < trainer.steps and not stop.is_set():
            images, targets = pending.result()
            pending = reader.submit(trainer.batch, progress.step + 1)
            report(trainer.take_step(images, targets))
            ends_epoch = progress.step % trainer.patches.steps == 0
            if ends_epoch:
                report(trainer.finish_epoch())
                write_history(trainer.config.out, progress.history)
            if ends_epoch or time.monotonic() - saved > trainer.config.save_every_s:
                trainer.save_state()
                saved = time.monotonic()
    trainer.save_state()


def refuse_unusable(config: TrainConfig) -> None:
    """Refuse, before any work, what cannot succeed; raises as `train` does."""
    engines.pick_device(config.device)
    if config.dataset and (config.images or config.labels):
        raise OptionError(
            f"training data: expected a dataset or images of your own, found {config.dataset} "
            f"and {config.images or config.labels}",
            hint="leave --dataset out to train on --images and --labels",
        )
    if config.arch not in models.ARCHITECTURES:
        raise UnknownNameError.of("architecture", config.arch, models.ARCHITECTURES)
    started = [config.out / name for name in (STATE, WEIGHTS) if (config.out / name).exists()]
    if started and not config.resume:
        raise OutputExistsError(
            f"{config.out}: expected no training there yet, found {started[0].name}",
            hint="--resume goes on with it, --out names another folder",
        )
    if config.resume and not started:
        raise CheckpointError(
            f"{config.out}: expected an unfinished training, found none",
            hint="leave --resume out to start from zero",
        )


def write_config(config: TrainConfig) -> None:
    """Write the resolved configuration as ``config.json``."""
    resolved = {"version": __version__, **dataclasses.asdict(config)}
    text = json.dumps(resolved, indent=2, default=str) + "\n"
    files.write_text(config.out / "config.json", text, overwrite=True)


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv`` and ``curves.png``."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(EpochRecord)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(record) for record in history)
    files.write_text(folder / "history.csv", text.getvalue(), overwrite=True)
    plots.write_curves(folder / "curves.png", [dataclasses.asdict(r) for r in history])
