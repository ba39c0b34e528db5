"""Train a network: read the data, take the steps, write weights, history and curves.

How a training run stops: the caller sets the event `stop`. Then `run` saves the state after the
running step, and returns. A caller that cannot wait calls, from any thread, the save function,
which `train` passes to `on_start`. It saves the state of the last finished step. On Ctrl-C,
SIGTERM and the like the command does both, see `sfseg.cli.signals`. If an error ends the steps,
`run` saves the state, too.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfseg.config import TrainConfig, configure
from sfseg.datasets.fetch import fetch
from sfseg.errors import CheckpointError, SfsegError
from sfseg.training.checkpointing import Saving
from sfseg.training.command import command_for_more_epochs, command_to_resume
from sfseg.training.data import load_training_data
from sfseg.training.distributed import process_group
from sfseg.training.initial_weights import origin_warnings
from sfseg.training.page import RunPage, collect_warnings
from sfseg.training.progress import (
    EpochRecord,
    StepRecord,
    TrainingProgress,
    describe_scores,
)
from sfseg.training.pseudo_labels import add_pseudo_labels
from sfseg.training.run_folder import claim_folder, refuse_taken, write_config
from sfseg.training.run_setup import TrainSetup
from sfseg.training.trainer import Trainer
from sfseg.types import Say, both, format_count, format_time


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes
    ----------
    weights : Path
        The weights file: of the best epoch if sections are held out, else of the last. After a
        stop it may be of an earlier epoch; in the first epoch it may not exist.
    history : tuple of EpochRecord
        One record for each epoch.
    finished : bool
        False if it was stopped; ``resume`` continues it.
    step : int
        Steps done.
    start : mapping of str to float or None
        Scores of the weights that it started from, under the names of an `EpochRecord`; None if
        it started from random weights, or no section is held out.
    """

    weights: Path
    history: tuple[EpochRecord, ...]
    finished: bool
    step: int
    start: Mapping[str, float] | None = None

    @property
    def kept(self) -> EpochRecord | None:
        """The epoch whose weights are kept; None before the first one."""
        return TrainingProgress(history=list(self.history)).kept

    def __repr__(self) -> str:
        best = TrainingProgress(history=list(self.history)).best_v_rand
        score = "" if best is None else f", best V_Rand {best:.4f}"
        end = "finished" if self.finished else "stopped"
        return f"TrainResult({str(self.weights)!r}, {end} after step {self.step}{score})"


OnProgress = Callable[[StepRecord | EpochRecord], None]
Save = Callable[[], int]
"""Saves the state of the last finished step, and returns that step."""


def train(
    config: TrainConfig | None = None,
    *,
    report: OnProgress = lambda _: None,
    say: Say = lambda _: None,
    stop: threading.Event | None = None,
    on_start: Callable[[Save], None] = lambda _: None,
    **options: Any,
) -> TrainResult:
    """Train a network and write its weights.

    Parameters
    ----------
    config : TrainConfig, optional
        The network, the data, the recipe, and the folder to write to.
    report : callable
        Called with a `StepRecord` after each step and an `EpochRecord` after each epoch.
    say : callable
        Called with lines of text: the dataset, the training data, and warnings.
    stop : threading.Event, optional
        When it is set, the training saves its state after the running step and returns.
    on_start : callable
        Called once, before the first step, with a function that saves the state of the last
        finished step and returns that step. Any thread may call that function at any time.
    **options
        Fields of `TrainConfig` by name, instead of `config` or on top of it; ``out`` is needed.

    Returns
    -------
    TrainResult
        The path of the weights, and the history.

    Raises
    ------
    OutputExistsError
        If the folder holds a training run and ``config.resume`` is False, or another one is at work
        in it.
    CheckpointError
        If there is nothing to resume, or it was started with another configuration.
    NonFiniteError
        If an image holds NaN or infinity, or the loss becomes NaN or infinite. The state of the
        step before is saved.
    UnknownNameError, OptionError
        If the configuration names something unknown, or its options do not fit together.
    DeviceError
        If the device is missing, or the compiler fails.
    FetchError, MissingExtraError
        If the dataset cannot be fetched.
    StackError, ShapeMismatchError
        If a file is not a stack, or images and labels differ in shape.
    OutputError
        If a file cannot be written. The state before it is kept.
    OSError
        If a file cannot be read.

    Notes
    -----
    Under ``torchrun`` all processes call this function and train one network together. Up to
    rounding, the result is that of one process with all patches in one batch. The batch size of the
    recipe is that of each process; the learning rate does not change. All processes read the data
    and the state. Only the first one writes and validates.
    """
    setup = prepare(configure(TrainConfig, config, options))
    return train_prepared(setup, report=report, say=say, stop=stop, on_start=on_start)


