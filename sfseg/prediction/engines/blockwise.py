"""Run a network on a CPU level by level, and each level in blocks that stay in the cache.

The activations of a whole section are far larger than the cache of a processor, and fresh memory
for each of them takes nearly half of the time. But the layers of one level, between two poolings,
look only a few pixels far. So all layers of a level run on one small block after the other, with a
margin of those few pixels. Between levels only the skips are kept.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfseg.models.blocks import Conv, Deconv, Output, Res
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate
from sfseg.prediction.tiles import Cutter, Rectangle, Tile
from sfseg.system.malloc import keep_freed_memory

BLOCK_PX = 128 * 512
"""Pixels of a block for every two threads: 8 MB at 64 channels in bf16."""

WORK_BYTES = 2**28
"""Memory for the activations of a block: measured, 40 MB with sfnet, 250 with wider networks."""

BLOCK_COLUMNS = 704
"""Most columns of a block. Of the sizes tried, 64x128 to 512x1024, these were the fastest."""

KEPT_BYTES = 31 * 2**20
"""Freed blocks of memory up to this size are kept: fresh ones would take a third of the time."""


class Layers(Protocol):
    """The arithmetic of a `Blockwise`: how it writes activations, and what computes them.

    Attributes
    ----------
    dtype : torch.dtype
        Type of the activations.
    """

    @property
    def dtype(self) -> torch.dtype:
        """Type of the activations."""

    def enter(self, section: Tensor) -> Tensor:
        """Turn a section, float32 (Y, X), into the input of the first layer, (1, C, Y, X)."""

    def convolution(self, block: nn.Module, weight: Tensor, pad: int) -> nn.Module:
        """Make a convolution of a `Conv`, `Output` or `Deconv`; its bias and ReLU included."""

    def pool(self, x: Tensor) -> Tensor:
        """Halve Y and X: the maximum of each 2x2 pixels."""


class FloatLayers:
    """Layers in float32 or bf16; the sums are float32.

    Parameters
    ----------
    dtype : torch.dtype
        Type of weights and activations.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def enter(self, section: Tensor) -> Tensor:
        """Turn a section, float32 (Y, X), into the input of the first layer, (1, 1, Y, X)."""
        return section[None, None].to(self.dtype)

    def convolution(self, block: nn.Module, weight: Tensor, pad: int) -> nn.Module:
        """Make a convolution of a `Conv`, `Output` or `Deconv`; its bias and ReLU included."""
        relu = isinstance(block, Conv)
        return _Convolution(weight, bias_of(block), self.dtype, pad, relu=relu)

    def pool(self, x: Tensor) -> Tensor:
        """Halve Y and X: the maximum of each 2x2 pixels."""
        return torch.max_pool2d(x, 2)


