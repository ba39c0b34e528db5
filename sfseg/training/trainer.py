"""A training under way: steps, epochs, validation, and a state that goes on bit for bit."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfseg.config import TrainConfig
from sfseg.identity import differences
from sfseg.models import weights as checkpoints
from sfseg.prediction.predictor import Predictor
from sfseg.scoring.evaluate import score_sections
from sfseg.system import devices
from sfseg.training import state as states
from sfseg.training.data import TrainingData
from sfseg.training.distributed import ALONE, World, own_device
from sfseg.training.initial_weights import identify_weights, start_network
from sfseg.training.optim import learning_rate
from sfseg.training.patches import CPU, Patches
from sfseg.training.progress import SCORES, EpochRecord, StepRecord, TrainingProgress
from sfseg.training.step import TrainStep
from sfseg.training.time_budget import TimeBudget

STATE = f"state{checkpoints.SUFFIX}"


class Trainer:
    """A training under way: who learns, from what, how far it is, and the folder it writes to.

    Parameters
    ----------
    config : TrainConfig
        How and where to.
    data : TrainingData
        On what.
    world : World
        The processes that train together, this one among them.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, world: World = ALONE) -> None:
        self.config = config
        self.data = data
        self.world = world
        self.device = own_device(devices.pick_device(config.device))
        if self.device.type == "cpu":
            devices.keep_freed_memory()
        self.dtype = devices.pick_dtype(config.precision, self.device)
        self.patches = Patches(
            data.epoch_sections,
            config.recipe,
            seed=config.seed,
            # Elsewhere the CPU makes them; MPS has no bicubic sampling.
            device=self.device if self.device.type == "cuda" else CPU,
            rank=world.rank,
            processes=world.size,
        )
        network, self.origin = start_network(config)
        self.teachers = [identify_weights(spec) for spec in config.teachers] or None
        self.train_step = TrainStep(network, config, self.device, self.dtype, world)
        self.next_batch: tuple[int, tuple[Tensor, Tensor]] | None = None
        self.saved: tuple[int, int] | None = None
        self.saving_weights = TimeBudget()
        self.progress = TrainingProgress()
        self.started = time.monotonic()
        self.first_step = 0

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.patches.steps * self.config.recipe.epochs

    @property
    def ends_epoch(self) -> bool:
        """Whether the steps of an epoch are done, and the epoch is not."""
        return self.progress.step == (len(self.progress.history) + 1) * self.patches.steps

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.progress.history) == self.config.recipe.epochs

    @property
    def seconds(self) -> float:
        """Time spent, without interruptions."""
        return self.progress.seconds + time.monotonic() - self.started

    @property
    def weights(self) -> Path:
        """Where the weights go."""
        return self.config.out / checkpoints.WEIGHTS_NAME

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights that come out, as JSON holds it."""
        return {
            "arch": self.config.arch,
            "init": self.origin,
            "teachers": self.teachers,
            "seed": self.config.seed,
            "half": self.config.half,
            "precision": str(self.dtype),
            "compile": self.config.compile,
            "processes": self.world.size,
            "recipe": dataclasses.asdict(self.config.recipe),
            "data": self.data.description,
            "pixels_sha256": self.data.sha256,
        }

    @property
    def circumstances(self) -> dict[str, Any]:
        """What may move the last bits of the weights, and may differ when a training goes on."""
        return {
            "device": devices.describe(self.device, self.dtype),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        }

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Cut the patches of a step of the whole training, from 0."""
        if self.next_batch is not None and self.next_batch[0] == step:
            return self.next_batch[1]
        return self.patches.batch(*divmod(step, self.patches.steps))

    def take_step(self, images: Tensor, targets: Tensor) -> StepRecord:
        """Learn from one batch.

        Raises
        ------
        NonFiniteError
            If the loss or its gradient is no longer a number. All is as after the step before.
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

    def finish_epoch(self, stopped: Callable[[], bool]) -> EpochRecord | None:
        """Validate and note the epoch down; write the weights if they are to be kept.

        Parameters
        ----------
        stopped : callable
            Is asked now and then whether to leave off.

        Returns
        -------
        EpochRecord or None
            None if it was left off: nothing is changed then.
        """
        progress, recipe = self.progress, self.config.recipe
        scores = self.validate(stopped) if self.world.is_first else {}
        if scores is None:
            return None
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
        # Not before the weights are safe: else they could be lost.
        with self.train_step.last_step.update():
            progress.history.append(record)
            progress.losses.clear()
        return record

    def _keeps_weights_of(self, record: EpochRecord) -> bool:
        """Whether to write the weights of an epoch."""
        best = self.progress.best_v_rand
        if record.v_rand is None:  # the last ones are, whatever comes before
            return record.epoch == self.config.recipe.epochs or self.saving_weights.is_affordable
        return best is None or record.v_rand > best

    def validate(self, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Score the averaged network on the held-out sections, as predict and score would.

        Returns
        -------
        dict of str to float, or None
            `SCORES` by name, empty where nothing is held out; None if it was left off.
        """
        if not self.data.validation:
            return {}
        devices.give_back_memory()  # else it would count as taken below
        input_px = self.config.recipe.input_px
        predict = Predictor.from_network(
            self.train_step.average, self.device, self.dtype, input_px=input_px
        )
        predicted = []
        for section in self.data.validation:
            if stopped():
                return None
            predicted.append(predict(section.image))
        labels = [section.labels for section in self.data.validation]
        scores = score_sections(predicted, labels)
        return {name: getattr(scores, name) for name in SCORES}

    def save_weights(self, record: EpochRecord) -> None:
        """Write the averaged network and what it is."""
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
        """Make everything that going on needs durable; for any thread, at any moment.

        Returns
        -------
        int
            The last finished step, which the state is of.

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
        """Go on from a saved state.

        Returns
        -------
        list of str
            The circumstances that were others, a line each: the last bits may differ for them.

        Raises
        ------
        CheckpointError
            If there is none, or it was started with another configuration or other data.
        """
        state = states.read_state(self.config.out / STATE)
        state.refuse_other(self.identity)
        progress = TrainingProgress.from_state(state)
        with self.train_step.last_step.update():
            state.restore(
                {"learner": self.train_step.with_heads, "average": self.train_step.average},
                self.train_step.optimizer,
            )
            self.progress = progress
        self.first_step = progress.step
        self.saved = (progress.step, len(progress.history))
        return differences(state.facts.get("circumstances", {}), self.circumstances)
