"""The loss of a batch, and the weight of each pixel."""

import torch
from torch import Tensor
from torch.nn import functional

from sfseg.recipes import Recipe

UNKNOWN = -1.0
"""The target of pixels without tissue or without a label: nothing is learnt there."""


def pixel_weights(recipe: Recipe, targets: Tensor) -> Tensor:
    """Weigh each pixel: 1 inside a cell, the recipe's weight on a membrane, 0 if `UNKNOWN`."""
    return _class_weights(recipe, targets) * (targets >= 0)


def _class_weights(recipe: Recipe, targets: Tensor) -> Tensor:
    return 1 + (recipe.membrane_weight - 1) * (1 - targets)


def loss_of(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the recipe's loss.

    Parameters
    ----------
    recipe : Recipe
        Which loss, membrane weight, smoothing and adjustment.
    logits : Tensor of float32, shape (B, 1, Y, X)
        Output of the network.
    targets : Tensor of float32, shape (B, 1, Y, X)
        Interior probability in [0, 1], or `UNKNOWN`.

    Returns
    -------
    Tensor of float32, shape ()
        Mean over the pixels, weighted by `pixel_weights`; 0 for no pixels.

    Notes
    -----
    A higher weight of membranes moves the probability of 0.5 into the interior.
    `logit_adjustment` moves it back (Menon et al. 2021, arXiv:2007.07314).
    """
    weights = pixel_weights(recipe, targets)
    targets = targets.clamp(min=0)
    logits = logits - recipe.logit_adjustment
    # A soft target is part membrane; that part gets the weight of membrane pixels, too.
    targets = (
        targets / _class_weights(recipe, targets) * (1 - 2 * recipe.label_smoothing)
        + recipe.label_smoothing
    )
    if recipe.loss == "mse":
        losses = functional.mse_loss(torch.sigmoid(logits), targets, reduction="none")
    else:
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)
