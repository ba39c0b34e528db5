"""The small network that stands for the real ones where what is tested is not theirs."""

import contextlib

import pytest
import torch
from torch import nn

from sfseg.models import fusionnet, unet
from sfseg.models.blocks import Conv, Deconv, Output
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate
from sfseg.prediction.engines.operations import (
    Doubling,
    FirstConvolution,
    LastConvolution,
    Pool,
    Squeeze,
)


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


OPERATIONS = {
    "first convolution": lambda target: FirstConvolution(nn.Conv2d(1, 32, 3, padding=1), target),
    "squeeze": lambda target: Squeeze(nn.Conv2d(32, 16, 1), target, pools=False),
    "squeeze and pooling": lambda target: Squeeze(nn.Conv2d(16, 32, 1), target, pools=True),
    "pooling": lambda target: Pool(48, target, copies=False),
    "pooling and copy": lambda target: Pool(16, target, copies=True),
    "doubling": lambda target: Doubling(Deconv(48, 16), target, adds=False),
    "doubling and sum": lambda target: Doubling(Deconv(16, 32), target, adds=True),
    "last convolution": lambda target: LastConvolution(Output(48), target),
}
"""The steps of a network on a GPU that have a kernel, with few channels."""


def make_operation(name, target):
    """Make a step with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return OPERATIONS[name](target)