def train_prepared(
    setup: TrainSetup,
    *,
    report: OnProgress,
    say: Say,
    stop: threading.Event | None,
    on_start: Callable[[Save], None],
) -> TrainResult:
    """Train with the result of `prepare`; parameters and errors as those of `train`."""
    config = setup.config
    stop = stop or threading.Event()
    warnings: list[str] = []
    say = collect_warnings(say, warnings)
    folder = fetch(setup.dataset, to=config.data_dir, say=say) if setup.dataset else None
    data = add_pseudo_labels(load_training_data(setup, folder, say=say), setup, folder, say=say)
    with claim_folder(config), process_group(setup.device) as world:
        trainer = Trainer(setup, data, world)
        page = RunPage(trainer, warnings, say=say, is_stopping=stop.is_set)
        for change in trainer.load_state() if config.resume else []:
            say(f"warning: the last bits may differ from an uninterrupted training:{change}")
        if trainer.is_finished:
            epochs = format_count(config.recipe.epochs, "epoch")
            say(
                f"{config.out}: finished already, after {epochs}; "
                f"to train for longer: {_longer(config)}"
            )
            page.complete()
            return result_of(trainer)
        if world.is_first:
            write_config(config, {"device": str(setup.device), **trainer.identity})
        size, share = data.pixels / 1e6, data.interior_share
        say(f"training on {data.description}, {size:.1f} megapixels, {share:.0%} inside cells")
        for warning in origin_warnings(setup, data):
            say(f"warning: {warning}")
        if start := trainer.score_start(stop.is_set):
            say(f"the starting weights score {describe_scores(start)}")
        _compare_with_shipped(trainer, say, stop)
        on_start(page.save)
        with page.kept_up(lambda: trainer.is_finished):
            run(trainer, both(report, page.update), stop)
        return result_of(trainer)


def _compare_with_shipped(trainer: Trainer, say: Say, stop: threading.Event) -> None:
    """Score the shipped weights on the held-out sections; what goes wrong there is a warning."""
    try:
        shipped = trainer.score_shipped(stop.is_set)
    except (SfsegError, OSError) as error:
        say(f"warning: the shipped weights are not compared: {error}")
        return
    if shipped:
        say(
            f"the shipped weights {shipped.name} score {describe_scores(shipped.scores)} "
            f"on the held-out sections; this took {format_time(shipped.seconds)}"
        )


def _longer(config: TrainConfig) -> str:
    """Write the command that trains a finished run for longer."""
    if config.recipe.is_endless:
        return f"{command_to_resume('train', config.out)} --epochs MORE"
    return command_for_more_epochs(config)


def prepare(config: TrainConfig) -> TrainSetup:
    """Resolve a configuration; refuse, before any work, what cannot succeed.

    Raises
    ------
    DeviceError, OptionError, UnknownNameError, CheckpointError
        As `TrainSetup.from_config` does.
    OutputExistsError, OutputError
        As `refuse_taken` does.
    """
    setup = TrainSetup.from_config(config)
    refuse_taken(config)
    return setup


def run(trainer: Trainer, report: OnProgress, stop: threading.Event) -> None:
    """Run the remaining steps and epochs. Save the state, also after an error."""
    saving = Saving(trainer)
    try:
        # `any` comes first: it waits for all processes, so all must call it equally often.
        while not trainer.world.any(stop.is_set()) and not trainer.is_finished:
            if trainer.ends_epoch:
                saving.save_if_due(at_end=True)  # there are never weights without a state
                if record := trainer.finish_epoch(stop.is_set):
                    report(record)
            else:
                # The batch is not cut by another thread during the step: on a CPU it would take a
                # core from the threads of the step, which wait for each other.
                report(trainer.take_step(*trainer.batch(trainer.progress.step)))
                saving.save_if_due(at_end=False)
    except BaseException as error:
        try:
            saving.save()
        except (SfsegError, OSError) as unsaved:  # the error that ended the training comes first
            error.add_note(f"its state could not be saved either: {unsaved}")
        raise
    saving.save()


def result_of(trainer: Trainer) -> TrainResult:
    """Sum up a training run.

    Raises
    ------
    CheckpointError
        If it is finished and its weights are missing.
    """
    if trainer.is_finished and not trainer.weights.exists():
        raise CheckpointError(
            f"{trainer.weights}: the weights of this finished training run are missing",
            hint="train again into another --out",
        )
    progress = trainer.progress
    history = tuple(progress.history)
    return TrainResult(trainer.weights, history, trainer.is_finished, progress.step, progress.start)
