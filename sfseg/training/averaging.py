"""The exponential average of the weights, and the statistics that are frozen to it."""

import torch
from torch import Tensor, nn

from sfseg.recipes import Recipe


def is_frozen(recipe: Recipe, step: int, steps: int) -> bool:
    """Tell whether a step, from 0, normalises by the averaged statistics."""
    return step >= _first_frozen(recipe, steps)


def _first_frozen(recipe: Recipe, steps: int) -> int:
    return steps - round(recipe.frozen_share * steps)


@torch.no_grad()
def set_mode(network: nn.Module, average: nn.Module, recipe: Recipe, step: int, steps: int) -> None:
    """Put a network in training mode; from the first frozen step on, with averaged statistics."""
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
    """Update an exponential average of the weights; a decay of 0 copies them.

    Batch statistics are averaged, too; counters are copied.
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
