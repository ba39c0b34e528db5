"""Measure training steps: those of `sfseg train` against those of plain PyTorch."""

import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from sfseg.benchmark.inference import Report
from sfseg.config import BenchConfig, EngineName, TrainConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.models import build
from sfseg.models.cost import count_flop
from sfseg.recipes import Recipe
from sfseg.system.devices import Arithmetic
from sfseg.system.machine import Rates, measure, precisions
from sfseg.training.cuda_graphs import WARM_CALLS
from sfseg.training.data import TrainingData
from sfseg.training.patches import Patches
from sfseg.training.progress import StepRecord
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.train import run
from sfseg.training.trainer import Trainer

PASSES = 3
"""A step computes three times what a forward pass does: the gradients of weights and of inputs."""

WARM_STEPS = WARM_CALLS + 1
"""Steps that are not counted: they compile, allocate, choose algorithms and record."""

SECTIONS, VISITS = 8, 1000
"""Enough that no epoch ends while steps are counted."""

SCHEDULE_SECTIONS = 24
"""Sections of the whole schedule: the training sections of ISBI 2012, 1-24."""


@dataclass(frozen=True)
class TrainingRow:
    """One network, trained with one engine and precision.

    Attributes
    ----------
    arch : str
        The architecture.
    engine : {'plain', 'torch', 'compile'}
        Plain is the loop of a tutorial: float32, channels first, eager, one batch that is ready
        from the start, freed memory given back. The others are the loop of `sfseg train`, without
        and with ``--compile``, its patches cut and augmented on the way.
    precision : {'float32', 'bf16'}
        Arithmetic of the convolutions.
    recipe : str
        Name of the recipe.
    batch_size, side_px : int
        Patches or whole sections in a step, and their side.
    seconds : float
        From the end of a step to the end of the next; the median.
    steps : int
        How many were counted.
    steps_s, megapixels_s : float
        Steps and pixels of patches, in millions, over the seconds.
    flop : int
        Operations of a step, as `PASSES` forward passes.
    tflops : float
        TFLOP/s.
    percent_of_matmul : float
        TFLOP/s in percent of `Rates.best_tflops`.
    times_plain : float
        Seconds of plain over `seconds`.
    percent_waiting : float
        Share of the time between steps, mostly to make the next batch.
    schedule_steps : int
        Steps of the whole training by the recipe, on `SCHEDULE_SECTIONS` sections.
    schedule_seconds : float
        Their time at this speed, without validation and saving.
    """

    arch: str
    engine: Literal["plain"] | EngineName
    precision: Arithmetic
    recipe: str
    batch_size: int
    side_px: int
    seconds: float
    steps: int
    steps_s: float
    megapixels_s: float
    flop: int
    tflops: float
    percent_of_matmul: float
    times_plain: float
    percent_waiting: float
    schedule_steps: int
    schedule_seconds: float


def measure_training(
    config: BenchConfig,
    engines: Sequence[EngineName],
    device: torch.device,
    rates: Rates,
    report: Report,
) -> tuple[TrainingRow, ...]:
    """Measure the steps of each architecture, plain first, then by each engine.

    Parameters
    ----------
    config : BenchConfig
        Architectures, recipe and number of steps.
    engines : sequence of str
        Eager, compiled or both.
    device : torch.device
        Where to train.
    rates : Rates
        The peak rates of the machine.
    report : callable
        Called with a line of text before each measurement.

    Returns
    -------
    tuple of TrainingRow
        By architecture.
    """
    recipe = dataclasses.replace(config.recipe, visits=VISITS, epochs=1)
    side_px = recipe.input_px or 2 * recipe.side_px
    sections = zip(*make_tissue((SECTIONS, side_px, side_px)), strict=True)
    data = TrainingData(tuple(Section(*pair) for pair in sections), (), None, "synthetic tissue")
    plain: dict[str, _Laps] = {}
    for arch in config.archs:  # all of them first: a training changes how memory is kept
        report(f"measuring {arch}: plain training steps in float32")
        timing = measure(_plain_step(arch, data, recipe, device), device, config.repeats)
        plain[arch] = _Laps("plain", "float32", timing.seconds, timing.passes, percent_waiting=0)
    rows = []
    for arch in config.archs:
        rows.append(_row(arch, plain[arch], plain[arch], config.recipe, rates))
        for engine in engines:
            report(f"measuring {arch}: steps of sfseg train, by {engine}")
            laps = _our_laps(arch, engine, data, recipe, device, config.repeats)
            rows.append(_row(arch, laps, plain[arch], config.recipe, rates))
    return tuple(rows)


