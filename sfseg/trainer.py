"""Learning: loss, step, average, validation, and a state that goes on bit for bit."""

import copy
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfseg import checkpoints, devices, metrics, models, states
from sfseg.config import TrainConfig
from sfseg.engines.eager import torch_engine
from sfseg.errors import CheckpointError, NonFiniteError
from sfseg.learning import average_weights, learning_rate, loss_of, make_optimizer
from sfseg.predictor import Predictor
from sfseg.samples import Patches
from sfseg.sections import TrainingData
from sfseg.tiles import halo_px

STATE = f"state{checkpoints.SUFFIX}"
SCORES = ("v_rand", "v_rand_threshold", "v_info", "dice")


@dataclass(frozen=True)
class StepRecord:
    """One step of training, as it is reported.

    Attributes
    ----------
    epoch, epochs : int
        The running epoch, from 1, and how many there are.
    step, steps : int
        Steps done in the whole training, and how many there are.
    loss, learning_rate : float
        Of this step.
    best_v_rand : float or None
        Best validation score so far.
    seconds_left : float
        Estimate from the steps since the start.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    best_v_rand: float | None
    seconds_left: float


@dataclass(frozen=True)
class EpochRecord:
    """One row of ``history.csv``; the scores are None where nothing is held out.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean over the epoch's steps.
    learning_rate : float
        At its last step.
    seconds : float
        Since the start of the training, without interruptions.
    v_rand, v_rand_threshold, v_info, dice : float or None
        Of the held-out sections in a single pass, as `sfseg score` computes them.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    v_rand: float | None = None
    v_rand_threshold: float | None = None
    v_info: float | None = None
    dice: float | None = None


@dataclass
class Progress:
    """How far a training is; saved with its state.

    Attributes
    ----------
    step : int
        Steps done.
    losses : list of float
        Of the running epoch's steps.
    history : list of EpochRecord
        Of the epochs done.
    seconds : float
        Spent before the last interruption.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best_v_rand(self) -> float | None:
        """Best validation score so far."""
        return max((r.v_rand for r in self.history if r.v_rand is not None), default=None)


class Trainer:
    """A training under way: networks, optimiser, progress, and the folder that it writes to.

    Parameters
    ----------
    config : TrainConfig
        How and where to.
    data : TrainingData
        On what.
    """

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        self.config = config
        self.data = data
        self.device = devices.pick_device(config.device)
        self.dtype = devices.pick_dtype(config.precision, self.device)
        self.patches = Patches(data.training, config.recipe, seed=config.seed)
        self.network = models.build(config.arch, seed=config.seed)
        devices.place(self.network, self.device)
        self.average = copy.deepcopy(self.network)
        self.optimizer = make_optimizer(self.network, config.recipe)
        self.forward = devices.compiled(self.network) if config.compile else self.network
        self.progress = Progress()
        self.started = time.monotonic()
        self.first_step = 0

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.patches.steps * self.config.recipe.epochs

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
            "seed": self.config.seed,
            "precision": str(self.dtype),
            "compile": self.config.compile,
            "recipe": dataclasses.asdict(self.config.recipe),
            "data": self.data.description,
            "pixels_sha256": self.data.sha256,
        }

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Cut the patches of a step of the whole training, from 0."""
        return self.patches.batch(*divmod(step, self.patches.steps))

    def take_step(self, images: Tensor, targets: Tensor) -> StepRecord:
        """Learn from one batch.

        Raises
        ------
        NonFiniteError
            If the loss or its gradient is no longer a number. The weights are left as they were,
            but not the statistics of the batch normalisation.
        """
        progress, recipe = self.progress, self.config.recipe
        rate = learning_rate(recipe, progress.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        images = images.to(self.device, memory_format=torch.channels_last)
        with devices.autocast(self.device, self.dtype):
            logits = self.forward(images)
        loss = loss_of(recipe, logits.float(), targets.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        # An infinite bound clips nothing: only the norm is wanted.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), torch.inf)
        if not (loss.isfinite() and norm.isfinite()):
            raise NonFiniteError(
                f"step {progress.step + 1}: expected a finite loss and gradient, "
                f"found {loss.item():g} and {norm.item():g}",
                hint="train with --precision float32, or a lower --learning-rate",
            )
        self.optimizer.step()
        average_weights(self.average, self.network, recipe.ema_decay, progress.step)
        progress.step += 1
        progress.losses.append(loss.item())
        return self._step_record(rate)

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

    def finish_epoch(self) -> EpochRecord:
        """Validate and note the epoch down; write the weights if they are the best so far."""
        progress, recipe = self.progress, self.config.recipe
        record = EpochRecord(
            epoch=progress.step // self.patches.steps,
            loss=float(np.mean(progress.losses)),
            learning_rate=learning_rate(recipe, progress.step - 1, self.steps),
            seconds=self.seconds,
            **self.validate(),
        )
        best = progress.best_v_rand
        progress.history.append(record)
        progress.losses.clear()
        if record.v_rand is None or best is None or record.v_rand > best:
            self.save_weights(record)
        return record

    def validate(self) -> dict[str, float]:
        """Score the averaged network on the held-out sections, as predict and score would.

        Returns
        -------
        dict of str to float
            `SCORES` by name; empty where nothing is held out.
        """
        if not self.data.validation:
            return {}
        input_px = self.config.recipe.input_px
        engine = torch_engine(self.average, self.device, self.dtype)
        half = devices.available_bytes(self.device) // 2
        predict = Predictor(
            engine,
            halo_px(self.average, models.STRIDE),
            input_px=input_px,
            limit_px=half // engine.bytes_per_px,
        )
        prediction = np.stack([predict(section.image) for section in self.data.validation])
        labels = np.stack([section.labels for section in self.data.validation])
        scores = metrics.evaluate(prediction, labels)
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

    def save_state(self) -> None:
        """Make everything that going on needs durable."""
        progress = dataclasses.replace(self.progress, seconds=self.seconds)
        states.save_state(
            self.config.out / STATE,
            {"network": self.network, "average": self.average},
            self.optimizer,
            {
                "config": self.fingerprint,
                "progress": dataclasses.asdict(progress),
            },
        )

    def load_state(self) -> None:
        """Go on from a saved state.

        Raises
        ------
        CheckpointError
            If there is none, or it was started with another configuration or other data.
        """
        path = self.config.out / STATE
        networks = {"network": self.network, "average": self.average}
        saved = states.load_state(path, networks, self.optimizer)
        now = self.fingerprint
        changed = sorted(key for key in now if now[key] != saved["config"].get(key))
        if changed:
            raise CheckpointError(
                f"{path}: expected the configuration that the training was started with, "
                f"found another {', '.join(changed)}",
                hint="resume with the options that the training was started with",
            )
        progress = saved["progress"]
        history = [EpochRecord(**record) for record in progress.pop("history")]
        self.progress = Progress(**progress, history=history)
        self.first_step = self.progress.step
