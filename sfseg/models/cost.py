"""Count the operations of a network."""

import torch
from torch import nn
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
    # Every layer costs the same for each pixel, so a small section is counted and scaled.
    small = torch.zeros(1, 1, STRIDE, STRIDE, device=next(network.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(small)
    return int(counter.get_total_flops()) * pixels // small.numel()
