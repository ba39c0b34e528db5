"""Run a network on a CPU in int8, with the convolutions that PyTorch takes from oneDNN.

An activation x is stored in uint8, as its *level*: x = scale * (level - zero). The ranges of the
activations are measured before; see `sfseg.prediction.engines.calibrate`. A kernel has int8
weights, with a scale for each output channel. The sums are whole numbers, so they are exact.

Activations that meet need levels that fit together. Where two are added, they have one scale and
share the 255 levels: the sum of the levels is the level of the sum, and never overflows. Where two
are joined along the channels, they have one zero; their scales go into the weights.
"""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfseg.errors import DeviceError
from sfseg.models.blocks import Conv, Deconv, Res
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate
from sfseg.prediction.engines.blockwise import Blockwise, bias_of, convolution_of
from sfseg.prediction.engines.eager import blockwise_engine
from sfseg.prediction.engines.engine import Engine, Quantisation, Range
from sfseg.prediction.engines.fold import fold

TOP = 255
"""The highest level."""

INPUT = "input"
"""Name of the normalised section among the ranges; the others have the names of their layers."""

WEIGHT_LEVELS = (127, 64)
"""Largest weight: of 8 bits; and where products are added in pairs, in 16 bits that saturate."""

LEAST_SHARE = 0.25
"""Of the levels below 0, so many are above, even if an activation is never positive there."""

LEAST_WIDTH = 1e-6
"""Of a range: a layer that gives one number has none, and a scale is not 0."""


@dataclass(frozen=True)
class Levels:
    """How an activation is stored.

    Attributes
    ----------
    scale : float
        Width of a level.
    zero : int
        The level of 0.
    last : int
        The highest level in use.
    """

    scale: float
    zero: int = 0
    last: int = TOP

    @classmethod
    def from_range(cls, span: Range) -> "Levels":
        """Spread all levels over a range."""
        scale = _width(span) / TOP
        return cls(scale, round(-_low(span) / scale))

    @classmethod
    def shared(cls, one: Range, other: Range) -> tuple["Levels", "Levels"]:
        """Give two activations that are added one scale, and share the levels out."""
        scale = (_width(one) + _width(other)) / TOP
        last = round(_width(one) / scale)
        return (
            cls(scale, round(-_low(one) / scale), last),
            cls(scale, round(-_low(other) / scale), TOP - last),
        )

    @classmethod
    def joined(cls, one: Range, positive: Range) -> tuple["Levels", "Levels"]:
        """Give two activations that are joined along the channels one zero."""
        first = cls.from_range((one[0], max(one[1], -LEAST_SHARE * one[0])))
        return first, cls(_width(positive) / (TOP - first.zero), first.zero)


def _low(span: Range) -> float:
    return min(span[0], 0.0)  # 0 has a level, as the padding is 0


def _width(span: Range) -> float:
    return max(span[1] - _low(span), -_low(span), LEAST_WIDTH)


@dataclass(frozen=True)
class _Signal:
    """What a layer gets: the scale of each channel, and the level of 0."""

    scales: tuple[float, ...]
    zero: int


