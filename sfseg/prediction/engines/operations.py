"""The steps of a network on a GPU, each in two ways: public PyTorch, and a faster one.

A convolution is followed by passes over memory that cost as much as itself: bias, ReLU, pooling,
the copy into the input of the next level. Here each step does all of that in one pass, by cuDNN or
by a kernel of `sfseg.prediction.engines.kernels`. The `reference` of a step does the same in public
PyTorch, on any device. `sfseg.prediction.engines.probe` decides which one runs.

Activations are (B, C, Y, X), channels last. None is negative, but for those of a doubling.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfseg.models.blocks import Deconv, Output

SCALE = 2.0**-6
"""Activations in float16 are kept at this part of their size, so that they may be 64 times larger.

ReLU and max pooling commute with it, and it is a power of two: no digit is lost. The largest number
of float16 is 65504; activations of the shipped network go up to 12, and near one hot pixel that is
2000 standard deviations bright up to 2600."""

HEADROOM = 2.0**-4
"""An activation is too large from this part of the largest float16 on.

The guard looks at the section, so that the first activations are finite, and at the output of each
block. Inside of a block an activation may be larger, and if it becomes infinite there, a ReLU of
cuDNN may turn what follows from it to 0, unseen."""


@dataclass(frozen=True)
class Target:
    """Where the steps run, and in which arithmetic.

    Attributes
    ----------
    device, dtype : torch.device, torch.dtype
        Of the activations; the sums are float32.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def scale(self) -> float:
        """The part of their size at which activations are kept."""
        return SCALE if self.dtype == torch.float16 else 1.0

    def weights(self, weight: Tensor, *, exact: bool = False) -> Tensor:
        """Copy weights to the device, channels last; `exact`: in float32, in order."""
        if exact:
            return weight.detach().to(self.device, torch.float32).contiguous()
        weight = weight.detach().to(self.device, self.dtype)
        return weight.contiguous(memory_format=torch.channels_last) if weight.ndim == 4 else weight

    def empty(self, batch: int, channels: int, height: int, width: int) -> Tensor:
        """Allocate activations."""
        return torch.empty(
            (batch, channels, height, width),
            dtype=self.dtype,
            device=self.device,
            memory_format=torch.channels_last,
        )

    def draw(self, channels: int, side: int, seed: int = 0) -> Tensor:
        """Draw activations as they are after a ReLU, two sections of `side` and twice that."""
        generator = torch.Generator(self.device).manual_seed(seed)
        shape = 2, side, 2 * side, channels
        numbers = torch.randn(shape, generator=generator, device=self.device).relu_()
        return numbers.to(self.dtype).permute(0, 3, 1, 2)


class Guard:
    """Notes if an activation of a pass is too large for float16, without waiting for the GPU.

    Attributes
    ----------
    flag : Tensor of int32, shape ()
        1 if one is.
    limit : float
        Largest activation that is not; 0 where nothing is guarded.
    """

    def __init__(self, target: Target) -> None:
        self.flag = torch.zeros((), dtype=torch.int32, device=target.device)
        guarded = target.dtype == torch.float16
        self.limit = HEADROOM * torch.finfo(torch.float16).max if guarded else 0.0

    def look(self, x: Tensor, limit: float | None = None) -> None:
        """Note if one of these is too large, or is not a number."""
        if self.limit:
            fits = x.amax() <= (self.limit if limit is None else limit)
            torch.maximum(self.flag, (~fits).int(), out=self.flag)


class Operation:
    """A step of the network.

    Attributes
    ----------
    name : str
        What it does, for people.
    is_fused : bool
        Whether the faster way is taken.
    """

    name: ClassVar[str]

    def __init__(self, target: Target, channels: tuple[int, int]) -> None:
        self.target = target
        self.channels = channels
        self.is_fused = False

    @property
    def key(self) -> tuple[Any, ...]:
        """What its speed depends on; steps of one key run in the same way."""
        return self.name, *self.channels

    @property
    def can_fuse(self) -> bool:
        """Whether there is a faster way for this device, arithmetic and number of channels."""
        return find_kernels(self.target) is not None and min(self.channels) % 16 == 0

    def example(self, side: int) -> tuple[Any, ...]:
        """Make arguments for a call: the same ones each time, outputs filled with NaN."""
        raise NotImplementedError

    def reference(self, *args: Any) -> Tensor:
        """Compute it in public PyTorch."""
        raise NotImplementedError

    def fused(self, *args: Any) -> Tensor:
        """Compute it in the faster way."""
        raise NotImplementedError

    def __call__(self, *args: Any) -> Tensor:
        """Compute it in the way that was chosen."""
        return self.fused(*args) if self.is_fused else self.reference(*args)


