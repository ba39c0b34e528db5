"""Measure on this machine how fast the networks run, against the machine and against plain PyTorch.

All figures come from one run, so that their ratios hold on a machine that is slow today.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from sfseg.benchmark.end_to_end import EndToEnd, predict_stack
from sfseg.benchmark.inference import InferenceBenchmark, InferenceRow, Report
from sfseg.benchmark.training import TrainingRow, measure_training
from sfseg.config import SHIPPED_MODEL, BenchConfig, EngineName
from sfseg.datasets.synthetic import make_tissue
from sfseg.models import build
from sfseg.models.weights import load_header, load_weights
from sfseg.prediction.engines import ENGINES
from sfseg.system.devices import pick_device
from sfseg.system.machine import Machine, Rates, describe_machine, measure_rates
from sfseg.transforms.normalise import standardise

__all__ = ["BenchResult", "EndToEnd", "InferenceRow", "TrainingRow", "bench"]

SECTIONS = 8
"""Of the stack that is predicted from file to file: the first read and the last write, which
overlap with nothing, are an eighth of all."""


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
        For each architecture plain, then engine by engine, float32 before bf16.
    end_to_end : EndToEnd or None
        None if training is measured, or the architecture of the shipped weights is not.
    training : tuple of TrainingRow
        If training is measured: for each architecture plain, then engine by engine. `rows` is
        empty then.
    """

    config: BenchConfig
    machine: Machine
    rates: Rates
    rows: tuple[InferenceRow, ...] = ()
    end_to_end: EndToEnd | None = None
    training: tuple[TrainingRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain values, not rounded, in the order of the JSON output."""
        return asdict(self)


def bench(
    config: BenchConfig = BenchConfig(),  # noqa: B008 - frozen
    *,
    report: Report = lambda _: None,
) -> BenchResult:
    """Measure the machine, the networks on it, and a prediction from file to file; or training.

    Networks of the architecture of the shipped weights use them. The others have random weights,
    so their disagreement says little about trained ones.

    Parameters
    ----------
    config : BenchConfig
        What to measure.
    report : callable
        Called with a line of text before each measurement.

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
    networks = {arch: _network(arch) for arch in config.archs}
    engines = _engines(config, device, networks[config.archs[0]])
    machine = describe_machine(device)
    report("measuring the machine")
    rates = measure_rates(device)
    if config.train:
        training = measure_training(config, engines, device, rates, report)
        return BenchResult(config, machine, rates, training=training)
    volume, _ = make_tissue((SECTIONS, config.side_px, config.side_px))
    benchmarks = [
        InferenceBenchmark(
            arch, network, standardise(volume[0])[None], device, config.repeats, rates
        )
        for arch, network in networks.items()
    ]
    for benchmark in benchmarks:
        benchmark.run(engines, report)
    shipped = load_header(SHIPPED_MODEL)
    ours = [benchmark for benchmark in benchmarks if benchmark.arch == shipped.arch]
    end_to_end = predict_stack(ours[0], volume, report) if ours else None
    rows = tuple(row for benchmark in benchmarks for row in benchmark.rows)
    return BenchResult(config, machine, rates, rows, end_to_end)


def _network(arch: str) -> nn.Module:
    """Load the shipped weights, or draw random ones for another architecture."""
    network, header = load_weights(SHIPPED_MODEL)
    return network if header.arch == arch else build(arch).eval()


def _engines(config: BenchConfig, device: torch.device, network: nn.Module) -> list[EngineName]:
    """List the engines that run here; fail before the first measurement, not in the middle."""
    if not config.engines:  # compile takes minutes, so it is measured only on request
        return ["torch"]
    for name in config.engines:
        ENGINES[name](network, device, torch.float32)
    return list(dict.fromkeys(config.engines))
