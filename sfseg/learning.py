"""How a network learns from a batch: loss, optimiser, learning rate, average of the weights."""

from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfseg.models.blocks import Output
from sfseg.muon import Muon
from sfseg.recipes import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step, from 0.

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
    """Make the recipe's optimiser, which steps through all weights in one go where it can.

    Parameters
    ----------
    network : torch.nn.Module
        Placed where it will learn.
    recipe : Recipe
        Which optimiser, its rate and its decay.
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
    if device.type == "cuda":  # where the update is replayed, which a number would not survive
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
    """Let an optimiser of `make_optimizer` take its next steps at that rate."""
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


def is_frozen(recipe: Recipe, step: int, steps: int) -> bool:
    """Tell whether a step, from 0, normalises by the statistics of the average."""
    return step >= _first_frozen(recipe, steps)


def _first_frozen(recipe: Recipe, steps: int) -> int:
    return steps - round(recipe.frozen_share * steps)


@torch.no_grad()
def set_mode(network: nn.Module, average: nn.Module, recipe: Recipe, step: int, steps: int) -> None:
    """Let a network learn; from the first frozen step on, with the statistics of the average."""
    if not network.training:
        network.train()
    if not is_frozen(recipe, step, steps):
        return
    if step == _first_frozen(recipe, steps):
        for ours, averaged in zip(_normalisations(network), _normalisations(average), strict=True):
            for buffer, wanted in zip(ours.buffers(), averaged.buffers(), strict=True):
                buffer.copy_(wanted)
    for normalisation in _normalisations(network):
        normalisation.eval()


def _normalisations(network: nn.Module) -> list[nn.Module]:
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)  # the second on several GPUs
    return [module for module in network.modules() if isinstance(module, kinds)]


def decay_of_average(recipe: Recipe, step: int) -> float:
    """Return how much of itself the average of the weights keeps at a step, from 0.

    It grows with the step, (1 + step) / (10 + step), until it reaches the recipe's, so that the
    average forgets the random start.
    """
    return min(recipe.ema_decay, (1 + step) / (10 + step))


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float | Tensor) -> None:
    """Move an exponential average of the weights one step on; a decay of 0 copies them.

    Batch statistics are averaged alike; counters are copied.
    """
    pairs = list(zip(_tensors(average), _tensors(network), strict=True))
    moving = [ours for ours, _ in pairs if ours.is_floating_point()]
    target = [theirs for _, theirs in pairs if theirs.is_floating_point()]
    # One call for hundreds of tensors: a loop over them takes longer than the arithmetic.
    torch._foreach_sub_(moving, target)
    torch._foreach_mul_(moving, decay)
    torch._foreach_add_(moving, target)
    for ours, theirs in pairs:
        if not ours.is_floating_point():
            ours.copy_(theirs)


def _tensors(network: nn.Module) -> list[Tensor]:
    """List the weights, the batch statistics and the counters."""
    return [*network.parameters(), *network.buffers()]
