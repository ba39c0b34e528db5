"""The loss of a batch, and what each pixel weighs in it."""

import torch
from torch import Tensor
from torch.nn import functional

from sfseg.recipes import Recipe


def pixel_weights(recipe: Recipe, targets: Tensor) -> Tensor:
    """Weigh each pixel: one inside a cell 1, one of a membrane the recipe's weight."""
    return 1 + (recipe.membrane_weight - 1) * (1 - targets)


def loss_of(recipe: Recipe, logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the recipe's loss.

    Parameters
    ----------
    recipe : Recipe
        Which loss, membrane weight, smoothing and adjustment.
    logits : Tensor of float32, shape (B, 1, Y, X)
        What the network said.
    targets : Tensor of float32, shape (B, 1, Y, X)
        Interior probability in [0, 1].

    Returns
    -------
    Tensor of float32, shape ()
        Mean over the pixels, weighted by `pixel_weights`; 0 for no pixels.

    Notes
    -----
    Membranes that weigh more move the probability of 0.5 into the interior; `logit_adjustment`
    moves it back (Menon et al. 2021, arXiv:2007.07314).
    """
    weights = pixel_weights(recipe, targets)
    logits = logits - recipe.logit_adjustment
    # Of a soft target, the membrane's part weighs more, as so many membrane pixels would.
    targets = targets / weights * (1 - 2 * recipe.label_smoothing) + recipe.label_smoothing
    if recipe.loss == "mse":
        losses = functional.mse_loss(torch.sigmoid(logits), targets, reduction="none")
    else:
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)
