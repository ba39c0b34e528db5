"""FusionNet: residual blocks, skips joined by summation."""

from torch import Tensor, nn

from sfseg.models.blocks import Conv, Deconv, Output, Res

CHANNELS = (64, 128, 256, 512)


class FusionBlock(nn.Sequential):
    """Conv, res, conv: (B, C, Y, X) -> (B, channels, Y, X)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(Conv(channels_in, channels), Res(channels), Conv(channels, channels))


class FusionNet(nn.Module):
    """Segment neuronal membranes with 69 million parameters.

    Notes
    -----
    The published network has 78.5 million. The 69 million of the thesis' table 4.3 come out when
    the bridge lacks its second conv and the deconvolutions are 3x3; so it is built here.

    References
    ----------
    Quan, Hildebrand, Jeong (2021): FusionNet, a deep fully residual convolutional neural network
    for image segmentation in connectomics. Frontiers in Computer Science,
    doi:10.3389/fcomp.2021.613981.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [FusionBlock(a, b) for a, b in zip((1, *CHANNELS), CHANNELS, strict=False)]
        )
        self.pool = nn.MaxPool2d(2)
        self.bridge = nn.Sequential(Conv(512, 1024), Res(1024))
        self.deconv = nn.ModuleList([Deconv(2 * c, c) for c in reversed(CHANNELS)])
        self.up = nn.ModuleList([FusionBlock(c, c) for c in reversed(CHANNELS)])
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
            x = up(deconv(x) + skip)  # (B, 64n, Y/n, X/n), n = 8, 4, 2, 1
        logits: Tensor = self.output(x)  # (B, 1, Y, X)
        return logits
