"""The cost of an architecture: its parameters and its arithmetic."""

from dataclasses import dataclass
from functools import cache

import torch

from sfseg import models
from sfseg.models.cost import count_flop
from sfseg.recipes import Recipe
from sfseg.types import Shape


@dataclass(frozen=True)
class Cost:
    """The cost of an architecture.

    Attributes
    ----------
    parameters : int
        Number of trained parameters.
    flop : int
        Operations for one section, 2 for each multiply-add.
    side_px : tuple of int
        Rows and columns of the section as the network sees it: resized or padded.
    """

    parameters: int
    flop: int
    side_px: tuple[int, int]


@cache
def cost_of(arch: str, recipe: Recipe, shape: Shape) -> Cost:
    """Count the parameters of an architecture, and its operations for a section of a stack."""
    stride, side_px = models.STRIDE, recipe.input_px
    rows, columns = ((side_px or -(-length // stride) * stride) for length in shape[1:])
    with torch.device("meta"):
        network = models.build(arch).eval()
    flop = count_flop(network, rows * columns)
    return Cost(models.count_parameters(network), flop, (rows, columns))
