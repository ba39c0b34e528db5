"""The progress of a training run: steps, epochs, and a state from which it resumes bit for bit."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfseg.identity import differences
from sfseg.models import weights as checkpoints
from sfseg.system import devices, malloc
from sfseg.training import state as states
from sfseg.training.command import command_for_more_epochs
from sfseg.training.data import TrainingData
from sfseg.training.distributed import ALONE, World
from sfseg.training.initial_weights import identify_weights, start_network
from sfseg.training.optim import learning_rate
from sfseg.training.patches import CPU, Patches
from sfseg.training.progress import (
    SCORES,
    EpochRecord,
    ShippedScore,
    StepRecord,
    TrainingProgress,
)
from sfseg.training.run_folder import STATE
from sfseg.training.run_setup import TrainSetup
from sfseg.training.samples import choose_crops
from sfseg.training.shipped import hash_shipped, score_shipped
from sfseg.training.step import TrainStep
from sfseg.training.time_budget import TimeBudget
from sfseg.training.validation import validate
from sfseg.types import Probability


class Trainer:
    """A training run: its network, its data, its progress, and the folder it writes to.

    Parameters
    ----------
    setup : TrainSetup
        The resolved configuration.
    data : TrainingData
        The sections to train on and to validate on.
    world : World
        The processes that train together, including this one.
    """

    def __init__(self, setup: TrainSetup, data: TrainingData, world: World = ALONE) -> None:
        config = setup.config
        self.setup = setup
        self.config = config
        self.data = data
        self.world = world
        if setup.device.type == "cpu":
            malloc.keep_freed_memory()
        self.patches = Patches(
            data.epoch_sections,
            config.recipe,
            seed=config.seed,
            # On MPS the CPU cuts the patches: MPS has no bicubic sampling.
            device=setup.device if setup.device.type == "cuda" else CPU,
            rank=world.rank,
            processes=world.size,
        )
        self.train_step = TrainStep(start_network(setup), setup, world)
        self.init = identify_weights(setup.init) if setup.init else None
        self.teachers = [identify_weights(teacher) for teacher in setup.teachers] or None
        self.crops = choose_crops(data.validation)
        self.next_batch: tuple[int, tuple[Tensor, Tensor]] | None = None
        self.saved: tuple[int, int] | None = None
        self.saving_weights = TimeBudget()
        self.progress = TrainingProgress()
        self.started = time.monotonic()
        self.first_step = 0

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.patches.steps * self.config.recipe.epochs

    @property
    def ends_epoch(self) -> bool:
        """Whether all steps of the running epoch are done, so that `finish_epoch` comes next."""
        return self.progress.step == (len(self.progress.history) + 1) * self.patches.steps

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.progress.history) == self.config.recipe.epochs

    @property
    def seconds(self) -> float:
        """Seconds of training so far, without interruptions."""
        return self.progress.seconds + time.monotonic() - self.started

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.config.out / checkpoints.WEIGHTS_NAME

    @property
    def identity(self) -> dict[str, Any]:
        """All values that decide the weights, as JSON; a resumed training needs the same."""
        inverts = {"invert_image": True} if self.config.invert_image else {}
        return {
            "arch": self.config.arch,
            "init": self.init,
            "teachers": self.teachers,
            "seed": self.config.seed,
            "half": self.config.half,
            "precision": str(self.setup.dtype),
            "compile": self.config.compile,
            "processes": self.world.size,
            "recipe": dataclasses.asdict(self.config.recipe),
            "data": self.data.description,
            "pixels_sha256": self.data.sha256,
            **inverts,
        }

    @property
    def circumstances(self) -> dict[str, Any]:
        """Values that may change the last bits of the weights; a resumed training may differ."""
        return {
            "device": devices.describe(self.setup.device, self.setup.dtype),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        }

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Cut the patches of a step, counted from 0 through the whole training."""
        if self.next_batch is not None and self.next_batch[0] == step:
            return self.next_batch[1]
        return self.patches.batch(*divmod(step, self.patches.steps))

    def take_step(self, images: Tensor, targets: Tensor) -> StepRecord:
        """Learn from one batch.

        Raises
        ------
        NonFiniteError
            If the loss or its gradient is NaN or infinite. Nothing has changed then.
        DeviceError
            If the network is compiled and the compiler fails.
        """
        progress = self.progress
        loss = self.train_step.compute_gradients(
            images, targets, progress.step, self.steps, meanwhile=self._make_next_batch
        )
        with self.train_step.last_step.update():
            self.train_step.update()
            progress.step += 1
            progress.losses.append(loss)
        return self._step_record()

    def _make_next_batch(self) -> None:
        step = self.progress.step + 1
        self.next_batch = (step, self.batch(step))

    def _step_record(self) -> StepRecord:
        progress = self.progress
        done = progress.step - self.first_step
        return StepRecord(
            epoch=(progress.step - 1) // self.patches.steps + 1,
            epochs=self.config.recipe.epochs,
            step=progress.step,
            steps=self.steps,
            loss=progress.losses[-1],
            learning_rate=learning_rate(self.config.recipe, progress.step - 1, self.steps),
            best_v_rand=progress.best_v_rand,
            seconds_left=(time.monotonic() - self.started) / done * (self.steps - progress.step),
        )

    def score_start(self, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Score the weights that the training run starts from, if it does; before the first step.

        Parameters
        ----------
        stopped : callable
            As for `finish_epoch`.

        Returns
        -------
        dict of str to float, or None
            `SCORES` by name; None without `init`, without held-out sections, or if it was stopped.
        """
        if not (self.init and self.data.validation and self.world.is_first) or self.progress.step:
            return None
        maps: list[Probability] = []
        held_out = self.data.validation
        scores = validate(self.train_step.average, held_out, self.setup, stopped, maps.append)
        if scores is not None:
            self.progress.start = scores
            self.progress.add_sample([crop.cut(maps) for crop in self.crops])
        return scores

    def score_shipped(self, stopped: Callable[[], bool]) -> ShippedScore | None:
        """Score the shipped weights on the held-out sections, for comparison.

        Parameters
        ----------
        stopped : callable
            As for `finish_epoch`.

        Returns
        -------
        ShippedScore or None
            None if it was stopped or is known already, without held-out sections, or if the
            training starts from these weights.

        Raises
        ------
        SfsegError
            As `sfseg.training.shipped.score_shipped` does.
        """
        if self.progress.shipped or not (self.data.validation and self.world.is_first):
            return None
        if self.init and self.init["sha256"] == hash_shipped():
            return None
        self.progress.shipped = score_shipped(self.setup, self.data, self.crops, stopped)
        return self.progress.shipped

    def finish_epoch(self, stopped: Callable[[], bool]) -> EpochRecord | None:
        """Validate, write the weights if they are worth keeping, and add the epoch to the history.

        Parameters
        ----------
        stopped : callable
            Called before each held-out section; True ends the validation.

        Returns
        -------
        EpochRecord or None
            None if it was stopped: nothing has changed then.
        """
        progress, recipe = self.progress, self.config.recipe
        held_out = self.data.validation if self.world.is_first else ()
        maps: list[Probability] = []
        scores = validate(self.train_step.average, held_out, self.setup, stopped, maps.append)
        if scores is None:
            return None
        pictures = [crop.cut(maps) for crop in self.crops] if maps else []
        record = EpochRecord(
            epoch=progress.step // self.patches.steps,
            loss=float(np.mean(progress.losses)),
            learning_rate=learning_rate(recipe, progress.step - 1, self.steps),
            seconds=self.seconds,
            **scores,
        )
        if self.world.is_first and self._keeps_weights_of(record):
            with self.saving_weights.doing():
                self.save_weights(record)
        # Only after the weights are on disk: a run resumed after this epoch does not write them.
        with self.train_step.last_step.update():
            progress.history.append(record)
            progress.losses.clear()
            progress.add_sample(pictures)
        return record

    def _keeps_weights_of(self, record: EpochRecord) -> bool:
        """Whether to write the weights of an epoch."""
        best = self.progress.best_v_rand
        if record.v_rand is None:  # no score to choose by: the last epoch, and some before it
            return record.epoch == self.config.recipe.epochs or self.saving_weights.is_affordable
        return best is None or record.v_rand > best

    def save_weights(self, record: EpochRecord) -> None:
        """Write the averaged network, with a header that says how it was trained."""
        scores = {name: value for name in SCORES if (value := getattr(record, name)) is not None}
        header = checkpoints.Header(
            arch=self.config.arch,
            recipe=self.config.recipe.name,
            input_px=self.config.recipe.input_px,
            voxel_size_nm=self.data.voxel_size_nm,
            data=self.data.description,
            scores=scores,
            training={"epoch": record.epoch, **self.identity},
        )
        checkpoints.save_weights(
            self.weights, self.train_step.average, header, half=self.config.half
        )

    def save_state(self) -> int:
        """Save the state of the last finished step; any thread may call this at any time.

        Returns
        -------
        int
            The last finished step.

        Raises
        ------
        NonFiniteError
            If the weights hold NaN or infinity.
        OSError
            If the disk is full or fails. The state that was there stays.
        """
        with self.train_step.last_step.snapshot() as is_whole:
            progress = dataclasses.replace(self.progress, seconds=self.seconds)
            now = (progress.step, len(progress.history))
            if is_whole and now != self.saved and self.world.is_first:
                states.save_state(
                    self.config.out / STATE,
                    {
                        "learner": self.train_step.last_step.tensors(),
                        "average": self.train_step.average.state_dict(),
                    },
                    self.train_step.optimizer,
                    {
                        "config": self.identity,
                        "circumstances": self.circumstances,
                        "progress": dataclasses.asdict(progress),
                    },
                )
                self.saved = now
            return progress.step

    def load_state(self) -> list[str]:
        """Continue from the saved state.

        Returns
        -------
        list of str
            A line for each of the `circumstances` that has changed since.

        Raises
        ------
        CheckpointError
            If there is no state, or it was started with another configuration or other data.
        """
        state = states.read_state(self.config.out / STATE)
        state.refuse_other(self.identity, longer=command_for_more_epochs(self.config))
        progress = TrainingProgress.from_state(state)
        with self.train_step.last_step.update():
            state.restore(
                {"learner": self.train_step.with_heads, "average": self.train_step.average},
                self.train_step.optimizer,
            )
            self.progress = progress
        self.first_step = progress.step
        # A run that goes on for longer has another identity, which must be saved.
        self.saved = None
        if not state.is_extended(self.identity):
            self.saved = (progress.step, len(progress.history))
        return differences(state.facts.get("circumstances", {}), self.circumstances)
