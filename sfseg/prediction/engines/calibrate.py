"""Calibrate a network for int8: measure the ranges of its activations, compare with float32.

Of minimum and maximum, the 99.99th percentile and the range of the least squared error, minimum and
maximum came closest to float32, on the training sections of ISBI 2012 and on synthetic tissue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.errors import DeviceError
from sfseg.models.encoder_decoder import EncoderDecoder
from sfseg.prediction.engines.blockwise import Blockwise, FloatLayers
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.engine import Agreement, Engine, Quantisation, Range
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.int8 import INPUT, find_weight_levels, int8_engine
from sfseg.types import Normalised

MOST_LOSS = 0.002
"""Of V_Rand; a network that loses more is refused."""

COMPARED = 2
"""Windows to compare. If they lose too much, all decide: one doubtful membrane is 0.01 in one."""


def calibrate(
    network: nn.Module, windows: Iterable[Normalised], held_out: Iterable[Normalised]
) -> Engine:
    """Make an engine in int8, and compare it with float32.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    windows : iterable of ndarray of float32, shape (Y, X)
        Normalised parts of sections, which set the ranges. Y and X are multiples of 16.
    held_out : iterable of ndarray
        Other parts, to compare on. The first ones are used; if they lose too much, all of them.

    Returns
    -------
    Engine
        On the CPU. Its ``quantisation`` says how near it is to float32.

    Raises
    ------
    DeviceError
        If it loses more than `MOST_LOSS`, or this machine cannot compute in int8.
    """
    fast = quantise(network, windows)
    exact = torch_engine(network, torch.device("cpu"), torch.float32)
    maps = ((exact(one[None])[0], fast(one[None])[0]) for one in held_out)
    compared = list(islice(maps, COMPARED))
    agreement = compare(compared)
    if not agreement.loss <= MOST_LOSS:
        agreement = compare([*compared, *maps])
    if not agreement.loss <= MOST_LOSS:
        raise DeviceError(
            f"precision int8: too far from float32 on this input: {agreement}",
            hint="use --precision auto",
        )
    measured = cast("Quantisation", fast.quantisation)
    return replace(fast, quantisation=replace(measured, agreement=agreement))


def quantise(network: nn.Module, windows: Iterable[Normalised]) -> Engine:
    """Make an engine in int8, and compare it with nothing; see `calibrate`."""
    ranges = measure_ranges(fold(network), windows)
    return int8_engine(network, Quantisation(find_weight_levels(), ranges))


def measure_ranges(network: EncoderDecoder, windows: Iterable[Normalised]) -> dict[str, Range]:
    """Measure the smallest and the largest value of the section and of the output of each layer.

    Parameters
    ----------
    network : EncoderDecoder
        Folded, float32.
    windows : iterable of ndarray of float32, shape (Y, X)
        Normalised; at least one.

    Returns
    -------
    dict of str to tuple of float
        The ranges, by the name of the layer in the network.
    """
    layers = _MeasuringLayers()
    blockwise = Blockwise(network, layers)
    with torch.inference_mode():
        for window in windows:
            blockwise(torch.from_numpy(window))
    names = {module: name for name, module in network.named_modules()}
    return {names.get(module, INPUT): span for module, span in layers.ranges.items()}


class _MeasuringLayers(FloatLayers):
    """Layers in float32 that note the ranges of what they give; None is the section."""

    def __init__(self) -> None:
        super().__init__(torch.float32)
        self.ranges: dict[nn.Module | None, Range] = {}

    def enter(self, section: Tensor) -> Tensor:
        self._note(None, section)
        return super().enter(section)

    def convolution(self, block: nn.Module, weight: Tensor, pad: int) -> nn.Module:
        layer = super().convolution(block, weight, pad)
        layer.register_forward_hook(lambda _layer, _input, output: self._note(block, output))
        return layer

    def _note(self, block: nn.Module | None, values: Tensor) -> None:
        low, high = (float(value) for value in values.aminmax())
        known = self.ranges.get(block, (low, high))
        self.ranges[block] = min(low, known[0]), max(high, known[1])


def compare(maps: Sequence[tuple[Normalised, Normalised]]) -> Agreement:
    """Compare maps in float32, the first of each pair, with those in int8."""
    from sfseg.scoring.score import score_sections  # numba, which takes a second to import

    off = np.concatenate([np.abs(exact - fast).ravel() for exact, fast in maps])
    truths = [np.where(exact > 0.5, 255, 0).astype(np.uint8) for exact, _ in maps]
    scored = [(fast, truth) for (_, fast), truth in zip(maps, truths, strict=True) if truth.any()]
    # without a cell there is nothing to score
    v_rand = score_sections(*zip(*scored, strict=True)).v_rand if scored else 1.0
    return Agreement(v_rand, float(off.max()), float(off.mean()), off.size)
