"""Calibrate a network for int8: measure the ranges of its activations, compare with float32.

Of minimum and maximum, the 99.99th percentile and the range of the least squared error, minimum and
maximum came closest to float32, on the training sections of ISBI 2012 and on synthetic tissue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from sfseg.transforms.empty import Mask
from sfseg.types import Normalised

MOST_LOSS = 0.002
"""Of V_Rand; a network that loses more is refused."""

COMPARED = 2
"""Samples to compare. If they lose too much, all decide: one doubtful membrane is 0.01 in one."""

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Of the exact map. A membrane that is doubtful at one of them decides nothing at another."""


@dataclass(frozen=True)
class Sample:
    """A window of a section.

    Attributes
    ----------
    image : ndarray of float32, shape (Y, X)
        Normalised.
    empty : ndarray of bool, shape (Y, X), or None
        Which pixels hold no tissue, so that they are 0 in an output; None if all do.
    """

    image: Normalised
    empty: Mask | None = None


def calibrate(network: nn.Module, samples: Iterable[Sample], held_out: Iterable[Sample]) -> Engine:
    """Make an engine in int8, and compare it with float32.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    samples : iterable of Sample
        Parts of sections, which set the ranges. Y and X are multiples of 16.
    held_out : iterable of Sample
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
    fast = quantise(network, (sample.image for sample in samples))
    exact = torch_engine(network, torch.device("cpu"), torch.float32)
    maps = ((_output(exact, sample), _output(fast, sample)) for sample in held_out)
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


def _output(engine: Engine, sample: Sample) -> Normalised:
    """Predict a sample; empty pixels are 0, as in an output."""
    probability = engine(sample.image[None])[0]
    return probability if sample.empty is None else np.where(sample.empty, 0, probability)


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
    """Compare maps in float32, the first of each pair, with those in int8.

    The V_Rand is that of the threshold at which they agree best.
    """
    off = np.concatenate([np.abs(exact - fast).ravel() for exact, fast in maps])
    v_rand = max(_score(maps, threshold) for threshold in THRESHOLDS)
    return Agreement(v_rand, float(off.max()), float(off.mean()), off.size)


def _score(maps: Sequence[tuple[Normalised, Normalised]], threshold: float) -> float:
    """Score maps in int8 against the cells of those in float32, above a threshold."""
    from sfseg.scoring.score import score_sections  # numba, which takes a second to import

    truths = [np.where(exact > threshold, 255, 0).astype(np.uint8) for exact, _ in maps]
    scored = [(fast, truth) for (_, fast), truth in zip(maps, truths, strict=True) if truth.any()]
    # without a cell there is nothing to score
    return score_sections(*zip(*scored, strict=True)).v_rand if scored else 1.0