@dataclass(frozen=True)
class _Laps:
    """Measurements of the steps of one training run; fields as in `TrainingRow`."""

    engine: Literal["plain"] | EngineName
    precision: Arithmetic
    seconds: float
    steps: int
    percent_waiting: float


def _row(arch: str, laps: _Laps, plain: _Laps, recipe: Recipe, rates: Rates) -> TrainingRow:
    """Compare the measurements with the machine and with plain PyTorch."""
    pixels = recipe.batch_size * recipe.side_px**2
    flop = PASSES * count_flop(build(arch).eval(), pixels)
    tflops = flop / laps.seconds / 1e12
    steps = recipe.steps_of_epoch(SCHEDULE_SECTIONS) * recipe.epochs
    return TrainingRow(
        arch,
        laps.engine,
        laps.precision,
        recipe.name,
        recipe.batch_size,
        recipe.side_px,
        laps.seconds,
        laps.steps,
        steps_s=1 / laps.seconds,
        megapixels_s=pixels / laps.seconds / 1e6,
        flop=flop,
        tflops=tflops,
        percent_of_matmul=100 * tflops / rates.best_tflops,
        times_plain=plain.seconds / laps.seconds,
        percent_waiting=laps.percent_waiting,
        schedule_steps=steps,
        schedule_seconds=steps * laps.seconds,
    )


def _plain_step(
    arch: str, data: TrainingData, recipe: Recipe, device: torch.device
) -> Callable[[], float]:
    """Make the step of a user who only has PyTorch and the network."""
    images, targets = Patches(data.training, recipe, seed=0).batch(0, 0)
    interior = targets[:, :1]  # without affinities
    images, interior = (part.contiguous().to(device) for part in (images, interior))
    network = build(arch).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(network(images), interior)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


class _Watched(Trainer):
    """A training that notes when its steps begin and end."""

    def __init__(self, setup: TrainSetup, data: TrainingData) -> None:
        super().__init__(setup, data)
        self.begun: list[float] = []
        self.ended: list[float] = []

    def take_step(self, images: Tensor, targets: Tensor) -> StepRecord:
        """Take a step as any other training does; it ends when its loss is known."""
        self.begun.append(time.perf_counter())
        record = super().take_step(images, targets)
        self.ended.append(time.perf_counter())
        return record


def _our_laps(
    arch: str,
    engine: EngineName,
    data: TrainingData,
    recipe: Recipe,
    device: torch.device,
    repeats: int,
) -> _Laps:
    """Run the loop of `sfseg train` for a few steps."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            Path(folder, "run"), arch, recipe, device=str(device), compile=engine == "compile"
        )
        trainer = _Watched(TrainSetup.from_config(config), data)

        def count(_: object) -> None:
            if len(trainer.ended) == WARM_STEPS + repeats:
                stop.set()

        run(trainer, count, stop)
    ended = trainer.ended[WARM_STEPS - 1 :]
    seconds = [after - before for before, after in pairwise(ended)]
    waiting = [begin - end for end, begin in zip(ended, trainer.begun[WARM_STEPS:], strict=False)]
    precision = [name for name in precisions(device) if name != "fp16"][-1]  # for prediction only
    share = 100 * sum(waiting) / sum(seconds)
    return _Laps(engine, precision, median_low(seconds), len(seconds), share)
