"""SF network: blocks of 64 channels, squeezed to 32 between them."""

import torch
from torch import Tensor, nn

from sfseg.models.blocks import Conv, Conv1, Deconv, Output, Res


class SFBlock(nn.Sequential):
    """Conv, res, conv at 64 channels, then squeeze to 32: (B, C, Y, X) -> (B, 32, Y, X)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__(Conv(channels_in, 64), Res(64), Conv(64, 64), Conv1(64, 32))


class SFNet(nn.Module):
    """Segment neuronal membranes with 1.6 million parameters.

    A FusionNet-like encoder-decoder whose channels do not double with depth: each block works at
    64 channels and hands 32 on, to the next level and to the skip connection.

    Notes
    -----
    Follows the thesis' table 2.1. The "deconv+res+conv" that the table prints for the bridge is a
    misprint, since the size stays 40x40 there: the bridge is a block like the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([SFBlock(1), SFBlock(32), SFBlock(32), SFBlock(32)])
        self.pool = nn.MaxPool2d(2)
        self.bridge = SFBlock(32)
        self.deconv = nn.ModuleList([Deconv(32, 32) for _ in range(4)])
        self.up = nn.ModuleList([SFBlock(64) for _ in range(4)])
        self.output = Output(32)

    def forward(self, x: Tensor) -> Tensor:
        """Map sections (B, 1, Y, X), Y and X multiples of 16, to logits (B, 1, Y, X)."""
        skips = []
        for down in self.down:
            skip = down(x)  # (B, 32, Y/n, X/n), n = 1, 2, 4, 8
            skips.append(skip)
            x = self.pool(skip)  # (B, 32, Y/2n, X/2n)
        x = self.bridge(x)  # (B, 32, Y/16, X/16)
        for deconv, up, skip in zip(self.deconv, self.up, reversed(skips), strict=True):
            x = torch.cat([deconv(x), skip], dim=1)  # (B, 64, Y/n, X/n), n = 8, 4, 2, 1
            x = up(x)  # (B, 32, Y/n, X/n)
        logits: Tensor = self.output(x)  # (B, 1, Y, X)
        return logits