class Int8Layers:
    """Layers of a `Blockwise` in int8; see `sfseg.prediction.engines.blockwise.Layers`.

    Parameters
    ----------
    network : EncoderDecoder
        Folded.
    quantisation : Quantisation
        The ranges of its activations, and the largest weight.
    """

    dtype = torch.uint8

    def __init__(self, network: EncoderDecoder, quantisation: Quantisation) -> None:
        self._weight_levels = quantisation.weight_levels
        self._input = Levels.from_range(quantisation.ranges[INPUT])
        self._out = _find_levels(network, quantisation.ranges)
        self._in = _connect(network, self._input, self._out)

    def enter(self, section: Tensor) -> Tensor:
        """Turn a section, float32 (Y, X), into levels, (1, 1, Y, X)."""
        levels = (section / self._input.scale).round_().add_(self._input.zero)
        return levels.clamp_(0, TOP).to(self.dtype)[None, None]

    def convolution(self, block: nn.Module, weight: Tensor, pad: int) -> nn.Module:
        """Make a convolution of a `Conv`, `Output` or `Deconv`; its bias and ReLU included."""
        signal, levels = self._in[block], self._out.get(block)
        weight = weight * torch.tensor(signal.scales)[:, None, None]  # from levels to numbers
        after = _after(levels, relu=isinstance(block, Conv))
        return Int8Convolution(
            weight, bias_of(block), signal.zero, after, pad, weight_levels=self._weight_levels
        )

    def pool(self, x: Tensor) -> Tensor:
        """Halve Y and X: the maximum of each 2x2 pixels, which `max_pool2d` refuses in uint8."""
        rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def _find_levels(network: EncoderDecoder, ranges: Mapping[str, Range]) -> dict[nn.Module, Levels]:
    """Decide how the output of each `Conv` and `Deconv` is stored."""
    span: dict[nn.Module, Range] = {
        module: ranges[name]
        for name, module in network.named_modules()
        if isinstance(module, Conv | Deconv)
    }
    levels = {module: Levels.from_range(span[module]) for module in span}
    for one, other in _added(network):
        levels[one], levels[other] = Levels.shared(span[one], span[other])
    meet = Levels.joined if network.join is concatenate else Levels.shared
    for down, deconv in zip(network.down, reversed(network.deconv), strict=True):
        skip = _last_conv(down)
        levels[deconv], levels[skip] = meet(span[deconv], span[skip])
    return levels


