"""SF network: blocks of 64 channels, squeezed to 32 between them."""

from torch import nn

from sfseg.models.blocks import Conv, Conv1, Deconv, Output, Res
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate


class SFBlock(nn.Sequential):
    """Conv, res, conv at 64 channels, then squeeze to 32: (B, C, Y, X) -> (B, 32, Y, X)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__(Conv(channels_in, 64), Res(64), Conv(64, 64), Conv1(64, 32))


class SFNet(EncoderDecoder):
    """Segment neuronal membranes with 1.6 million parameters.

    A FusionNet-like encoder-decoder whose channels do not double with depth: each block works at
    64 channels and passes 32 to the next level and to the skip connection.

    Notes
    -----
    Follows the thesis' table 2.1. The "deconv+res+conv" that the table prints for the bridge is a
    misprint, because the size stays 40x40 there: the bridge is a block like the others.
    """

    def __init__(self) -> None:
        super().__init__(
            down=[SFBlock(1), SFBlock(32), SFBlock(32), SFBlock(32)],
            bridge=SFBlock(32),
            deconv=[Deconv(32, 32) for _ in range(4)],
            up=[SFBlock(64) for _ in range(4)],
            output=Output(32),
            join=concatenate,
        )
