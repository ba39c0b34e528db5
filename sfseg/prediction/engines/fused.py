"""Run a network on a GPU level by level, with as few passes over memory as possible.

Each level down writes its skip where the level up reads it: into the second half of the channels of
the join, whose first half the doubling fills. So nothing is copied to be concatenated. Where a join
adds, the doubling adds to the skip in its place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from sfseg.models.blocks import Conv, Deconv, Output, Res
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate
from sfseg.prediction.engines.operations import (
    Convolution,
    Doubling,
    FirstConvolution,
    Guard,
    LastConvolution,
    Operation,
    Pool,
    Squeeze,
    Target,
)

Layer = Callable[[Tensor], Tensor]


class Fused:
    """A network of fused steps, for any device.

    Parameters
    ----------
    network : EncoderDecoder
        Folded, float32; see `sfseg.prediction.engines.fold`.
    target : Target
        Where it runs, and in which arithmetic.
    """

    def __init__(self, network: EncoderDecoder, target: Target) -> None:
        self.target = target
        self._concatenates = network.join is concatenate
        self._down = [_LevelDown.pack(block, target, self._concatenates) for block in network.down]
        self._first = _take_first(self._down[0])
        self._bridge = _pack(_flatten(network.bridge), target)
        self._up = [
            _LevelUp.pack(deconv, up, target, adds=not self._concatenates)
            for deconv, up in zip(network.deconv, network.up, strict=True)
        ]
        self._last = LastConvolution(_output(network), target)

    def __call__(self, sections: Tensor) -> tuple[Tensor, Tensor]:
        """Predict a batch; nothing waits for the device.

        Parameters
        ----------
        sections : Tensor of float32, shape (B, Y, X)
            Normalised, on the device; Y and X multiples of 16.

        Returns
        -------
        probability : Tensor of float32, shape (B, Y, X)
            Interior probability, on the device.
        overflow : Tensor of int32, shape ()
            1 if an activation was too large for float16, so that the probability is not valid.
        """
        guard = Guard(self.target)
        x, joins = self._first(sections, guard), []
        for down in self._down:
            for layer in down.layers:
                x = layer(x)  # (B, C, Y/n, X/n), n = 1, 2, 4, 8
            join, skip = self._make_join(x, down)
            x = down.tail(x, skip, guard)  # (B, C', Y/2n, X/2n)
            joins.append(join)
            del join, skip  # else the memory of this one is not free on the way up
        for layer in self._bridge:
            x = layer(x)  # (B, C, Y/16, X/16)
        for up in self._up:
            half = joins[-1].shape[1] // (1 + self._concatenates)
            up.double(x, joins[-1][:, :half], guard)
            x = joins.pop()  # (B, C, Y/n, X/n), n = 8, 4, 2, 1
            for layer in up.layers:
                x = layer(x)
            if up.squeeze is not None:
                x = up.squeeze(x, self._empty_like(x, up.squeeze.channels[1]), guard)
        return self._last(x, guard), guard.flag

    def _make_join(self, x: Tensor, down: "_LevelDown") -> tuple[Tensor, Tensor | None]:
        """Return the join of a level, and the part of it that the tail fills with the skip."""
        channels = down.tail.channels[1]
        if self._concatenates:
            join = self._empty_like(x, 2 * channels)
            return join, join[:, channels:]
        if isinstance(down.tail, Pool):
            return x, None  # the skip is there already
        join = self._empty_like(x, channels)
        return join, join

    def _empty_like(self, x: Tensor, channels: int) -> Tensor:
        return self.target.empty(x.shape[0], channels, x.shape[2], x.shape[3])

    @property
    def widest(self) -> int:
        """Most channels of a pixel of the section, so of the activation with the most numbers."""
        finest = (self._down[0], self._up[-1])
        steps = [one for level in finest for one in _operations(level.layers)]
        return max(channels for one in (*steps, self._last) for channels in one.channels)

    def operations(self) -> Iterator[Operation]:
        """List all steps that may be fused, in order."""
        yield self._first
        for down in self._down:
            yield from _operations(down.layers)
            yield down.tail
        yield from _operations(self._bridge)
        for up in self._up:
            yield up.double
            yield from _operations(up.layers)
            if up.squeeze is not None:
                yield up.squeeze
        yield self._last


@dataclass(frozen=True)
class _LevelDown:
    """The layers of a level on the way down, and the step that makes the skip and pools it."""

    layers: list[Layer]
    tail: Squeeze | Pool

    @classmethod
    def pack(cls, block: nn.Module, target: Target, copies: bool) -> "_LevelDown":
        blocks = _flatten(block)
        if _is_squeeze(blocks[-1]):
            *blocks, last = blocks
            return cls(_pack(blocks, target), Squeeze(_conv(last), target, pools=True))
        convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
        tail = Pool(convs[-1].out_channels, target, copies=copies)
        return cls(_pack(blocks, target), tail)


@dataclass(frozen=True)
class _LevelUp:
    """The doubling that fills the join of a level, its layers on the way up, and the last one."""

    double: Doubling
    layers: list[Layer]
    squeeze: Squeeze | None

    @classmethod
    def pack(cls, deconv: nn.Module, block: nn.Module, target: Target, *, adds: bool) -> "_LevelUp":
        if not isinstance(deconv, Deconv):
            raise TypeError(f"{type(deconv).__name__} is not a block of sfseg.models")
        blocks, squeeze = _flatten(block), None
        if _is_squeeze(blocks[-1]):
            squeeze = Squeeze(_conv(blocks.pop()), target, pools=False)
        return cls(Doubling(deconv, target, adds=adds), _pack(blocks, target), squeeze)


class _Residual:
    """Convolutions whose output is added to their input."""

    def __init__(self, convs: list[Convolution]) -> None:
        self.convs = convs

    def __call__(self, x: Tensor) -> Tensor:
        out = x
        for conv in self.convs:
            out = conv(out)
        return out.add_(x)


def _flatten(block: nn.Module) -> list[nn.Module]:
    """List the `Conv` and `Res` of a block."""
    if isinstance(block, Conv | Res):
        return [block]
    if isinstance(block, nn.Sequential):
        return [one for part in block for one in _flatten(part)]
    raise TypeError(f"{type(block).__name__} is not a block of sfseg.models")


def _pack(blocks: list[nn.Module], target: Target) -> list[Layer]:
    """Make the layers of folded `Conv` and `Res`."""
    return [_layer(block, target) for block in blocks]


def _layer(block: nn.Module, target: Target) -> Layer:
    if isinstance(block, Res):
        return _Residual([Convolution(_conv(conv), target) for conv in block.convs])
    conv = _conv(block)
    return (FirstConvolution if conv.in_channels == 1 else Convolution)(conv, target)


def _conv(block: nn.Module) -> nn.Conv2d:
    """Return the convolution of a folded `Conv`."""
    if isinstance(block, Conv) and isinstance(conv := block[0], nn.Conv2d):
        return conv
    raise TypeError(f"{type(block).__name__} is not a convolution of sfseg.models")


def _is_squeeze(block: nn.Module) -> bool:
    return isinstance(block, Conv) and _conv(block).kernel_size == (1, 1)


def _take_first(down: _LevelDown) -> FirstConvolution:
    """Take the first layer of the finest level out of it: it looks at what it makes as well."""
    if isinstance(first := down.layers.pop(0), FirstConvolution):
        return first
    raise TypeError("the first layer is not that of sfseg.models")


def _output(network: EncoderDecoder) -> Output:
    if not isinstance(network.output, Output):
        raise TypeError("the last layer is not that of sfseg.models")
    return network.output


def _operations(layers: list[Layer]) -> Iterator[Operation]:
    for layer in layers:
        if isinstance(layer, _Residual):
            yield from layer.convs
        elif isinstance(layer, Operation):
            yield layer