def _added(network: EncoderDecoder) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield the two layers whose outputs each `Res` adds: the one before it, and its last."""
    for sequence in network.modules():
        if isinstance(sequence, nn.Sequential):
            for before, res in pairwise(sequence):
                if isinstance(res, Res):
                    yield before, _last_conv(res)


def _last_conv(block: nn.Module) -> nn.Module:
    return [module for module in block.modules() if isinstance(module, Conv)][-1]


def _connect(
    network: EncoderDecoder, entry: Levels, out: Mapping[nn.Module, Levels]
) -> dict[nn.Module, _Signal]:
    """Follow the activations through a network; return what each convolution gets."""
    found: dict[nn.Module, _Signal] = {}

    def walk(block: nn.Module, x: _Signal) -> _Signal:
        if isinstance(block, Conv | Deconv):
            found[block] = x
            levels = out[block]
            return _Signal((levels.scale,) * convolution_of(block).out_channels, levels.zero)
        if isinstance(block, Res):
            walk(block.convs, x)
            return x  # the sum has the scale of both, and the second one's level of 0 is 0
        for layer in block.children():
            x = walk(layer, x)
        return x

    x, skips = _Signal((entry.scale,), entry.zero), []
    for down in network.down:
        x = walk(down, x)
        skips.append(x)
    x = walk(network.bridge, x)
    for deconv, up in zip(network.deconv, network.up, strict=True):
        doubled, skip = walk(deconv, x), skips.pop()
        both = _Signal(doubled.scales + skip.scales, skip.zero)
        x = walk(up, both if network.join is concatenate else doubled)
    found[network.output] = x
    return found


def _after(levels: Levels | None, *, relu: bool) -> tuple[object, ...]:
    """List what follows the sums: scale, level of 0, type, and the function that is applied."""
    if levels is None:  # the logits
        return 1.0, 0, torch.float32, "none", [], ""
    what: tuple[str, list[float]] = ("relu" if relu else "none", [])
    if levels.last < TOP:
        lowest = 0.0 if relu else -levels.zero * levels.scale
        what = "hardtanh", [lowest, (levels.last - levels.zero) * levels.scale]
    return levels.scale, levels.zero, torch.uint8, *what, ""


class Int8Convolution(nn.Module):
    """A convolution of levels, with bias, ReLU and rounding in one pass over memory.

    Parameters
    ----------
    weight : Tensor of float32, shape (C', C, Y, X)
        From levels to numbers.
    bias : Tensor of float32, shape (C',), or None
        Of the numbers.
    zero : int
        The level of 0 in the input.
    after : tuple
        What follows the sums, as `qconv2d_pointwise` takes it.
    pad : int
        Rows and columns of 0 that are added at each side.
    weight_levels : int
        The largest weight.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        zero: int,
        after: tuple[object, ...],
        pad: int,
        *,
        weight_levels: int,
    ) -> None:
        super().__init__()
        largest = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(LEAST_WIDTH * LEAST_WIDTH)
        self.levels = (weight / largest * weight_levels).round_().to(torch.int8)
        self.scale = largest.flatten() / weight_levels
        self.bias, self.zero, self.after, self.pads = bias, zero, after, [pad, pad]
        self.weight_zeros = torch.zeros(len(weight), dtype=torch.int32)
        # 96x512: a typical input, for which the weights are ordered
        self.packed = torch.ops.onednn.qconv_prepack(
            *(self.levels, self.scale, 1.0, zero),
            *([1, 1], self.pads, [1, 1], 1, [1, weight.shape[1], 96, 512]),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map uint8 (B, C, Y, X) to uint8 or float32 (B, C', Y, X), both channels last."""
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(x, 1.0, self.zero, self.packed, self.scale, self.weight_zeros, self.bias),
            *([1, 1], self.pads, [1, 1], 1),
            *self.after,
        )
        return out


def int8_engine(network: nn.Module, quantisation: Quantisation) -> Engine:
    """Make the engine `torch` in int8, on the CPU.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    quantisation : Quantisation
        The ranges of its activations, and the largest weight.

    Returns
    -------
    Engine
        The result of a section does not depend on the rest of the batch, to the bit.

    Raises
    ------
    DeviceError
        If this machine cannot compute with such weights.
    """
    if reason := why_no_int8():
        problem: str | None = reason
    elif quantisation.weight_levels > find_weight_levels():
        problem = "the run began on a processor with VNNI, which this one lacks"
    else:
        problem = None
    if problem:
        raise DeviceError(
            f"precision int8: {problem}",
            hint="start again with --precision auto, without --resume",
        )
    folded = fold(network)
    blockwise = Blockwise(folded, Int8Layers(folded, quantisation))
    return blockwise_engine(blockwise, torch.int8, quantisation)


def why_no_int8() -> str | None:
    """Say why this machine cannot compute in int8; None if it can."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "it needs a processor of the type x86-64"
    if not _has_operators():
        return f"PyTorch {torch.__version__} lacks its operators"
    if find_weight_levels() == 0:
        return f"PyTorch {torch.__version__} gives wrong sums on this processor"
    return None


def _has_operators() -> bool:
    names = ("qconv_prepack", "qconv2d_pointwise")
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and all(hasattr(torch.ops.onednn, name) for name in names)


def has_fast_int8() -> bool:
    """Tell whether the processor has instructions for int8: VNNI, with or without AVX-512, or AMX.

    With a PyTorch that cannot list the instructions, the answer is no.
    """
    found: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


@cache
def find_weight_levels() -> int:
    """Find the largest weight with which the sums are right on this processor; 0 if none is.

    Notes
    -----
    Without VNNI, oneDNN adds two products of uint8 and int8 in 16 bits, which saturate (vpmaddubsw,
    measured with PyTorch 2.13). With weights of 7 bits they fit: 2 * 255 * 64 = 32640.
    """
    return next((levels for levels in WEIGHT_LEVELS if _is_exact(levels)), 0)


def _is_exact(weight_levels: int) -> bool:
    """Compare a convolution of the highest levels and the largest weights with whole numbers."""
    channels, side = 64, 16
    signs = torch.ones(channels, channels, 3, 3)
    signs[1::2] = -1
    x = torch.full((1, channels, side, side), TOP, dtype=torch.uint8)
    x = x.contiguous(memory_format=torch.channels_last)
    try:
        convolution = Int8Convolution(
            signs, None, 0, _after(None, relu=False), 1, weight_levels=weight_levels
        )
        found = convolution(x)
    except RuntimeError:  # the operators are there, and not for this processor
        return False
    sums = functional.conv2d(x.double(), convolution.levels.double(), padding=1)
    wanted = sums * convolution.scale[:, None, None]
    return torch.allclose(found.double(), wanted, rtol=1e-5)
