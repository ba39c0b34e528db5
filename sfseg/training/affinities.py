"""Affinities: whether two pixels lie in the same cell, learnt beside the membranes.

Pixel for pixel, a gap in a membrane costs next to nothing, and it joins two cells. Whether pixels
far apart lie in one cell is all about such gaps. So a network in training says that too, from the
features that its output sees, and what it learns for it makes the features better (Lee et al.
2017, arXiv:1706.00120). The weights that are saved are those of the network alone.
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
"""From a pixel to the other one of its pair, (y, x): across a membrane, up to across a cell."""


class WithAffinities(nn.Module):
    """A network that says affinities beside its logit, for as long as it learns.

    Parameters
    ----------
    network : EncoderDecoder
        Learns as a part of this.
    seed : int
        Seed of the weights that are new; the global random state is left as it was.
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
        What the network said, for each of `OFFSETS_PX`, at the pixel from which the offset goes.
    cells : Tensor of float32, shape (B, 1, Y, X)
        The cell that each pixel lies in, from 1; 0 is membrane, which is not one cell with itself.

    Returns
    -------
    Tensor of float32, shape ()
        Mean over the offsets of the mean over their pairs; 0 for no patches or too small ones.
    """
    losses = []
    for (y, x), said in zip(OFFSETS_PX, logits.unbind(1), strict=True):
        here, there = _overlap(cells[:, 0], y, x), _overlap(cells[:, 0], -y, -x)
        same = ((here == there) & (here > 0)).float()
        total = functional.binary_cross_entropy_with_logits(
            _overlap(said, y, x), same, reduction="sum"
        )
        losses.append(total / max(same.numel(), 1))
    return torch.stack(losses).mean()


def _overlap(pixels: Tensor, y: int, x: int) -> Tensor:
    """Give the pixels (B, Y, X) whose partner at the offset (y, x) is in the patch, too."""
    rows, columns = pixels.shape[-2:]
    return pixels[:, max(-y, 0) : max(rows - y, 0), max(-x, 0) : max(columns - x, 0)]