class Blockwise:
    """A network that runs level by level in blocks, on the CPU.

    Parameters
    ----------
    network : EncoderDecoder
        Folded, float32; see `sfseg.prediction.engines.fold`.
    layers : Layers
        The arithmetic.
    """

    def __init__(self, network: EncoderDecoder, layers: Layers) -> None:
        keep_freed_memory(up_to_bytes=KEPT_BYTES)
        self._layers = layers
        self._dtype = layers.dtype
        self._join = network.join
        self._down = [_Level.from_blocks([block], layers) for block in network.down]
        self._bridge = _pack(network.bridge, layers)
        tops = [[up] for up in network.up[:-1]] + [[network.up[-1], network.output]]
        self._up = [
            _Level.from_blocks(top, layers, deconv)
            for top, deconv in zip(tops, network.deconv, strict=True)
        ]

    @property
    def bytes_per_px(self) -> int:
        """Memory for each pixel: all skips, the input of the last level, section and result."""
        item = self._dtype.itemsize
        skips = sum(level.channels * item / 4**n for n, level in enumerate(self._down))
        return int(skips + self._up[-2].channels * item / 4 + item + 8)

    def __call__(self, section: Tensor) -> Tensor:
        """Predict one section.

        Parameters
        ----------
        section : Tensor of float32, shape (Y, X)
            Normalised; Y and X multiples of 16.

        Returns
        -------
        Tensor of float32, shape (Y, X)
            Interior probability.
        """
        x = self._layers.enter(section)  # (1, 1, Y, X)
        skips = []
        for level in self._down:
            skip, x = self._descend(level, x)
            skips.append(skip)
        x = self._bridge(_channels_last(x))  # (1, C, Y/16, X/16)
        for level in self._up[:-1]:
            out = _empty(level.channels, skips[-1].shape[-2:], self._dtype)
            x = self._ascend(level, x, skips.pop(), out)  # pop: the skip's memory is free again
        logits = _empty(1, section.shape, torch.float32)
        return self._ascend(self._up[-1], x, skips.pop(), logits)[0, 0].sigmoid_()

    def _descend(self, level: "_Level", x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a level on the way down: (1, C, Y, X) to its skip and to (1, C', Y/2, X/2)."""
        height, width = x.shape[-2:]
        skip = _empty(level.channels, (height, width), self._dtype)
        pooled = _empty(level.channels, (height // 2, width // 2), self._dtype)
        for block in level.blocks((height, width)):
            y = _at(level.layers(_channels_last(_at(x, block.read))), block.keep)
            _at(skip, block.write).copy_(y)
            _at(pooled, _halved(block.write)).copy_(self._layers.pool(y))
        return skip, pooled

    def _ascend(self, level: "_Level", x: Tensor, skip: Tensor, out: Tensor) -> Tensor:
        """Run a level on the way up: (1, C, Y/2, X/2) and the skip fill `out`, (1, C', Y, X)."""
        height, width = skip.shape[-2:]
        for block in level.blocks((height, width)):
            y = level.layers(
                self._joined(level, _at(x, _halved(block.read)), _at(skip, block.read))
            )
            _at(out, block.write).copy_(_at(y, block.keep))
        return out

    def _joined(self, level: "_Level", x: Tensor, skip: Tensor) -> Tensor:
        """Double the size of `x`, (1, C, Y/2, X/2), and join it with the skip, (1, C', Y, X)."""
        channels, shape = skip.shape[1], skip.shape[-2:]  # the deconvolution gives C' channels, too
        if self._join is not concatenate:
            doubled = _empty(channels, shape, self._dtype)
            level.deconv(_channels_last(x), doubled)
            return _channels_last(self._join(doubled, skip))
        both = _empty(2 * channels, shape, self._dtype)
        level.deconv(_channels_last(x), both[:, :channels])  # writes into `both`: no copy by cat
        both[:, channels:] = skip
        return both


@dataclass(frozen=True)
class _Level:
    """The layers of one level, their output channels, and how to cut a level into blocks."""

    deconv: nn.Module
    layers: nn.Module
    channels: int
    cutter: Cutter

    @classmethod
    def from_blocks(
        cls, blocks: list[nn.Module], layers: Layers, deconv: nn.Module | None = None
    ) -> "_Level":
        """Pack the layers, and add up how far they look; a deconvolution adds 1 pixel."""
        convs = [m for block in blocks for m in block.modules() if isinstance(m, nn.Conv2d)]
        reach = sum(int(conv.kernel_size[0]) // 2 for conv in convs) + (deconv is not None)
        return cls(
            nn.Identity() if deconv is None else _pack(deconv, layers),
            nn.Sequential(*(_pack(block, layers) for block in blocks)),
            convs[-1].out_channels,
            Cutter(halo=reach + reach % 2, stride=2),  # even, as the level below has half the size
        )

    def blocks(self, shape: tuple[int, int]) -> list[Tile]:
        """Cut a level of shape (Y, X) into blocks, larger ones if there are more threads."""
        columns = min(shape[1], BLOCK_COLUMNS)
        pixels = BLOCK_PX * max(torch.get_num_threads() // 2, 1)
        return self.cutter.by_core(shape, (max(pixels // columns // 2 * 2, 32), columns))


def _pack(module: nn.Module, layers: Layers) -> nn.Module:
    """Replace the layers of a folded block by layers of one arithmetic and channels last."""
    if isinstance(module, Conv | Output):
        conv = convolution_of(module)
        return layers.convolution(module, conv.weight, int(conv.kernel_size[0]) // 2)
    if isinstance(module, Res):
        return _Residual(_pack(module.convs, layers))
    if isinstance(module, Deconv):
        return _Doubling(module, layers)
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_pack(layer, layers) for layer in module))
    raise TypeError(f"{type(module).__name__} is not a block of sfseg.models")


def convolution_of(block: nn.Module) -> nn.Conv2d | nn.ConvTranspose2d:
    """Return the convolution of a `Conv`, which has a ReLU beside it, `Output` or `Deconv`."""
    return cast("nn.Conv2d | nn.ConvTranspose2d", block[0] if isinstance(block, Conv) else block)


def bias_of(block: nn.Module) -> Tensor | None:
    """Return the bias of a `Conv`, `Output` or `Deconv`."""
    return convolution_of(block).bias


_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Of the rows and columns that the four convolutions of `_Doubling` fill, in their order."""


class _Residual(nn.Module):
    """A folded `Res`."""

    def __init__(self, convs: nn.Module) -> None:
        super().__init__()
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convs(x).add_(x)
        return out


class _Doubling(nn.Module):
    """A `Deconv` as four convolutions: for even and odd rows, and for even and odd columns.

    Notes
    -----
    Row 2k of the result is row k times the middle of the kernel. Row 2k + 1 is rows k and k + 1
    times its ends. The deconvolution of PyTorch uses another algorithm for other widths, and its
    float32 sums differ in the last bit: the seams of tiles would show.
    """

    def __init__(self, deconv: Deconv, layers: Layers) -> None:
        super().__init__()
        taps = ([1], [2, 0])  # indices into the kernel of 3: for even rows, for odd rows
        kernel = deconv.weight.transpose(0, 1)  # (C', C, 3, 3)
        self.convs = nn.ModuleList(
            layers.convolution(deconv, kernel[:, :, rows][..., columns], 0)
            for rows in taps
            for columns in taps
        )

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Fill `out`, (B, C', 2Y, 2X)."""
        height, width = x.shape[-2:]
        # 0 is also the level of 0 in uint8, as what comes in is a sum of outputs of ReLU
        x = functional.pad(x, (0, 1, 0, 1))  # (B, C, Y + 1, X + 1): odd rows need row k + 1
        for conv, (row, column) in zip(self.convs, _PARITIES, strict=True):
            out[..., row::2, column::2] = conv(
                _channels_last(x[..., : height + row, : width + column])
            )


class _Convolution(nn.Module):
    """A convolution with its bias and ReLU in one pass over memory, where PyTorch can.

    Notes
    -----
    The fused operator is the one that `torch.compile` calls on CPUs. It is not public: if it is
    missing, the public convolution runs instead, which takes a third more time.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, pad: int, *, relu: bool
    ) -> None:
        super().__init__()
        self.relu = relu
        self.pads = [pad, pad]
        self.bias = None if bias is None else bias.to(dtype)
        self.fused = _has_fused_convolution()
        weight = weight.to(dtype)
        # [1, C, 96, 512]: the shape of a typical input, for which the weights are ordered
        self.weight = (
            torch.ops.mkldnn._reorder_convolution_weight(
                weight.contiguous(), self.pads, [1, 1], [1, 1], 1, [1, weight.shape[1], 96, 512]
            )
            if self.fused
            else weight.contiguous(memory_format=torch.channels_last)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            after = "relu" if self.relu else "none"
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, self.pads, [1, 1], [1, 1], 1, after, [], ""
            )
            return fused
        out = torch.conv2d(x, self.weight, self.bias, padding=self.pads)
        return torch.relu_(out) if self.relu else out


def _has_fused_convolution() -> bool:
    names = ("_reorder_convolution_weight", "_convolution_pointwise")
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and all(hasattr(torch.ops.mkldnn, name) for name in names)


def _empty(channels: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Allocate (1, C, Y, X), channels last."""
    return torch.empty(1, channels, *shape, dtype=dtype, memory_format=torch.channels_last)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _at(x: Tensor, box: Rectangle) -> Tensor:
    return x[..., box[0], box[1]]


def _halved(box: Rectangle) -> Rectangle:
    """Return the same box one level down, where rows and columns are half as many."""
    rows, columns = (slice(span.start // 2, span.stop // 2) for span in box)
    return rows, columns
