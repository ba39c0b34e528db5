"""Train a network: read the data, take the steps, write weights, history and curves."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfseg import __version__, models
from sfseg.config import CONFIG_NAME, TrainConfig, configure
from sfseg.datasets import registry
from sfseg.datasets.fetch import fetch
from sfseg.errors import CheckpointError, OptionError, OutputExistsError, SfsegError
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.recipes import STUDENT
from sfseg.system import devices, files, locks, torchrun
from sfseg.training.checkpointing import CURVES, HISTORY, Saving
from sfseg.training.data import load_training_data
from sfseg.training.distributed import own_device, process_group
from sfseg.training.initial_weights import origin_warnings, require_origin
from sfseg.training.progress import EpochRecord, StepRecord
from sfseg.training.pseudo_labels import add_pseudo_labels
from sfseg.training.trainer import STATE, Trainer


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes
    ----------
    weights : Path
        The weights file: of the best epoch where sections are held out, else of the last, or of
        some epoch before it if the training was stopped. Not there if that was in its first epoch.
    history : tuple of EpochRecord
        One record an epoch.
    finished : bool
        False if it was stopped; ``resume`` goes on.
    step : int
        Steps done.
    """

    weights: Path
    history: tuple[EpochRecord, ...]
    finished: bool
    step: int


Report = Callable[[StepRecord | EpochRecord], None]
Save = Callable[[], int]


def train(
    config: TrainConfig | None = None,
    *,
    report: Report = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
    on_start: Callable[[Save], None] = lambda _: None,
    **options: Any,
) -> TrainResult:
    """Train a network and write its weights.

    Parameters
    ----------
    config : TrainConfig, optional
        What, on what, how, where to.
    report : callable
        Is handed a `StepRecord` after each step and an `EpochRecord` after each epoch.
    say : callable
        Is told, line by line, what is fetched, what is trained on and where.
    stop : threading.Event, optional
        When it is set, training saves its state after the running step and returns.
    on_start : callable
        Is handed, before the first step, a function that makes the state as of the last finished
        step durable and returns that step. Any thread may call it at any moment: it is for whoever
        cannot wait for the running step.
    **options
        Fields of `TrainConfig` by name, instead of `config` or on top of it; ``out`` is needed.

    Returns
    -------
    TrainResult
        Where the weights are, and the history.

    Raises
    ------
    OutputExistsError
        If the folder holds a training and ``config.resume`` is False, or another one is at
        work in it.
    CheckpointError
        If there is nothing to resume, or it was started with another configuration.
    NonFiniteError
        If an image holds NaN or infinity, or the loss is no longer a number; the state as of the
        step before is saved.
    UnknownNameError, OptionError, DeviceError
        If the configuration names what is not there or does not fit together.
    FetchError, MissingExtraError
        If the dataset cannot be fetched.
    StackError, ShapeMismatchError
        If a file is not what it should be.
    OutputError
        If a file cannot be written. The state before it is kept.
    OSError
        If a file cannot be read.

    Notes
    -----
    Started by ``torchrun``, all processes call this alike and train one network together: the
    same, up to rounding, as one process whose batch is that of all. The recipe's batch size is that
    of each process; its learning rate stays what it is. All of them read the data and, to go on,
    the state; the first one alone writes, validates and, in the command, speaks.
    """
    config = configure(TrainConfig, config, options)
    refuse_unusable(config)
    name = config.dataset_name
    folder = fetch(name, to=config.data_dir, report=say) if name else None
    data = add_pseudo_labels(load_training_data(config, folder, say=say), config, folder, say=say)
    device = own_device(devices.pick_device(config.device))
    with own_folder(config), process_group(device) as world:
        trainer = Trainer(config, data, world)
        for change in trainer.load_state() if config.resume else []:
            say(f"warning: the last bits may differ from an uninterrupted training:{change}")
        if trainer.is_finished:
            say(f"{config.out}: finished already, after {config.recipe.epochs} epochs")
            return result_of(trainer)
        if world.is_first:
            write_config(trainer)
        size, share = data.pixels / 1e6, data.interior_share
        say(f"training on {data.description}, {size:.1f} megapixels, {share:.0%} inside cells")
        for doubt in origin_warnings(
            config, data.voxel_size_nm, is_validated=bool(data.validation)
        ):
            say(f"warning: {doubt}")
        on_start(trainer.save_state)
        run(trainer, report, stop or threading.Event())
        return result_of(trainer)


