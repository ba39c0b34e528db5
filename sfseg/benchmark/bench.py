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
from sfseg.models.weights import load_weights
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
        What was asked for.
    machine : Machine
        Where.
    rates : Rates
        What the machine can do.
    rows : tuple of Row
        For each architecture plain, then engine by engine, float32 before bf16.
    end_to_end : EndToEnd or None
        None where the architecture of the shipped weights was not among those asked for, or
        training was.
    training : tuple of TrainingRow
        For each architecture plain, then engine by engine, where training was asked for; there are
        no other rows then.
    """

    config: BenchConfig
    machine: Machine
    rates: Rates
    rows: tuple[InferenceRow, ...] = ()
    end_to_end: EndToEnd | None = None
    training: tuple[TrainingRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the result as plain values, not rounded, in the order of the JSON output."""
        return asdict(self)


def bench(
    config: BenchConfig = BenchConfig(),  # noqa: B008 - frozen
    *,
    report: Report = lambda _: None,
) -> BenchResult:
    """Measure the machine, the networks on it, and a prediction from file to file; or training.

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
    races = [
        InferenceBenchmark(
            arch, network, standardise(volume[0])[None], device, config.repeats, rates
        )
        for arch, network in networks.items()
    ]
    for race in races:
        race.run(engines, report)
    _, shipped = load_weights(SHIPPED_MODEL)
    ours = [race for race in races if race.arch == shipped.arch]
    end_to_end = predict_stack(ours[0], volume, report) if ours else None
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
