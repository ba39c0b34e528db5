"""The three networks that the thesis compares, behind one table.

Each maps normalised sections, float (B, 1, Y, X) with Y and X multiples of `STRIDE`, to one logit
a pixel; its sigmoid is P(inside a cell).
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from sfseg.errors import UnknownNameError
from sfseg.models.fusionnet import FusionNet
from sfseg.models.sfnet import SFNet
from sfseg.models.unet import UNet

STRIDE = 16
"""Four poolings by two: Y and X of the input are multiples of it."""

ARCHITECTURES: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"sfnet": SFNet, "fusionnet": FusionNet, "unet": UNet}
)


def require(arch: str) -> None:
    """Refuse a name that is none of an architecture.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    """
    if arch not in ARCHITECTURES:
        raise UnknownNameError.from_known("architecture", arch, ARCHITECTURES)


def build(arch: str, *, seed: int = 0) -> nn.Module:
    """Build a network with the weights that the seed draws.

    Parameters
    ----------
    arch : {'sfnet', 'fusionnet', 'unet'}
        Name of the architecture.
    seed : int
        Seed of the initial weights; the global random state is left as it was.

    Returns
    -------
    torch.nn.Module
        The network, in training mode, on the CPU, float32.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    """
    require(arch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[arch]()


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
