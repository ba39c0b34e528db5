"""The blocks that the three networks are made of.

Names follow table 2.1 of the thesis: *conv* is a 3x3 convolution with batch normalisation and
ReLU, *res* is three of them with the input added to their output, *conv1* is a 1x1 convolution
with batch normalisation and ReLU, *deconv* doubles Y and X.
"""

from torch import Tensor, nn


class Conv(nn.Sequential):
    """Convolve 3x3 with zero padding, normalise the batch, rectify: (B, C, Y, X) keeps Y, X."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Conv1(Conv):
    """Squeeze or mix channels with a 1x1 convolution, normalise the batch, rectify."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel=1)


class Res(nn.Module):
    """Add the input to the output of three `Conv`; nothing is applied after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(Conv(channels, channels) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + convs(x), shape unchanged."""
        out: Tensor = x + self.convs(x)  # (B, C, Y, X)
        return out


class Deconv(nn.ConvTranspose2d):
    """Double Y and X with a 3x3 transposed convolution.

    Notes
    -----
    The kernel is 3x3 (stride 2, padding 1, output padding 1), not the 2x2 of the textbook U-Net:
    with it, and only with it, the parameter counts of the thesis' table 4.3 come out.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)


class Output(nn.Conv2d):
    """Map the channels to logits, one of P(inside a cell); no normalisation, no activation."""

    bias: nn.Parameter

    def __init__(self, channels_in: int, logits: int = 1) -> None:
        super().__init__(channels_in, logits, 3, padding=1)
