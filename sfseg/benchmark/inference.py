"""Measure the networks on a section in memory, and on CUDA on a batch, in all ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import nn

from sfseg.config import EngineName
from sfseg.models.cost import count_activations, count_flop
from sfseg.prediction.engines import ENGINES, Engine
from sfseg.prediction.engines.calibrate import quantise
from sfseg.prediction.engines.choose import MOST_DISAGREEMENT
from sfseg.prediction.engines.int8 import why_no_int8
from sfseg.prediction.plan import BATCH_PX
from sfseg.prediction.samples import SIDE_PX
from sfseg.system.devices import PRECISIONS, Arithmetic
from sfseg.system.machine import Rates, Timing, measure, precisions
from sfseg.types import Normalised, Probability

Report = Callable[[str], None]
Measured = Arithmetic | Literal["int8"]


@dataclass(frozen=True)
class InferenceRow:
    """One network on one section or a batch of them, with one engine and precision.

    Attributes
    ----------
    arch : str
        The architecture.
    engine : {'plain', 'torch', 'compile', 'openvino'}
        Plain is what a user of PyTorch gets by calling the network: float32, channels first,
        nothing folded, in evaluation mode without gradients.
    precision : {'float32', 'bf16', 'fp16', 'int8'}
        Arithmetic of the convolutions. In int8, the ranges are measured on a part of the section.
    sections : int
        Sections of the batch.
    seconds : float
        For the batch in memory, normalised, to its probability in memory; the median.
    passes : int
        How many were counted.
    megapixels_s : float
        Pixels of the batch, in millions, over the seconds.
    flop : int
        Operations for the batch in the unchanged network: 2 for each multiply-add.
    tflops : float
        TFLOP/s.
    percent_of_matmul : float
        TFLOP/s in percent of `Rates.best_tflops`.
    percent_of_copy : float
        What the convolutions read and write over the seconds, in percent of `Rates.copy_gb_s`; see
        `sfseg.models.cost.count_activations`.
    times_plain : float
        Seconds of plain, for as many sections, over `seconds`.
    disagreement : float
        Largest difference of a probability from that of plain.
    steps : tuple of (str, str)
        How each kind of step of the network runs; see `Engine.steps`.
    """

    arch: str
    engine: Literal["plain"] | EngineName
    precision: Measured
    sections: int
    seconds: float
    passes: int
    megapixels_s: float
    flop: int
    tflops: float
    percent_of_matmul: float
    percent_of_copy: float
    times_plain: float
    disagreement: float
    steps: tuple[tuple[str, str], ...] = ()


class InferenceBenchmark:
    """One architecture on one section, with all engines and precisions.

    Parameters
    ----------
    arch, network : str, torch.nn.Module
        In evaluation mode, on the CPU.
    section : ndarray of float32, shape (1, Y, X)
        Normalised.
    device : torch.device
        Where to run.
    repeats : int
        Number of passes.
    rates : Rates
        The peak rates of the machine.
    """

    def __init__(
        self,
        arch: str,
        network: nn.Module,
        section: Normalised,
        device: torch.device,
        repeats: int,
        rates: Rates,
    ) -> None:
        self.arch = arch
        self.network = network
        self.section = section
        self.device = device
        self.repeats = repeats
        self.rows: list[InferenceRow] = []
        self._rates = rates
        self._flop = count_flop(network, section.size)
        self._activations = count_activations(network, section.size)
        self._best: tuple[InferenceRow, Engine] | None = None

    def run(self, engines: Sequence[EngineName], report: Report) -> None:
        """Run plain first, then the engines in each precision that is fast here."""
        report(f"measuring {self.arch}: plain PyTorch in float32")
        plain = measure(_plain(self.network, self.section, self.device), self.device, self.repeats)
        self.rows = [self._row("plain", "float32", plain, plain)]
        for name, precision in ways(engines, self.device):
            report(f"measuring {self.arch}: {name} in {precision}")
            engine = self._engine(name, precision)
            row, *batches = (
                self._row(name, precision, self._measured(engine, sections), plain, engine.steps)
                for sections in batch_sizes(self.device, self.section.size)
            )
            self.rows += [row, *batches]
            if precision == "int8":  # predict never takes it by itself
                continue
            if self._best is None or _rank(row) < _rank(self._best[0]):
                self._best = row, engine

    @property
    def best(self) -> tuple[InferenceRow, Engine]:
        """The fastest row of an engine that agrees with float32, and the engine."""
        return cast("tuple[InferenceRow, Engine]", self._best)

    def _engine(self, name: EngineName, precision: Measured) -> Engine:
        if precision == "int8":
            window = np.ascontiguousarray(self.section[0, :SIDE_PX, :SIDE_PX])
            return quantise(self.network, [window])
        return ENGINES[name](self.network, self.device, PRECISIONS[precision])

    def _measured(self, engine: Engine, sections: int) -> Timing[Probability]:
        batch = np.repeat(self.section, sections, axis=0)
        if self.device.type == "cuda":
            engine(batch)  # the next pass, which `measure` does not count, records the kernels
        return measure(
            lambda: engine(batch),
            self.device,
            self.repeats,
            compiles=engine.name == "compile",
        )

    def _row(
        self,
        engine: Literal["plain"] | EngineName,
        precision: Measured,
        timing: Timing[Probability],
        plain: Timing[Probability],
        steps: tuple[tuple[str, str], ...] = (),
    ) -> InferenceRow:
        sections = len(timing.value)
        flop = sections * self._flop
        tflops = flop / timing.seconds / 1e12
        itemsize = 1 if precision == "int8" else PRECISIONS[precision].itemsize
        moved = sections * self._activations * itemsize
        return InferenceRow(
            self.arch,
            engine,
            precision,
            sections,
            timing.seconds,
            timing.passes,
            megapixels_s=sections * self.section.size / timing.seconds / 1e6,
            flop=flop,
            tflops=tflops,
            percent_of_matmul=100 * tflops / self._rates.best_tflops,
            percent_of_copy=100 * moved / timing.seconds / 1e9 / self._rates.copy_gb_s,
            times_plain=sections * plain.seconds / timing.seconds,
            disagreement=float(np.abs(timing.value - plain.value).max()),
            steps=steps,
        )


def ways(engines: Sequence[EngineName], device: torch.device) -> list[tuple[EngineName, Measured]]:
    """List the engines with each precision that they have here, float32 first, int8 last."""
    found: list[tuple[EngineName, Measured]] = []
    for name in engines:
        found += [
            (name, precision)
            for precision in precisions(device)
            if name == "torch" or precision != "fp16"
        ]
        if name == "torch" and device.type == "cpu" and why_no_int8() is None:
            found.append((name, "int8"))
    return found


def batch_sizes(device: torch.device, section_px: int) -> list[int]:
    """List the numbers of sections to measure: one, and on CUDA as many as a batch has."""
    most = BATCH_PX // section_px if device.type == "cuda" else 1
    return [1, most] if most > 1 else [1]


def _rank(row: InferenceRow) -> tuple[bool, float]:
    """Order rows: those that agree with float32 first, then the fastest; NaN does not agree."""
    return not row.disagreement <= MOST_DISAGREEMENT, row.seconds


def _plain(
    network: nn.Module, section: Normalised, device: torch.device
) -> Callable[[], Probability]:
    """Make the function of a user who only has PyTorch and the network."""
    network = network.to(device)

    def run() -> Probability:
        with torch.no_grad():
            logits = network(torch.from_numpy(section)[:, None].to(device))
            return cast("Probability", torch.sigmoid(logits)[:, 0].cpu().numpy())

    return run
