"""Measure on this machine how fast the networks run, against the machine and against plain PyTorch.

All figures come from one run, so that their ratios hold on a machine that is slow today.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sfseg.checkpoints import load_weights
from sfseg.config import SHIPPED_MODEL, BenchConfig, EngineName, PredictConfig
from sfseg.devices import dtype_name, pick_device
from sfseg.engines import ENGINES, Choice, Engine
from sfseg.engines.choose import MOST_DISAGREEMENT
from sfseg.io import write_stack
from sfseg.jobs import Job
from sfseg.models import STRIDE, build
from sfseg.normalise import standardise
from sfseg.predict import Model, PredictResult, predict_file
from sfseg.rates import (
    PRECISIONS,
    Arithmetic,
    Machine,
    Rates,
    Timing,
    describe_machine,
    measure,
    measure_rates,
    precisions,
)
from sfseg.terms import AnyArray, Normalised, Probability, Shape
from sfseg.tiles import halo_px
from sfseg.tissue import make_tissue

T = TypeVar("T")
Report = Callable[[str], None]
SECTIONS = 8
"""Of the stack that is predicted from file to file: the first read and the last write, which
overlap with nothing, are an eighth of all."""


@dataclass(frozen=True)
class Row:
    """One network, run in one way on one section.

    Attributes
    ----------
    arch : str
        The architecture.
    engine : {'plain', 'torch', 'compile', 'openvino'}
        Plain is what a user of PyTorch gets by calling the network: float32, channels first,
        nothing folded, in evaluation mode without gradients.
    precision : {'float32', 'bf16'}
        Arithmetic of the convolutions.
    seconds : float
        For one section in memory, normalised, to its probability in memory; the median.
    passes : int
        How many were counted.
    megapixels_s : float
        Pixels of the section, in millions, over the seconds.
    flop : int
        Of one section as PyTorch counts them in the network as it is: 2 for each multiply-add.
    tflops : float
        TFLOP/s.
    percent_of_matmul : float
        TFLOP/s in percent of `Rates.best_tflops`.
    times_plain : float
        Seconds of plain over these.
    disagreement : float
        Largest difference of a probability from plain.
    """

    arch: str
    engine: Literal["plain"] | EngineName
    precision: Arithmetic
    seconds: float
    passes: int
    megapixels_s: float
    flop: int
    tflops: float
    percent_of_matmul: float
    times_plain: float
    disagreement: float


@dataclass(frozen=True)
class EndToEnd:
    """A stack predicted from file to file, with the shipped weights and the fastest engine.

    Attributes
    ----------
    model : str
        Name of the weights.
    engine, precision : str
        As in `Row`: the fastest whose probabilities are as good as those of float32.
    shape : tuple of int
        (Z, Y, X) of the stack.
    seconds : float
        From opening the input to the renamed output; the median.
    passes : int
        How many were counted.
    seconds_per_section : float
        Seconds over sections.
    percent : mapping of str to float
        Of the seconds: ``read``, ``compute``, ``write``, and ``rest``, in which nothing was
        computed. Reading and writing go on beside computing, so the first three can exceed 100.
    times_plain : float
        Seconds of plain for the network alone over those for a section here.
    overhead_percent : float
        Seconds beyond computing, in percent of those of computing.
    """

    model: str
    engine: EngineName
    precision: Arithmetic
    shape: Shape
    seconds: float
    passes: int
    seconds_per_section: float
    percent: Mapping[str, float]
    times_plain: float
    overhead_percent: float


@dataclass(frozen=True)
class BenchResult:
    """Everything that was measured in one run.

    Attributes
    ----------
    config : BenchConfig
        What was asked for.
    machine : Machine
        Where.
    rates : Rates
        What the machine can do.
    rows : tuple of Row
        For each architecture plain, then engine by engine, float32 before bf16.
    end_to_end : EndToEnd or None
        None where the architecture of the shipped weights was not among those asked for.
    """

    config: BenchConfig
    machine: Machine
    rates: Rates
    rows: tuple[Row, ...]
    end_to_end: EndToEnd | None

    def as_dict(self) -> dict[str, Any]:
        """Give the result as plain values, not rounded, in the order of the JSON output."""
        return asdict(self)


def bench(
    config: BenchConfig = BenchConfig(),  # noqa: B008 - frozen
    *,
    report: Report = lambda _: None,
) -> BenchResult:
    """Measure the machine, the networks on it, and a prediction from file to file.

    The shipped weights are taken for their architecture. The other networks have random weights,
    so their disagreement says little of what training would make of it.

    Parameters
    ----------
    config : BenchConfig
        What to measure.
    report : callable
        Is handed a sentence before each measurement.

    Returns
    -------
    BenchResult
        The figures.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    DeviceError, MissingExtraError
        If the device is not there, or an engine that is asked for cannot run.
    OSError
        If the stack cannot be written to the temporary folder.
    """
    device = pick_device(config.device)
    networks = {arch: _network(arch) for arch in config.archs}
    engines = _engines(config, device, networks[config.archs[0]])
    machine = describe_machine(device)
    report("measuring the machine")
    rates = measure_rates(device)
    volume, _ = make_tissue((SECTIONS, config.side_px, config.side_px))
    races = [
        _Race(arch, network, standardise(volume[0])[None], device, config.repeats, rates)
        for arch, network in networks.items()
    ]
    for race in races:
        race.run(engines, report)
    _, shipped = load_weights(SHIPPED_MODEL)
    ours = [race for race in races if race.arch == shipped.arch]
    end_to_end = _end_to_end(ours[0], volume, report) if ours else None
    rows = tuple(row for race in races for row in race.rows)
    return BenchResult(config, machine, rates, rows, end_to_end)


def _network(arch: str) -> nn.Module:
    """Load the shipped weights, or draw random ones where there are none."""
    network, header = load_weights(SHIPPED_MODEL)
    return network if header.arch == arch else build(arch).eval()


def _engines(config: BenchConfig, device: torch.device, network: nn.Module) -> list[EngineName]:
    """List the engines that run here; fail before the first measurement, not in the middle."""
    if not config.engines:  # compile is run only if asked for: it takes minutes
        return ["torch"]
    for name in config.engines:
        ENGINES[name](network, device, torch.float32)
    return list(dict.fromkeys(config.engines))


class _Race:
    """One architecture, run in all ways on the same section.

    Parameters
    ----------
    arch, network : str, torch.nn.Module
        In evaluation mode, on the CPU.
    section : ndarray of float32, shape (1, Y, X)
        Normalised.
    device : torch.device
        Where to run.
    repeats : int
        Passes.
    rates : Rates
        What the machine can do.
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
        self.rows: list[Row] = []
        self._best_tflops = rates.best_tflops
        self._flop = _count_flop(network, section.size)
        self._best: tuple[Row, Engine] | None = None

    def run(self, engines: Sequence[EngineName], report: Report) -> None:
        """Run plain first, then the engines in each precision that is fast here."""
        report(f"measuring {self.arch}: plain PyTorch in float32")
        plain = measure(_plain(self.network, self.section, self.device), self.device, self.repeats)
        self.rows = [self._row("plain", "float32", plain, plain)]
        for name, precision in product(engines, precisions(self.device)):
            report(f"measuring {self.arch}: {name} in {precision}")
            engine = ENGINES[name](self.network, self.device, PRECISIONS[precision])
            row = self._row(name, precision, self._measured(engine), plain)
            self.rows.append(row)
            if self._best is None or _rank(row) < _rank(self._best[0]):
                self._best = row, engine

    @property
    def best(self) -> tuple[Row, Engine]:
        """The fastest row of an engine that agrees with float32, and the engine."""
        return cast("tuple[Row, Engine]", self._best)

    def _measured(self, engine: Engine) -> "Timing[Probability]":
        return measure(
            lambda: engine(self.section),
            self.device,
            self.repeats,
            compiles=engine.name == "compile",
        )

    def _row(
        self,
        engine: Literal["plain"] | EngineName,
        precision: Arithmetic,
        timing: "Timing[Probability]",
        plain: "Timing[Probability]",
    ) -> Row:
        tflops = self._flop / timing.seconds / 1e12
        return Row(
            self.arch,
            engine,
            precision,
            timing.seconds,
            timing.passes,
            megapixels_s=self.section.size / timing.seconds / 1e6,
            flop=self._flop,
            tflops=tflops,
            percent_of_matmul=100 * tflops / self._best_tflops,
            times_plain=plain.seconds / timing.seconds,
            disagreement=float(np.abs(timing.value - plain.value).max()),
        )


