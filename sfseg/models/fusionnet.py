"""FusionNet: residual blocks, skips joined by summation."""

from operator import add

from torch import nn

from sfseg.models.blocks import Conv, Deconv, Output, Res
from sfseg.models.encoder_decoder import EncoderDecoder

CHANNELS = (64, 128, 256, 512)


class FusionBlock(nn.Sequential):
    """Conv, res, conv: (B, C, Y, X) -> (B, channels, Y, X)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(Conv(channels_in, channels), Res(channels), Conv(channels, channels))


class FusionNet(EncoderDecoder):
    """Segment neuronal membranes with 69 million parameters.

    Notes
    -----
    The published network has 78.5 million. The 69 million of the thesis, table 4.3, follow if the
    bridge has no second conv and the deconvolutions are 3x3, as here.

    References
    ----------
    Quan, Hildebrand, Jeong (2021): FusionNet, a deep fully residual convolutional neural network
    for image segmentation in connectomics. Frontiers in Computer Science,
    doi:10.3389/fcomp.2021.613981.
    """

    def __init__(self) -> None:
        super().__init__(
            down=[FusionBlock(a, b) for a, b in zip((1, *CHANNELS), CHANNELS, strict=False)],
            bridge=nn.Sequential(Conv(CHANNELS[-1], 2 * CHANNELS[-1]), Res(2 * CHANNELS[-1])),
            deconv=[Deconv(2 * c, c) for c in reversed(CHANNELS)],
            up=[FusionBlock(c, c) for c in reversed(CHANNELS)],
            output=Output(CHANNELS[0]),
            join=add,
        )
