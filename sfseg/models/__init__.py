"""The three networks that the thesis compares, by name.

Each maps normalised sections, float (B, 1, Y, X) with Y and X multiples of `STRIDE`, to logits,
(B, 1, Y, X); their sigmoid is P(inside a cell). The names are known without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from sfseg.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import nn

STRIDE = 16
"""Y and X of the input are multiples of this, because of four poolings by two."""


def _sfnet() -> nn.Module:
    from sfseg.models.sfnet import SFNet

    return SFNet()


def _fusionnet() -> nn.Module:
    from sfseg.models.fusionnet import FusionNet

    return FusionNet()


def _unet() -> nn.Module:
    from sfseg.models.unet import UNet

    return UNet()


ARCHITECTURES: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"sfnet": _sfnet, "fusionnet": _fusionnet, "unet": _unet}
)
"""The function that builds each network; it imports torch when it is called."""


def require(arch: str) -> None:
    """Refuse an unknown architecture.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    """
    if arch not in ARCHITECTURES:
        raise UnknownNameError.from_known("architecture", arch, ARCHITECTURES)


def build(arch: str, *, seed: int = 0) -> nn.Module:
    """Build a network with initial weights drawn from the seed.

    Parameters
    ----------
    arch : {'sfnet', 'fusionnet', 'unet'}
        Name of the architecture.
    seed : int
        Seed of the initial weights. The global random state does not change.

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
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[arch]()


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