class Convolution(Operation):
    """Convolution, bias and ReLU: (B, C, Y, X) to (B, C', Y, X)."""

    name = "convolution"

    def __init__(self, conv: nn.Conv2d, target: Target) -> None:
        super().__init__(target, (conv.in_channels, conv.out_channels))
        self.padding = int(conv.kernel_size[0]) // 2
        self.weight = target.weights(conv.weight)
        self.bias = target.weights(bias_of(conv) * target.scale)

    @property
    def key(self) -> tuple[Any, ...]:
        """A 1x1 convolution is another one."""
        return *super().key, self.padding

    @property
    def can_fuse(self) -> bool:
        """Whether cuDNN is there."""
        return has_cudnn(self.target.device)

    def example(self, side: int) -> tuple[Tensor]:
        return (self.target.draw(self.channels[0], side),)

    def reference(self, x: Tensor) -> Tensor:
        return torch.conv2d(x, self.weight, self.bias, padding=self.padding).relu_()

    def fused(self, x: Tensor) -> Tensor:
        # Not in PyTorch's documentation, but its own optimiser of TorchScript calls it.
        pads = [self.padding, self.padding]
        return torch.cudnn_convolution_relu(x, self.weight, self.bias, [1, 1], pads, [1, 1], 1)


class FirstConvolution(Operation):
    """The first convolution, with bias and ReLU: float32 (B, Y, X) to (B, C, Y, X)."""

    name = "first convolution"

    def __init__(self, conv: nn.Conv2d, target: Target) -> None:
        super().__init__(target, (conv.out_channels, conv.out_channels))
        self.weight = target.weights(conv.weight)
        taps = conv.weight[:, 0].flatten(1).T * target.scale  # (9, C)
        self.taps = target.weights(taps, exact=True)
        # At least so much that a grey value, which is scaled as well, is finite in float16.
        self.largest_tap = max(float(taps.detach().abs().max()), HEADROOM * target.scale)
        self.bias = target.weights(bias_of(conv) * target.scale)
        self.bias32 = target.weights(bias_of(conv) * target.scale, exact=True)

    def _limit(self, guard: Guard) -> float:
        """Return the largest grey value: nine such make an activation that is still finite."""
        return guard.limit / self.largest_tap

    def example(self, side: int) -> tuple[Tensor, Guard]:
        return self.target.draw(1, side)[:, 0].float().sub_(0.5), Guard(self.target)

    def reference(self, sections: Tensor, guard: Guard) -> Tensor:
        guard.look(sections.abs(), self._limit(guard))
        x = (sections[:, None] * self.target.scale).to(self.target.dtype)
        x = torch.conv2d(x, self.weight, self.bias, padding=1).relu_()
        return x.contiguous(memory_format=torch.channels_last)

    def fused(self, sections: Tensor, guard: Guard) -> Tensor:
        batch, height, width = sections.shape
        out = self.target.empty(batch, self.channels[1], height, width)
        limit = self._limit(guard)
        kernels().first(sections.contiguous(), self.taps, self.bias32, out, guard.flag, limit)
        return out


