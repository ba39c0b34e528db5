"""What a network costs."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sfseg.models import STRIDE


def count_flop(network: nn.Module, pixels: int) -> int:
    """Count the operations of a section, 2 for each multiply-add, as PyTorch counts them.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`, in evaluation mode, on any device, ``meta`` included.
    pixels : int
        Of the section as the network sees it: resized or padded.

    Returns
    -------
    int
        Those of a small section, scaled, as all layers scale.
    """
    small = torch.zeros(1, 1, STRIDE, STRIDE, device=next(network.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(small)
    return int(counter.get_total_flops()) * pixels // small.numel()
