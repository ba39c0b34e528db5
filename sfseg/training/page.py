"""``report.html`` in the folder of a training run, written again and again while it runs."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfseg.report.status import Outcome, Status, says_finished
from sfseg.report.train_page import Picture, Rival, Strip, TrainingFacts, write_train_page
from sfseg.system import devices
from sfseg.training.command import command_to_resume
from sfseg.training.live_page import LivePage
from sfseg.training.optim import learning_rate
from sfseg.training.progress import EpochRecord, StepRecord
from sfseg.training.run_folder import PAGE
from sfseg.training.samples import Crop
from sfseg.training.trainer import Trainer
from sfseg.types import Say, format_count, format_time

_WARNING = "warning: "


class RunPage(LivePage):
    """The page of a training run.

    Parameters
    ----------
    trainer : Trainer
        The training run.
    warnings : sequence of str
        What has been warned of so far; it may grow.
    say : callable
        Called with a warning, once, if the page cannot be written.
    is_stopping : callable
        Whether the run has been asked to stop.
    """

    def __init__(
        self,
        trainer: Trainer,
        warnings: Sequence[str],
        *,
        say: Say,
        is_stopping: Callable[[], bool],
    ) -> None:
        super().__init__(say)
        self._trainer = trainer
        self._path = trainer.config.out / PAGE
        self._warnings = warnings
        self._is_stopping = is_stopping
        self._latest: StepRecord | None = None

    def update(self, record: StepRecord | EpochRecord) -> None:
        """Write the page after an epoch, or when it is time to."""
        if isinstance(record, StepRecord):
            self._latest = record
        self.write_if_due(is_news=isinstance(record, EpochRecord))

    def complete(self) -> None:
        """Write the page of a run that finished earlier, if it was killed before it wrote it."""
        with contextlib.suppress(OSError, ValueError):  # what is damaged is written again
            if says_finished(self._path):
                return
        self.write("finished")

    def save(self) -> int:
        """Save the state as `Trainer.save_state` does, then write the page; for any thread."""
        step = self._trainer.save_state()
        self.write("stopped" if self._is_stopping() else "running")
        return step

    def write_page(self, outcome: Outcome, error: str) -> None:
        """Write the page; only the first of several processes does."""
        if self._trainer.world.is_first:
            write_train_page(self._path, self._collect(outcome, error))

    def _collect(self, outcome: Outcome, error: str) -> TrainingFacts:
        trainer = self._trainer
        with trainer.train_step.last_step.snapshot():  # nothing changes meanwhile
            status = self._status(outcome, error)
            return collect_facts(trainer, status, list(self._warnings))

    def _status(self, outcome: Outcome, error: str) -> Status:
        trainer, step = self._trainer, self._trainer.progress.step
        done = f"{step} of {trainer.steps} steps in {format_time(trainer.seconds)}"
        epochs = format_count(trainer.config.recipe.epochs, "epoch")
        text = {
            "running": self._describe_progress(),
            "finished": f"{epochs} in {format_time(trainer.seconds)}.",
            "stopped": f"{done}.",
            "failed": f"{done}, then: {error}",
        }[outcome]
        resume_with = command_to_resume("train", trainer.config.out)
        return Status(outcome, text, step, trainer.steps, resume_with, time.time())

    def _describe_progress(self) -> str:
        trainer, latest = self._trainer, self._latest
        epochs = trainer.config.recipe.epochs
        if latest is None:
            epoch = min(len(trainer.progress.history) + 1, epochs)
            return f"Epoch {epoch} of {epochs} begins."
        return (
            f"Epoch {latest.epoch} of {epochs}, step {latest.step} of {latest.steps}, loss "
            f"{latest.loss:.4f}, about {format_time(latest.seconds_left)} left."
        )


def collect_warnings(say: Say, warnings: list[str]) -> Say:
    """Return a function that says lines, and adds the warnings among them to a list."""

    def say_and_collect(line: str) -> None:
        if line.startswith(_WARNING):
            warnings.append(line.removeprefix(_WARNING))
        say(line)

    return say_and_collect


def collect_facts(trainer: Trainer, status: Status, warnings: Sequence[str]) -> TrainingFacts:
    """Collect all that the page says.

    Parameters
    ----------
    trainer : Trainer
        The training run; nothing of it may change meanwhile.
    status : Status
        How far it is.
    warnings : sequence of str
        What was warned of.
    """
    progress, config = trainer.progress, trainer.config
    start, shipped, kept = progress.start, progress.shipped, progress.kept
    of_epoch, steps = trainer.patches.steps, trainer.steps
    ends = range(of_epoch - 1, steps, of_epoch)
    return TrainingFacts(
        title=f"{config.arch} on {config.dataset_name or Path(config.images or '').name}",
        data=trainer.data.description,
        status=status,
        history=[dataclasses.asdict(record) for record in progress.history],
        rates=[learning_rate(config.recipe, step, steps) for step in ends],
        kept_epoch=kept.epoch if kept else None,
        start=Rival(f"the start, {config.init}", start) if start else None,
        shipped=Rival(f"the shipped weights {shipped.name}", shipped.scores) if shipped else None,
        shipped_note=_note_shipped(trainer),
        strips=[_strip(trainer, crop, number) for number, crop in enumerate(trainer.crops)],
        warnings=warnings,
        settings=_settings(trainer),
    )


def _note_shipped(trainer: Trainer) -> str:
    """Say what the shipped weights have learnt, and how long their score took."""
    shipped = trainer.progress.shipped
    if shipped is None:
        return ""
    learnt = set(shipped.trained_on.replace(";", " ").split())
    is_known = any(Path(pair.images).name in learnt for pair in trainer.data.pairs)
    kept = trainer.progress.kept
    text = f"The shipped weights have learnt {shipped.trained_on}"
    if is_known:
        text += ", perhaps these very sections, so their score here is too high"
    elif kept and kept.v_rand is not None and kept.v_rand <= shipped.scores["v_rand"]:
        text += (
            f". So far they serve you better: sfseg predict takes them, and "
            f"sfseg train --init {shipped.name} starts from them"
        )
    return f"{text}. Their score took {format_time(shipped.seconds)}."


def _strip(trainer: Trainer, crop: Crop, number: int) -> Strip:
    """Show a part of a held-out section: image, truth, and its maps from the first on."""
    sections, progress = trainer.data.validation, trainer.progress
    kept = progress.kept
    pictures = [
        Picture("image", crop.draw_image(sections)),
        Picture("truth", crop.draw_truth(sections)),
    ]
    for sample in progress.samples:
        name = f"epoch {sample.epoch}" if sample.epoch else "start"
        name += " (kept)" * (kept is not None and sample.epoch == kept.epoch)
        pictures.append(Picture(name, sample.pictures[number]))
    if progress.shipped:
        pictures.append(Picture("shipped", progress.shipped.pictures[number]))
    return Strip(_describe_crop(trainer, crop), pictures)


def _describe_crop(trainer: Trainer, crop: Crop) -> str:
    """Name a part of a section, and its size."""
    numbers, voxel = trainer.data.validation_numbers, trainer.data.voxel_size_nm
    section = numbers[crop.index] if numbers else crop.index + 1
    height, width = crop.shape
    size = f"{height} x {width} px"
    if voxel is not None:
        size += f" ({height * voxel[1] / 1000:.2g} x {width * voxel[2] / 1000:.2g} µm)"
    corner = f"from row {crop.rows.start}, column {crop.columns.start}"
    return f"section {section}, {size} {corner}"


def _settings(trainer: Trainer) -> dict[str, dict[str, str]]:
    """Make the tables of the configuration: run, data, recipe."""
    config, data, setup = trainer.config, trainer.data, trainer.setup
    recipe: Mapping[str, Any] = dataclasses.asdict(config.recipe)
    run = {
        "architecture": config.arch,
        "recipe": config.recipe.name,
        "starts from": config.init or f"random weights, seed {config.seed}",
        "device": devices.describe(setup.device, setup.dtype),
        "processes": str(trainer.world.size),
        "compiled": "yes" if config.compile else "no",
        "weights stored as": "float16" if config.half else "float32",
        "folder": str(config.out.absolute()),
    }
    if config.teachers:
        run["teachers"] = ", ".join(config.teachers)
    held_out = len(data.validation)
    table = {}
    if config.images and config.labels:
        table = {"images": config.images, "labels": config.labels}
    table |= {
        "sections to learn from": str(len(data.training)),
        "sections held out": str(held_out) if held_out else "none: no scores, no pictures",
        "pixels to learn from": f"{data.pixels / 1e6:.1f} million",
        "share inside cells": f"{data.interior_share:.0%}",
        "voxel size (z, y, x)": " x ".join(f"{nm:g}" for nm in data.voxel_size_nm) + " nm"
        if data.voxel_size_nm
        else "not known",
    }
    table |= {
        f"pair {number}": str(pair).removeprefix("pair: ")
        for number, pair in enumerate(data.pairs, start=1)
    }
    named = {
        name.replace("_", " "): "none" if value is None else str(value)
        for name, value in recipe.items()
    }
    return {"Run": run, "Data": table, "Recipe": named}
