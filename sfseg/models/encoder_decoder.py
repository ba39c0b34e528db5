"""The shape that the three networks share: four levels down, a bridge, four levels up."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sfseg.models.blocks import Deconv, Output

Join = Callable[[Tensor, Tensor], Tensor]
"""Combines the upsampled features and the skip of the same size into the input of a block."""


def concatenate(x: Tensor, skip: Tensor) -> Tensor:
    """Join along the channels: two (B, C, Y, X) become (B, 2C, Y, X)."""
    return torch.cat([x, skip], dim=1)


class EncoderDecoder(nn.Module):
    """Halve Y and X level by level, then double them again with a skip connection at each level.

    Parameters
    ----------
    down : sequence of torch.nn.Module
        A block for each level, the finest first. Its output is pooled, and is also the skip.
    bridge : torch.nn.Module
        The block at the coarsest level.
    deconv, up : sequence of torch.nn.Module
        For each level, the coarsest first: the layer that doubles Y and X, and the block after it.
    output : Output
        The layer from features to logits.
    join : callable
        Combines the output of a `deconv` and the skip of that level.
    """

    def __init__(
        self,
        down: Sequence[nn.Module],
        bridge: nn.Module,
        deconv: Sequence[Deconv],
        up: Sequence[nn.Module],
        output: Output,
        *,
        join: Join,
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(down)
        self.pool = nn.MaxPool2d(2)
        self.bridge = bridge
        self.deconv = nn.ModuleList(deconv)
        self.up = nn.ModuleList(up)
        self.output = output
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        """Map sections (B, 1, Y, X), Y and X multiples of 16, to logits (B, 1, Y, X)."""
        logits: Tensor = self.output(self.features(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Map sections (B, 1, Y, X) to the features before the output layer, (B, C, Y, X)."""
        skips = []  # finest first, each kept at full resolution until its level comes again
        for down in self.down:
            skip = down(x)  # (B, C, Y/n, X/n), n = 1, 2, 4, 8
            skips.append(skip)
            x = self.pool(skip)  # (B, C, Y/2n, X/2n)
        x = self.bridge(x)  # (B, C, Y/16, X/16)
        for deconv, up, skip in zip(self.deconv, self.up, reversed(skips), strict=True):
            # The skip has the size of deconv(x), because Y and X of the input are multiples of 16.
            x = up(self.join(deconv(x), skip))  # (B, C, Y/n, X/n), n = 8, 4, 2, 1
        return x
