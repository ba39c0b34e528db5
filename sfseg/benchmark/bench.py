"""Measure on this machine how fast the networks run, against the machine and against plain PyTorch.

All figures come from one run, so that their ratios hold on a machine that is slow today.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from sfseg.benchmark.end_to_end import EndToEnd, predict_stack
from sfseg.benchmark.inference import (
    InferenceBenchmark,
    InferenceRow,
    Report,
    batch_sizes,
    ways,
)
from sfseg.benchmark.training import TrainingRow, measure_training
from sfseg.config import SHIPPED_MODEL, BenchConfig, EngineName
from sfseg.datasets.synthetic import make_tissue
from sfseg.models import build
from sfseg.models.cost import count_flop
from sfseg.models.weights import WeightsFile, open_weights
from sfseg.prediction.engines import ENGINES
from sfseg.system.devices import pick_device
from sfseg.system.machine import Machine, Rates, describe_machine, measure_rates
from sfseg.transforms.normalise import standardise

__all__ = ["BenchResult", "EndToEnd", "InferenceRow", "TrainingRow", "bench"]

SECTIONS = 8
"""Of the stack that is predicted from file to file: the first read and the last write, which
overlap with nothing, are an eighth of all."""

BenchReport = Callable[[str, int, int], None]
"""Called with a line of text before each measurement, and the operations done so far and in all.

Operations tell the time left better than a number of measurements: that of a large network takes
ten times as long as that of a small one."""


@dataclass(frozen=True)
class BenchResult:
    """Everything that was measured in one run.

    Attributes
    ----------
    config : BenchConfig
        The configuration.
    machine : Machine
        The machine.
    rates : Rates
        The peak rates of the machine.
    rows : tuple of InferenceRow
        For each architecture plain, then engine by engine, float32 before bf16 before int8.
    end_to_end : tuple of EndToEnd
        By the fastest engine, then in int8, where it runs. Empty if training is measured, or the
        architecture of the shipped weights is not.
    training : tuple of TrainingRow
        If training is measured: for each architecture plain, then engine by engine. `rows` is
        empty then.
    """

    config: BenchConfig
    machine: Machine
    rates: Rates
    rows: tuple[InferenceRow, ...] = ()
    end_to_end: tuple[EndToEnd, ...] = ()
    training: tuple[TrainingRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain values, not rounded, in the order of the JSON output."""
        return asdict(self)


def bench(
    config: BenchConfig = BenchConfig(),  # noqa: B008 - frozen
    *,
    report: BenchReport = lambda *_: None,
) -> BenchResult:
    """Measure the machine, the networks on it, and a prediction from file to file; or training.

    Networks of the architecture of the shipped weights use them. The others have random weights,
    so their disagreement says little about trained ones.

    Parameters
    ----------
    config : BenchConfig
        What to measure.
    report : callable
        Called before each measurement; see `BenchReport`.

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
        If the temporary folder cannot be written to.
    """
    device = pick_device(config.device)
    shipped = open_weights(SHIPPED_MODEL)
    networks = {arch: _network(arch, shipped) for arch in config.archs}
    engines = _engines(config, device, networks[config.archs[0]])
    machine = describe_machine(device)
    say = _numbered(report, _operations(config, engines, device, networks, shipped.header.arch))
    say("measuring the machine")
    rates = measure_rates(device)
    if config.train:
        training = measure_training(config, engines, device, rates, say)
        return BenchResult(config, machine, rates, training=training)
    volume, _ = make_tissue((SECTIONS, config.side_px, config.side_px))
    benchmarks = [
        InferenceBenchmark(
            arch, network, standardise(volume[0])[None], device, config.repeats, rates
        )
        for arch, network in networks.items()
    ]
    for benchmark in benchmarks:
        benchmark.run(engines, say)
    ours = [benchmark for benchmark in benchmarks if benchmark.arch == shipped.header.arch]
    end_to_end = tuple(predict_stack(ours[0], volume, say)) if ours else ()
    rows = tuple(row for benchmark in benchmarks for row in benchmark.rows)
    return BenchResult(config, machine, rates, rows, end_to_end)


def _network(arch: str, shipped: WeightsFile) -> nn.Module:
    """Load the shipped weights, or draw random ones for another architecture."""
    return shipped.load() if shipped.header.arch == arch else build(arch).eval()


def _engines(config: BenchConfig, device: torch.device, network: nn.Module) -> list[EngineName]:
    """List the engines that run here; fail before the first measurement, not in the middle."""
    if not config.engines:  # compile takes minutes, so it is measured only on request
        return ["torch"]
    for name in config.engines:
        ENGINES[name](network, device, torch.float32)
    return list(dict.fromkeys(config.engines))


def _operations(
    config: BenchConfig,
    engines: Sequence[EngineName],
    device: torch.device,
    networks: Mapping[str, nn.Module],
    shipped: str,
) -> list[int]:
    """Count the operations of each measurement, in their order; 0 for that of the machine."""
    flop = {arch: count_flop(network, config.side_px**2) for arch, network in networks.items()}
    if config.train:  # plain steps of all networks, then those by each engine
        plain = [flop[arch] for arch in config.archs]
        return [0, *plain, *(one for one in plain for _ in engines)]
    found = ways(engines, device)
    sections = [1, *[sum(batch_sizes(device, config.side_px**2))] * len(found)]
    stacks = 1 + any(precision == "int8" for _, precision in found)
    stack = [SECTIONS * flop[shipped]] * stacks if shipped in flop else []
    return [0, *(number * one for one in flop.values() for number in sections), *stack]


def _numbered(report: BenchReport, operations: Sequence[int]) -> Report:
    """Make the report of the measurements: it numbers them and adds how far the work is."""
    count, total = len(operations), sum(operations)
    starts = enumerate(accumulate(operations, initial=0), 1)

    def say(line: str) -> None:
        number, done = next(starts)
        report(f"{number} of {count}: {line}", done, total)

    return say
