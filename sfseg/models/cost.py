"""Count the operations of a network, and the activations that it reads and writes."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sfseg.models import STRIDE


def count_flop(network: nn.Module, pixels: int) -> int:
    """Count the floating-point operations for a section, as PyTorch does: 2 for a multiply-add.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`, in evaluation mode, on any device, ``meta`` included.
    pixels : int
        Pixels of the section as the network sees it, resized or padded.

    Returns
    -------
    int
        The operations.
    """
    small = _small_section(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(small)
    return int(counter.get_total_flops()) * pixels // small.numel()


def count_activations(network: nn.Module, pixels: int) -> int:
    """Count the numbers that convolutions read and write, if nothing else passes over memory.

    Parameters
    ----------
    network : torch.nn.Module
        As for `count_flop`.
    pixels : int
        As for `count_flop`.

    Returns
    -------
    int
        The numbers; normalisation, ReLU, sums, joins and pooling are free.
    """
    small, counted = _small_section(network), 0

    def count(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal counted
        counted += inputs[0].numel() + output.numel()

    convs = (m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    hooks = [conv.register_forward_hook(count) for conv in convs]
    with torch.no_grad():
        network(small)
    for hook in hooks:
        hook.remove()
    return counted * pixels // small.numel()


def _small_section(network: nn.Module) -> Tensor:
    """Make a section to count with: every layer costs the same for each pixel."""
    return torch.zeros(1, 1, STRIDE, STRIDE, device=next(network.parameters()).device)
