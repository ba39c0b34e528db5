"""U-Net: two convolutions a block, skips joined by concatenation."""

import torch
from torch import Tensor, nn

from sfseg.models.blocks import Conv, Deconv, Output

CHANNELS = (64, 128, 256, 512)


class UBlock(nn.Sequential):
    """Two conv: (B, C, Y, X) -> (B, channels, Y, X)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(Conv(channels_in, channels), Conv(channels, channels))


class UNet(nn.Module):
    """Segment neuronal membranes with 25 million parameters.

    Notes
    -----
    The published network has 31.0 million. The 25 million of the thesis' table 4.3 come out when
    the bridge has one conv instead of two and the deconvolutions are 3x3; so it is built here.

    References
    ----------
    Ronneberger, Fischer, Brox (2015): U-Net, convolutional networks for biomedical image
    segmentation. MICCAI, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [UBlock(a, b) for a, b in zip((1, *CHANNELS), CHANNELS, strict=False)]
        )
        self.pool = nn.MaxPool2d(2)
        self.bridge = Conv(512, 1024)
        self.deconv = nn.ModuleList([Deconv(2 * c, c) for c in reversed(CHANNELS)])
        self.up = nn.ModuleList([UBlock(2 * c, c) for c in reversed(CHANNELS)])
        self.output = Output(64)

    def forward(self, x: Tensor) -> Tensor:
        """Map sections (B, 1, Y, X), Y and X multiples of 16, to logits (B, 1, Y, X)."""
        skips = []
        for down in self.down:
            skip = down(x)  # (B, 64n, Y/n, X/n), n = 1, 2, 4, 8
            skips.append(skip)
            x = self.pool(skip)  # (B, 64n, Y/2n, X/2n)
        x = self.bridge(x)  # (B, 1024, Y/16, X/16)
        for deconv, up, skip in zip(self.deconv, self.up, reversed(skips), strict=True):
            x = torch.cat([deconv(x), skip], dim=1)  # (B, 128n, Y/n, X/n), n = 8, 4, 2, 1
            x = up(x)  # (B, 64n, Y/n, X/n)
        logits: Tensor = self.output(x)  # (B, 1, Y, X)
        return logits
