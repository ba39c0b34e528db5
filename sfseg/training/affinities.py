"""Affinities: whether two pixels lie in the same cell, learnt beside the membranes.

A gap in a membrane is a few pixels, so it hardly changes the loss, but it merges two cells. Whether
two distant pixels lie in one cell depends on such gaps. So a network in training predicts
affinities, too, from the features before its output layer. That improves the features (Lee et al.
2017, arXiv:1706.00120). Only the weights of the network itself are saved.
"""

import numpy as np
import torch
from skimage.measure import label
from torch import Tensor, nn
from torch.nn import functional

from sfseg.models.blocks import Output
from sfseg.models.encoder_decoder import EncoderDecoder
from sfseg.types import Probability

OFFSETS_PX = (
    *((y, 0) for y in (3, 9, 21, 45)),
    *((0, x) for x in (3, 9, 21, 45)),
    *((6, 6), (-6, 6), (15, 15), (-15, 15)),
)
"""From one pixel of a pair to the other, (y, x): from the width of a membrane to that of a cell."""


class WithAffinities(nn.Module):
    """A network in training that outputs affinities beside its logit.

    Parameters
    ----------
    network : EncoderDecoder
        The network; it is trained as a part of this.
    seed : int
        Seed of the new weights. The global random state does not change.
    """

    def __init__(self, network: EncoderDecoder, *, seed: int) -> None:
        super().__init__()
        self.network = network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.affinities = Output(network.output.in_channels, len(OFFSETS_PX))
        self.affinities.to(network.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map sections (B, 1, Y, X) to logits (B, 1 + K, Y, X): inside a cell, and K offsets."""
        # One convolution for both: a second one would read the features again.
        parts = (self.network.output, self.affinities)
        weight = torch.cat([part.weight for part in parts])
        bias = torch.cat([part.bias for part in parts])
        return functional.conv2d(self.network.features(x), weight, bias, padding=1)


def number_cells(interior: Probability) -> Probability:
    """Give each cell of a section a number.

    Parameters
    ----------
    interior : ndarray of float32, shape (Y, X)
        Interior probability.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Its 4-connected components above 0.5, from 1; 0 between them. Exact up to 2**24 of them.
    """
    cells: Probability = label(interior > 0.5, connectivity=1).astype(np.float32)
    return cells


def affinity_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Compute the binary cross entropy of affinities.

    Parameters
    ----------
    logits : Tensor of float32, shape (B, K, Y, X)
        For each of `OFFSETS_PX`, the output of the network at the pixel where the offset starts.
    cells : Tensor of float32, shape (B, 1, Y, X)
        The cell of each pixel, from 1; 0 is membrane. Two membrane pixels are not one cell.
        Pairs with a negative one, which is unknown, do not count.

    Returns
    -------
    Tensor of float32, shape ()
        Mean over the offsets of the mean over their pairs; 0 for no patches or too small ones.
    """
    losses = []
    for (y, x), predicted in zip(OFFSETS_PX, logits.unbind(1), strict=True):
        here, there = _overlap(cells[:, 0], y, x), _overlap(cells[:, 0], -y, -x)
        same = ((here == there) & (here > 0)).float()
        known = ((here >= 0) & (there >= 0)).float()
        total = functional.binary_cross_entropy_with_logits(
            _overlap(predicted, y, x), same, known, reduction="sum"
        )
        losses.append(total / known.sum().clamp(min=1))
    return torch.stack(losses).mean()


def _overlap(pixels: Tensor, y: int, x: int) -> Tensor:
    """Return the pixels (B, Y, X) whose partner at the offset (y, x) lies in the patch, too."""
    rows, columns = pixels.shape[-2:]
    return pixels[:, max(-y, 0) : max(rows - y, 0), max(-x, 0) : max(columns - x, 0)]
