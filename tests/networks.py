"""The small network that stands for the real ones where what is tested is not theirs."""

import contextlib

import pytest
import torch

from sfseg.models import fusionnet, unet
from sfseg.models.blocks import Conv, Deconv, Output
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate


class Small(EncoderDecoder):
    """As deep as the real ones, but of 4 channels; its halo is 80 px."""

    def __init__(self) -> None:
        super().__init__(
            down=[Conv(1, 4), Conv(4, 4), Conv(4, 4), Conv(4, 4)],
            bridge=Conv(4, 4),
            deconv=[Deconv(4, 4) for _ in range(4)],
            up=[Conv(8, 4) for _ in range(4)],
            output=Output(4),
            join=concatenate,
        )


class Shallow(EncoderDecoder):
    """With every kind of layer, but of one level: a compiler takes seconds for each layer."""

    def __init__(self) -> None:
        super().__init__(
            down=[Conv(1, 4)],
            bridge=Conv(4, 4),
            deconv=[Deconv(4, 4)],
            up=[Conv(8, 4)],
            output=Output(4),
            join=concatenate,
        )


def warm_statistics(network):
    """Give the batch normalisations statistics that are not those of the first day."""
    with torch.no_grad():
        for _ in range(2):
            network.train()(torch.randn(2, 1, 48, 48))
    network.eval()


@contextlib.contextmanager
def narrow_networks():
    """Let FusionNet and U-Net have a quarter of their channels, a sixteenth of their parameters.

    SF network has few channels as it is.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (fusionnet, unet):
            patch.setattr(module, "CHANNELS", tuple(number // 4 for number in module.CHANNELS))
        yield
