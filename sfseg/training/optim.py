"""The optimiser of a recipe and its learning rate."""

from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from sfseg.models.blocks import Output
from sfseg.recipes import Recipe
from sfseg.training.muon import Muon


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0.

    Notes
    -----
    ``one_cycle`` rises linearly over the first tenth and falls to zero as half a cosine (Smith and
    Topin 2018, arXiv:1708.07120; Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    rise = max(steps // 10, 1)
    if step < rise:
        return recipe.learning_rate * (step + 1) / rise
    return recipe.learning_rate * (1 + cos(pi * (step - rise) / max(steps - rise, 1))) / 2


def make_optimizer(network: nn.Module, recipe: Recipe, dtype: torch.dtype) -> torch.optim.Optimizer:
    """Make the optimiser of a recipe; it updates all weights in one call if it can.

    Parameters
    ----------
    network : torch.nn.Module
        On its device.
    recipe : Recipe
        Names the optimiser, its learning rate and its weight decay.
    dtype : torch.dtype
        Arithmetic of its matrix products, if it has any.

    Returns
    -------
    torch.optim.Optimizer
        Over all parameters of the network.
    """
    weights = list(network.parameters())
    device = weights[0].device
    lr: float | Tensor = recipe.learning_rate
    if device.type == "cuda":  # a replayed update reads a tensor; a number stays as recorded
        lr = torch.tensor(lr, device=device)
    options: dict[str, Any] = {
        "lr": lr,
        "weight_decay": recipe.weight_decay,
        "fused": device.type in ("cpu", "cuda"),
        "capturable": isinstance(lr, Tensor),
    }
    if recipe.optimizer == "adam":
        return torch.optim.Adam(weights, **options)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(weights, **options)
    kernels = _inner_kernels(network)
    inner = set(kernels)
    others = [weight for weight in weights if weight not in inner]
    dtype = dtype if dtype == torch.bfloat16 else weights[0].dtype
    return Muon(kernels, torch.optim.AdamW(others, **options), dtype=dtype)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser of `make_optimizer`."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _inner_kernels(network: nn.Module) -> list[Tensor]:
    """List the kernels between the first and the last layer."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        and module.in_channels > 1
        and not isinstance(module, Output)
    ]