def _rank(row: Row) -> tuple[bool, float]:
    """Order rows: those that agree with float32 first, then the fastest; NaN does not agree."""
    return not row.disagreement <= MOST_DISAGREEMENT, row.seconds


def _plain(
    network: nn.Module, section: Normalised, device: torch.device
) -> Callable[[], Probability]:
    """Make the call of a user who has the network and nothing else."""
    network = network.to(device)

    def run() -> Probability:
        with torch.no_grad():
            logits = network(torch.from_numpy(section)[:, None].to(device))
            return cast("Probability", torch.sigmoid(logits)[:, 0].cpu().numpy())

    return run


def _count_flop(network: nn.Module, pixels: int) -> int:
    """Count the operations of a section: those of a small one, scaled, as all layers scale."""
    small = torch.zeros(1, 1, STRIDE, STRIDE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(small)
    return int(counter.get_total_flops()) * pixels // small.numel()


def _end_to_end(race: _Race, volume: AnyArray, report: Report) -> EndToEnd:
    """Predict the stack from file to file with the fastest engine of a race."""
    row, engine = race.best
    report(f"measuring predict, from file to file: {row.engine} in {row.precision}")
    config = PredictConfig(engine=engine.name, precision=row.precision, overwrite=True)
    choice = Choice(engine.name, dtype_name(engine.dtype))
    network, header = load_weights(SHIPPED_MODEL)
    model = Model(network, header, engine, choice, halo_px(network, STRIDE), weights_sha256="")
    with tempfile.TemporaryDirectory() as folder:
        job = Job(str(Path(folder, "volume.tif")), Path(folder, "map.tif"))
        write_stack(Path(job.source), volume, volume.shape, volume.dtype)
        timing = measure(
            lambda: predict_file(job, model, config),
            race.device,
            race.repeats,
            compiles=engine.name == "compile",
        )
    return _shares(timing, engine.name, race.rows[0], row.precision)


def _shares(
    timing: "Timing[PredictResult]", engine: EngineName, plain: Row, precision: Arithmetic
) -> EndToEnd:
    """Say where the time of a prediction went."""
    result = timing.value
    stages = {name.removesuffix("_s"): seconds for name, seconds in result.stages.items()}
    stages["rest"] = result.seconds - stages["compute"]
    each = result.seconds / result.shape[0]
    return EndToEnd(
        SHIPPED_MODEL,
        engine,
        precision,
        result.shape,
        result.seconds,
        timing.passes,
        each,
        percent={name: 100 * seconds / result.seconds for name, seconds in stages.items()},
        times_plain=plain.seconds / each,
        overhead_percent=100 * stages["rest"] / stages["compute"],
    )