class Squeeze(Operation):
    """1x1 convolution, bias, ReLU into `out`; the result is it, or what 2x2 max pooling leaves."""

    name = "squeeze"

    def __init__(self, conv: nn.Conv2d, target: Target, *, pools: bool) -> None:
        super().__init__(target, (conv.in_channels, conv.out_channels))
        self.pools = pools
        self.weight = target.weights(conv.weight)
        self.matrix = self.weight.flatten(1).T.contiguous()  # (C, C')
        self.bias = target.weights(bias_of(conv) * target.scale)
        self.bias32 = target.weights(bias_of(conv) * target.scale, exact=True)

    @property
    def key(self) -> tuple[Any, ...]:
        """With the pooling it is another one."""
        return *super().key, self.pools

    @property
    def can_fuse(self) -> bool:
        """The kernel takes all channels at once, and powers of two only."""
        return super().can_fuse and all(c <= 128 and c & (c - 1) == 0 for c in self.channels)

    def example(self, side: int) -> tuple[Tensor, Tensor, Guard]:
        out = self.target.empty(2, self.channels[1], side, 2 * side).fill_(torch.nan)
        return self.target.draw(self.channels[0], side), out, Guard(self.target)

    def reference(self, x: Tensor, out: Tensor, guard: Guard) -> Tensor:
        guard.look(x)
        out.copy_(torch.conv2d(x, self.weight, self.bias).relu_())
        return functional.max_pool2d(out, 2) if self.pools else out

    def fused(self, x: Tensor, out: Tensor, guard: Guard) -> Tensor:
        batch, channels, height, width = out.shape
        pooled = self.target.empty(batch, channels, height // 2, width // 2) if self.pools else None
        kernels().squeeze(_dense(x), self.matrix, self.bias32, out, pooled, guard.flag, guard.limit)
        return out if pooled is None else pooled


class Pool(Operation):
    """2x2 max pooling; `out` becomes a copy of the input, if there is one."""

    name = "pooling"

    def __init__(self, channels: int, target: Target, *, copies: bool) -> None:
        super().__init__(target, (channels, channels))
        self.copies = copies

    def example(self, side: int) -> tuple[Tensor, Tensor | None, Guard]:
        x = self.target.draw(self.channels[0], side)
        return x, torch.full_like(x, torch.nan) if self.copies else None, Guard(self.target)

    def reference(self, x: Tensor, out: Tensor | None, guard: Guard) -> Tensor:
        guard.look(x)
        if out is not None:
            out.copy_(x)
        return functional.max_pool2d(x, 2)

    def fused(self, x: Tensor, out: Tensor | None, guard: Guard) -> Tensor:
        batch, channels, height, width = x.shape
        pooled = self.target.empty(batch, channels, height // 2, width // 2)
        kernels().pool(_dense(x), out, pooled, guard.flag, guard.limit)
        return pooled


class Doubling(Operation):
    """Transposed convolution into `out`, or added to it: (B, C, Y, X) to (B, C', 2Y, 2X)."""

    name = "doubling"

    def __init__(self, deconv: Deconv, target: Target, *, adds: bool) -> None:
        super().__init__(target, (deconv.in_channels, deconv.out_channels))
        self.adds = adds
        self.weight = target.weights(deconv.weight)
        taps = deconv.weight.permute(2, 3, 0, 1).flatten(0, 1)  # (9, C, C')
        self.taps = target.weights(taps).contiguous()
        self.bias = target.weights(bias_of(deconv) * target.scale)
        self.bias32 = target.weights(bias_of(deconv) * target.scale, exact=True)

    def example(self, side: int) -> tuple[Tensor, Tensor, Guard]:
        out = self.target.draw(self.channels[1], 2 * side, seed=1)
        out = out if self.adds else torch.full_like(out, torch.nan)
        return self.target.draw(self.channels[0], side), out, Guard(self.target)

    def reference(self, x: Tensor, out: Tensor, guard: Guard) -> Tensor:
        guard.look(x)
        doubled = functional.conv_transpose2d(
            x, self.weight, self.bias, stride=2, padding=1, output_padding=1
        )
        return out.add_(doubled) if self.adds else out.copy_(doubled)

    def fused(self, x: Tensor, out: Tensor, guard: Guard) -> Tensor:
        kernels().double(
            _dense(x), self.taps, self.bias32, out, guard.flag, guard.limit, adds=self.adds
        )
        return out


class LastConvolution(Operation):
    """The convolution to a logit, and its sigmoid: (B, C, Y, X) to float32 (B, Y, X)."""

    name = "last convolution"

    def __init__(self, conv: Output, target: Target) -> None:
        super().__init__(target, (conv.in_channels, conv.in_channels))
        self.weight = target.weights(conv.weight)
        taps = conv.weight[0].flatten(1).T / target.scale  # (9, C)
        self.taps = target.weights(taps, exact=True)
        self.bias32 = target.weights(conv.bias, exact=True)

    def example(self, side: int) -> tuple[Tensor, Guard]:
        x = self.target.draw(self.channels[0], side)
        return x.mul_(self.target.scale), Guard(self.target)  # else all probabilities are 0 or 1

    def reference(self, x: Tensor, guard: Guard) -> Tensor:
        guard.look(x)
        logits = torch.conv2d(x, self.weight, padding=1)[:, 0].float()
        return logits.div_(self.target.scale).add_(self.bias32).sigmoid_()

    def fused(self, x: Tensor, guard: Guard) -> Tensor:
        batch, _, height, width = x.shape
        out = torch.empty((batch, height, width), device=x.device)
        kernels().output(_dense(x), self.taps, self.bias32, out, guard.flag, guard.limit)
        return out


def bias_of(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Return the bias of a folded convolution; zeros if it has none."""
    if conv.bias is not None:
        return conv.bias.detach()
    return conv.weight.new_zeros(conv.out_channels)


def _dense(x: Tensor) -> Tensor:
    """Return activations as the kernels read them, which they are already after any step."""
    return x.contiguous(memory_format=torch.channels_last)


def has_cudnn(device: torch.device) -> bool:
    """Tell whether cuDNN's convolution with bias and ReLU is there."""
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    return (
        is_nvidia
        and torch.backends.cudnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch, "cudnn_convolution_relu")
    )


def find_kernels(target: Target) -> ModuleType | None:
    """Return the Triton kernels if they run here: NVIDIA's Ampere or newer, 16-bit arithmetic.

    In float32 the tensor cores would round to fewer digits, where all of them are asked for.
    """
    device = target.device
    if device.type != "cuda" or torch.version.hip is not None or target.dtype == torch.float32:
        return None
    if torch.cuda.get_device_capability(device) < (8, 0):
        return None
    return kernels() if find_spec("triton") is not None else None


@cache
def kernels() -> ModuleType:
    """Import the kernels: only where they are used, as Triton need not be installed."""
    from sfseg.prediction.engines import kernels as module

    return module


def unique(operations: Iterable[Operation]) -> dict[tuple[Any, ...], list[Operation]]:
    """Group steps that run in the same way, in order."""
    groups: dict[tuple[Any, ...], list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.key, []).append(operation)
    return groups
