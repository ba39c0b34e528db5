"""Blocks of the three networks.

Names follow table 2.1 of the thesis: *conv* is a 3x3 convolution with batch normalisation and
ReLU, *res* is three of them with the input added to their output, *conv1* is a 1x1 convolution
with batch normalisation and ReLU, *deconv* doubles Y and X.
"""

from torch import Tensor, nn


class Conv(nn.Sequential):
    """3x3 convolution with zero padding, batch normalisation, ReLU; Y and X do not change."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Conv1(Conv):
    """1x1 convolution, which mixes channels or reduces their number, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel=1)


class Res(nn.Module):
    """Three `Conv`, whose output is added to the input; nothing follows the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(Conv(channels, channels) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + convs(x), shape unchanged."""
        out: Tensor = x + self.convs(x)  # (B, C, Y, X)
        return out


class Deconv(nn.ConvTranspose2d):
    """3x3 transposed convolution that doubles Y and X.

    Notes
    -----
    The kernel is 3x3 (stride 2, padding 1, output padding 1), not 2x2 as in the published U-Net.
    With it the parameter counts equal those of the thesis, table 4.3.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)


class Output(nn.Conv2d):
    """3x3 convolution to logits, one by default; no normalisation, no activation."""

    bias: nn.Parameter

    def __init__(self, channels_in: int, logits: int = 1) -> None:
        super().__init__(channels_in, logits, 3, padding=1)
