"""U-Net: two convolutions a block, skips joined by concatenation."""

from torch import nn

from sfseg.models.blocks import Conv, Deconv, Output
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate

CHANNELS = (64, 128, 256, 512)


class UBlock(nn.Sequential):
    """Two conv: (B, C, Y, X) -> (B, channels, Y, X)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(Conv(channels_in, channels), Conv(channels, channels))


class UNet(EncoderDecoder):
    """Segment neuronal membranes with 25 million parameters.

    Notes
    -----
    The published network has 31.0 million. The 25 million of the thesis, table 4.3, follow if the
    bridge has one conv instead of two and the deconvolutions are 3x3, as here.

    References
    ----------
    Ronneberger, Fischer, Brox (2015): U-Net, convolutional networks for biomedical image
    segmentation. MICCAI, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(self) -> None:
        super().__init__(
            down=[UBlock(a, b) for a, b in zip((1, *CHANNELS), CHANNELS, strict=False)],
            bridge=Conv(CHANNELS[-1], 2 * CHANNELS[-1]),
            deconv=[Deconv(2 * c, c) for c in reversed(CHANNELS)],
            up=[UBlock(2 * c, c) for c in reversed(CHANNELS)],
            output=Output(CHANNELS[0]),
            join=concatenate,
        )
