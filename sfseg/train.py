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

from sfseg import __version__, datasets, devices, files, models, plots
from sfseg.checkpoints import WEIGHTS_NAME
from sfseg.config import TrainConfig
from sfseg.errors import CheckpointError, OptionError, OutputExistsError, UnknownNameError
from sfseg.fetch import fetch
from sfseg.sections import load_training_data
from sfseg.terms import PLAUSIBLE_INTERIOR
from sfseg.trainer import STATE, EpochRecord, StepRecord, Trainer


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes
    ----------
    weights : Path
        The weights file: of the best epoch, or of the last where nothing is held out. It is not
        there yet if the training was stopped in its first epoch.
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
    say: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> TrainResult:
    """Train a network and write its weights.

    Parameters
    ----------
    config : TrainConfig
        What, on what, how, where to.
    report : callable
        Is handed a `StepRecord` after each step and an `EpochRecord` after each epoch.
    say : callable
        Is told, line by line, what is fetched, what is trained on and where.
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
        If an image holds NaN or infinity, or the loss is no longer a number; the last saved state
        is kept.
    UnknownNameError, OptionError, DeviceError
        If the configuration names what is not there or does not fit together.
    FetchError, MissingExtraError
        If the dataset cannot be fetched.
    StackError, ShapeMismatchError
        If a file is not what it should be.
    OSError
        If a file cannot be read or written.
    """
    refuse_unusable(config)
    folder = fetch(config.dataset_name, report=say) if config.dataset_name else None
    data = load_training_data(config, folder)
    trainer = Trainer(config, data)
    if config.resume:
        trainer.load_state()
    write_config(trainer)
    say(f"training on {data.description}, {data.interior_share:.0%} of it inside cells")
    if data.interior_share < PLAUSIBLE_INTERIOR[0]:
        say("warning: cells fill most of a section; are the labels high on membranes?")
    run(trainer, report, stop or threading.Event())
    finished = trainer.progress.step == trainer.steps
    return TrainResult(trainer.weights, tuple(trainer.progress.history), finished)


def run(trainer: Trainer, report: Report, stop: threading.Event) -> None:
    """Take the steps that are left, saving the state every so often and at the end."""
    progress, saved, saved_step = trainer.progress, time.monotonic(), -1
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
                saved, saved_step = time.monotonic(), progress.step
    if saved_step != progress.step:
        trainer.save_state()


def refuse_unusable(config: TrainConfig) -> None:
    """Refuse, before any work, what cannot succeed.

    Raises
    ------
    DeviceError, OptionError, UnknownNameError, OutputExistsError, CheckpointError
        As `train` does.
    """
    devices.pick_device(config.device)
    if config.dataset and (config.images or config.labels):
        raise OptionError(
            f"training data: expected a dataset or images of your own, found {config.dataset} "
            f"and {config.images or config.labels}",
            hint="leave --dataset out to train on --images and --labels",
        )
    if config.dataset_name and config.labels_are != "interior":
        raise OptionError(
            f"labels_are: expected images and labels of your own with it, found the dataset "
            f"{config.dataset_name}, whose labels are known",
            hint="leave --labels-are out, or name --images and --labels",
        )
    if config.dataset_name:
        datasets.find(config.dataset_name)
    if config.compile:
        devices.require_compiler("leave --compile out")
    if config.arch not in models.ARCHITECTURES:
        raise UnknownNameError.of("architecture", config.arch, models.ARCHITECTURES)
    if config.out.is_file():
        raise OutputExistsError(
            f"{config.out}: expected a folder for the training, found a file",
            hint="--out names another folder",
        )
    found = [name for name in (STATE, WEIGHTS_NAME) if (config.out / name).exists()]
    if found and not config.resume:
        raise OutputExistsError(
            f"{config.out}: expected no training there yet, found {found[0]}",
            hint="--out names another folder"
            + (", --resume goes on with this one" if STATE in found else ""),
        )
    if config.resume and STATE not in found:
        raise CheckpointError(
            f"{config.out}: expected an unfinished training, found no {STATE}",
            hint="leave --resume out to start from zero",
        )


def write_config(trainer: Trainer) -> None:
    """Write as ``config.json`` what was asked for and what it was resolved to."""
    asked = dataclasses.asdict(trainer.config)
    resolved = {"device": str(trainer.device), **trainer.fingerprint}
    text = json.dumps(
        {"version": __version__, "asked": asked, "resolved": resolved}, indent=2, default=str
    )
    files.write_text(trainer.config.out / "config.json", text + "\n", overwrite=True)


def write_history(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv`` and ``curves.png``."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(EpochRecord)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(record) for record in history)
    files.write_text(folder / "history.csv", text.getvalue(), overwrite=True)
    plots.write_curves(folder / "curves.png", [dataclasses.asdict(r) for r in history])
