"""Muon: for kernels, a step of the same size in every direction that the gradients agree on.

Adam scales each number of a kernel by itself. A kernel is a matrix, though, and the gradient of
one consists mostly of a few directions, so that the others are hardly learnt. Muon replaces the
momentum by the nearest matrix whose singular values are all 1 (Jordan et al. 2024,
kellerjordan.github.io/posts/muon).

That costs matrix products: with batches of four patches of 256x256 hardly any for SF network (2
GFLOP a step), but 31 % of a step more for U-Net (360 GFLOP) and 45 % for FusionNet (1,120 GFLOP).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

MOMENTUM = 0.95

RMS_OF_STEP = 0.6
"""Root mean square of the numbers of a step at a learning rate of 1.

Adam's is 0.2 to 0.4 (Liu et al. 2025, arXiv:2502.16982), so that one rate does for both. This is
the first value that was tried, and not searched for.
"""

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration: five rounds bring every singular value from 0.01 on near 1."""

SMALLEST_NORM = 1e-12
"""Of a matrix that is still brought near 1; the squares of smaller numbers would round to 0."""


class Muon(torch.optim.Optimizer):
    """Muon for kernels, beside AdamW for all else.

    Parameters
    ----------
    kernels : sequence of Tensor
        Of convolutions, four dimensions each; those of the same shape are computed together.
    adamw : torch.optim.AdamW
        Over the biases, the normalisations, and the first and the last layer. Its learning rate
        and its weight decay, the share of the weights that a step takes off at a rate of 1, hold
        for the kernels, too.
    dtype : torch.dtype
        Arithmetic of the iteration on `kernels`; bfloat16 is enough.
    """

    def __init__(
        self, kernels: Sequence[Tensor], adamw: torch.optim.AdamW, *, dtype: torch.dtype
    ) -> None:
        self._adamw = adamw
        self._dtype = dtype
        shared = {name: adamw.defaults[name] for name in ("lr", "weight_decay")}
        super().__init__([{"params": list(kernels)}, *adamw.param_groups], shared)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take a step along the gradients that are there."""
        kernels, others = self.param_groups
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for kernel in kernels["params"]:
            by_shape.setdefault(kernel.shape, []).append(kernel)
        for alike in by_shape.values():
            self._step_alike(alike, kernels["lr"], kernels["weight_decay"])
        # Loading a state makes new ones of both.
        self._adamw.state, self._adamw.param_groups = self.state, [others]
        self._adamw.step()

    def _step_alike(self, kernels: list[Tensor], lr: float | Tensor, weight_decay: float) -> None:
        """Step with kernels of one shape."""
        gradients = [cast("Tensor", kernel.grad) for kernel in kernels]
        for kernel in kernels:
            if kernel not in self.state:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # as Nesterov looks ahead
        matrices = torch.stack([step.flatten(1) for step in ahead])
        # Of a matrix with all singular values 1, the root mean square is this.
        rms = max(matrices.shape[1:]) ** -0.5
        steps = orthogonalise(matrices.to(self._dtype)).to(matrices) * (-lr * RMS_OF_STEP / rms)
        torch._foreach_mul_(kernels, 1 - lr * weight_decay)
        torch._foreach_add_(
            kernels, [step.view(kernel.shape) for step, kernel in zip(steps, kernels, strict=True)]
        )


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices near 1; a matrix of almost nothing stays one.

    Parameters
    ----------
    matrices : Tensor, shape (N, R, C)
        In any arithmetic; those that are not square are computed with the shorter side first.

    Returns
    -------
    Tensor, shape (N, R, C)
        With singular values between about 0.7 and 1.2; those that were below a hundredth of the
        norm are smaller.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT).mT
    a, b, c = QUINTIC
    norms = torch.linalg.matrix_norm(matrices, keepdim=True)
    matrices = matrices / norms.clamp(min=SMALLEST_NORM)
    for _ in range(5):
        squares = matrices @ matrices.mT
        matrices = a * matrices + (b * squares + c * squares @ squares) @ matrices
    return matrices