@contextlib.contextmanager
def own_folder(config: TrainConfig) -> Iterator[None]:
    """Keep other trainings out of a training's folder, and clear away what a killed one left.

    Raises
    ------
    OutputExistsError
        If another one is at work in it, or has been since the configuration was looked at.
    CheckpointError
        If there is nothing to resume any more.
    OutputError
        If the folder cannot be written to.
    """
    if not torchrun.is_first():
        yield
        return
    with locks.only_one(config.out / "training.lock", "training"):
        refuse_taken(config)
        for path in (
            config.out / name for name in (STATE, WEIGHTS_NAME, HISTORY, CURVES, CONFIG_NAME)
        ):
            with files.explain_errors(path):
                files.remove(files.sibling(path, "part"))
        yield


def result_of(trainer: Trainer) -> TrainResult:
    """Sum up a training.

    Raises
    ------
    CheckpointError
        If it is finished, and its weights are gone.
    """
    if trainer.is_finished and not trainer.weights.exists():
        raise CheckpointError(
            f"{trainer.weights}: expected the weights of a finished training, found none",
            hint="train anew into another --out",
        )
    progress = trainer.progress
    history = tuple(progress.history)
    return TrainResult(trainer.weights, history, trainer.is_finished, progress.step)


def run(trainer: Trainer, report: Report, stop: threading.Event) -> None:
    """Take the steps and finish the epochs that are left; whatever happens, no step is lost."""
    saving = Saving(trainer)
    try:
        # Asked first: all processes must ask alike often.
        while not trainer.world.any(stop.is_set()) and not trainer.is_finished:
            if trainer.ends_epoch:
                saving.save_if_due(at_end=True)  # there are never weights without a state
                if record := trainer.finish_epoch(stop.is_set):
                    report(record)
            else:
                # Not by another thread meanwhile: it would take a core from the threads of the
                # step, which wait for each other, and cost more than it saves.
                report(trainer.take_step(*trainer.batch(trainer.progress.step)))
                saving.save_if_due(at_end=False)
    except BaseException as error:
        try:
            saving.save()
        except (SfsegError, OSError) as unsaved:  # what broke the training is told first
            error.add_note(f"nor could its state be saved: {unsaved}")
        raise
    saving.save()


def refuse_unusable(config: TrainConfig) -> None:
    """Refuse, before any work, what cannot succeed.

    Raises
    ------
    DeviceError, OptionError, UnknownNameError, OutputExistsError, CheckpointError, OutputError
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
        registry.find(config.dataset_name)
    if config.compile:
        devices.require_compiler("leave --compile out")
        if torchrun.processes() > 1:
            raise OptionError(
                f"compile: expected one process, found {torchrun.processes()}",
                hint="leave --compile out",
            )
    models.require(config.arch)
    if config.recipe.is_a(STUDENT) and not config.teachers:
        raise OptionError(
            f"recipe {config.recipe.name}: expected teachers, found none",
            hint="--teacher names weights; --recipe default learns from labels alone",
        )
    require_origin(config)
    refuse_taken(config)


def refuse_taken(config: TrainConfig) -> None:
    """Refuse a folder that holds a training, or none where one is to be gone on with.

    Raises
    ------
    OutputExistsError, CheckpointError
        As `train` does.
    OutputError
        If the system cannot tell what is there.
    """
    files.refuse_file(config.out)
    names = (STATE, WEIGHTS_NAME, HISTORY, CURVES)
    found = [name for name in names if (config.out / name).exists()]
    if not found and not _is_config(config.out / CONFIG_NAME):
        found = [CONFIG_NAME]
    if found and not config.resume:
        raise OutputExistsError(
            f"{config.out}: expected no training there yet, found {found[0]}",
            hint="--out names another folder"
            + (", --resume goes on with this one" if STATE in found else ""),
        )
    if config.resume and STATE not in found:
        raise CheckpointError(
            f"{config.out}: expected an unfinished training, found no {STATE}",
            hint="--out names another folder" if found else "leave --resume out to start from zero",
        )


def _is_config(path: Path) -> bool:
    """Whether a configuration is that of a training killed before its first state, or none."""
    with files.explain_errors(path):
        if not path.exists():
            return True
        try:
            return bool({"asked", "resolved"} <= json.loads(path.read_bytes()).keys())
        except (ValueError, AttributeError):
            return False


def write_config(trainer: Trainer) -> None:
    """Write as ``config.json`` what was asked for and what it was resolved to."""
    asked = dataclasses.asdict(trainer.config)
    resolved = {"device": str(trainer.device), **trainer.identity}
    text = json.dumps(
        {"version": __version__, "asked": asked, "resolved": resolved}, indent=2, default=str
    )
    files.write_text(trainer.config.out / CONFIG_NAME, text + "\n", overwrite=True)
