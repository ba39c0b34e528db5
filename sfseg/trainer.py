"""Learning: loss, step, average, validation, and a state that goes on bit for bit."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sfseg import checkpoints, devices, metrics, states
from sfseg.affinities import WithAffinities, affinity_loss
from sfseg.config import TrainConfig
from sfseg.distributed import ALONE, World, own_device
from sfseg.errors import NonFiniteError
from sfseg.learning import (
    average_weights,
    decay_of_average,
    is_frozen,
    learning_rate,
    loss_of,
    make_optimizer,
    pixel_weights,
    set_learning_rate,
    set_mode,
)
from sfseg.models.skeleton import EncoderDecoder
from sfseg.predictor import Predictor
from sfseg.progress import SCORES, EpochRecord, Progress, StepRecord
from sfseg.replay import Replay
from sfseg.samples import CPU, Patches
from sfseg.sections import TrainingData
from sfseg.start import identify_weights, start_network
from sfseg.underway import differences

STATE = f"state{checkpoints.SUFFIX}"


class Trainer:
    """A training under way: networks, optimiser, progress, and the folder that it writes to.

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
            data.lessons,
            config.recipe,
            seed=config.seed,
            # Elsewhere the CPU makes them; MPS has no bicubic sampling.
            device=self.device if self.device.type == "cuda" else CPU,
            rank=world.rank,
            processes=world.size,
        )
        self.network, self.origin = start_network(config)
        self.teachers = [identify_weights(spec) for spec in config.teachers] or None
        devices.place(self.network, self.device)
        self.average = copy.deepcopy(self.network)
        self.network = world.share(self.network)
        self.learner = self.network
        if config.recipe.affinity_weight:
            self.learner = WithAffinities(cast("EncoderDecoder", self.network), seed=config.seed)
            devices.place(self.learner, self.device)
        self.optimizer = make_optimizer(self.learner, config.recipe, self.dtype)
        parallel = world.parallel(self.learner)
        self.forward = devices.compiled(parallel) if config.compile else parallel
        records = self.device.type == "cuda" and world.size == 1
        self.find_gradients = Replay(self._find_gradients, records=records)
        self.update = Replay(self._update, records=records)
        self.decay = torch.zeros((), device=self.device)
        self.next_batch: tuple[int, tuple[Tensor, Tensor]] | None = None
        self.last_step = states.LastStep(self.learner)
        self.saved: tuple[int, int] | None = None
        self.progress = Progress()
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
    def fingerprint(self) -> dict[str, Any]:
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
        progress, recipe = self.progress, self.config.recipe
        rate = learning_rate(recipe, progress.step, self.steps)
        set_learning_rate(self.optimizer, rate)
        self.decay.fill_(decay_of_average(recipe, progress.step))
        set_mode(self.network, self.average, recipe, progress.step, self.steps)
        mode = (is_frozen(recipe, progress.step, self.steps), images.shape)
        found, gradients = self.find_gradients(
            images.to(self.device, memory_format=torch.channels_last),
            targets.to(self.device),
            mode=mode,
        )
        for weight, gradient in zip(self.learner.parameters(), gradients, strict=True):
            weight.grad = gradient  # another recording may have left its own there
        numbers = devices.fetch(found)
        if self.device.type == "cuda":  # which computes while the next batch is made
            self.next_batch = (progress.step + 1, self.batch(progress.step + 1))
        loss, norm = numbers()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.last_step.take_back()
            raise NonFiniteError(
                f"step {progress.step + 1}: expected a finite loss and gradient, "
                f"found {loss:g} and {norm:g}",
                hint="train anew into another --out, with --precision float32 or a lower "
                f"--learning-rate; the state after step {progress.step} is kept",
            )
        with self.last_step.changing():
            self.update(mode=mode)
            progress.step += 1
            progress.losses.append(loss)
        return self._step_record(rate)

    def _find_gradients(self, images: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the loss and the norm of its gradient, as one tensor; and the gradients."""
        with devices.autocast(self.device, self.dtype):
            logits = self.forward(images)
        part = self._part_of_loss(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        # Afterwards the processes hold the mean of their gradients; the sum is wanted.
        (part * self.world.size).backward()  # type: ignore[no-untyped-call]
        weights = list(self.learner.parameters())
        # An infinite bound clips nothing: only the norm is wanted.
        norm = nn.utils.clip_grad_norm_(weights, torch.inf)
        gradients = [cast("Tensor", weight.grad) for weight in weights]
        return torch.stack([self.world.sum(part.detach()), norm]), gradients

    def _update(self) -> None:
        """Move the weights along their gradients, and the average after them."""
        self.optimizer.step()
        average_weights(self.average, self.network, self.decay)

    def _part_of_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute what this process's patches add to the mean over those of all."""
        recipe, interior = self.config.recipe, targets[:, :1]
        of_pixels, of_patches = self._shares(interior)
        loss = loss_of(recipe, logits[:, :1], interior) * of_pixels
        if recipe.affinity_weight:
            affinities = affinity_loss(logits[:, 1:], targets[:, 1:])
            loss = loss + recipe.affinity_weight * of_patches * affinities
        return loss

    def _shares(self, interior: Tensor) -> Sequence[Tensor | float]:
        """Tell this process's share of the weight of the pixels of all, and of their patches."""
        if self.world.size == 1:
            return 1.0, 1.0
        weight = pixel_weights(self.config.recipe, interior).sum()
        own = torch.stack([weight, torch.full_like(weight, len(interior))])
        return (own / self.world.sum(own)).unbind()

    def _step_record(self, rate: float) -> StepRecord:
        progress = self.progress
        done = progress.step - self.first_step
        return StepRecord(
            epoch=(progress.step - 1) // self.patches.steps + 1,
            epochs=self.config.recipe.epochs,
            step=progress.step,
            steps=self.steps,
            loss=progress.losses[-1],
            learning_rate=rate,
            best_v_rand=progress.best_v_rand,
            seconds_left=(time.monotonic() - self.started) / done * (self.steps - progress.step),
        )

    def finish_epoch(self, stopped: Callable[[], bool]) -> EpochRecord | None:
        """Validate and note the epoch down; write the weights if they are the best so far.

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
        best = progress.best_v_rand
        is_best = record.v_rand is None or best is None or record.v_rand > best
        if is_best and self.world.is_first:
            self.save_weights(record)
        with self.last_step.changing():  # not before the weights are safe: else they could be lost
            progress.history.append(record)
            progress.losses.clear()
        return record

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
        predict = Predictor.of(self.average, self.device, self.dtype, input_px=input_px)
        predicted = []
        for section in self.data.validation:
            if stopped():
                return None
            predicted.append(predict(section.image))
        labels = [section.labels for section in self.data.validation]
        scores = metrics.evaluate_sections(predicted, labels)
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
            training={"epoch": record.epoch, **self.fingerprint},
        )
        checkpoints.save_weights(self.weights, self.average, header, half=self.config.half)

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
        with self.last_step.still() as is_whole:
            progress = dataclasses.replace(self.progress, seconds=self.seconds)
            now = (progress.step, len(progress.history))
            if is_whole and now != self.saved and self.world.is_first:
                states.save_state(
                    self.config.out / STATE,
                    {"learner": self.last_step.tensors(), "average": self.average.state_dict()},
                    self.optimizer,
                    {
                        "config": self.fingerprint,
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
        state.refuse_other(self.fingerprint)
        progress = Progress.of(state)
        with self.last_step.changing():
            state.restore({"learner": self.learner, "average": self.average}, self.optimizer)
            self.progress = progress
        self.first_step = progress.step
        self.saved = (progress.step, len(progress.history))
        return differences(state.facts.get("circumstances", {}), self.circumstances)
