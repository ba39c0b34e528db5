"""Muon: an optimiser for kernels, whose steps have the same size in all directions.

Adam scales each number of a kernel separately. But a kernel is a matrix, and a few directions
dominate its gradient, so the others are hardly learnt. Muon replaces the momentum by the nearest
matrix whose singular values are all 1 (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

That costs matrix products. With batches of four patches of 256x256 they are 2 GFLOP a step for SF
network, which is hardly any. They add 31 % to a step of U-Net (360 GFLOP) and 45 % to one of
FusionNet (1,120 GFLOP).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

MOMENTUM = 0.95

RMS_OF_STEP = 0.6
"""Root mean square of the numbers of a step at a learning rate of 1.

Adam's is 0.2 to 0.4 (Liu et al. 2025, arXiv:2502.16982), so one learning rate suits both. This is
the first value that was tried; no other one was.
"""

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration: five rounds bring values of 0.01 to 1 near 1."""

SMALLEST_NORM = 1e-12
"""Smallest norm of a matrix that is brought near 1; the squares of smaller numbers round to 0."""


class Muon(torch.optim.Optimizer):
    """Muon for kernels, and AdamW for all other weights.

    Parameters
    ----------
    kernels : sequence of Tensor
        Kernels of convolutions, four dimensions each. Equal shapes are computed together.
    adamw : torch.optim.AdamW
        The optimiser of the biases, the normalisations, and the first and the last layer. Its
        learning rate and weight decay are those of the kernels, too.
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
        """Take a step along the current gradients."""
        kernels, others = self.param_groups
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for kernel in kernels["params"]:
            by_shape.setdefault(kernel.shape, []).append(kernel)
        for alike in by_shape.values():
            self._step_alike(alike, kernels["lr"], kernels["weight_decay"])
        # Loading a state replaces both of these objects.
        self._adamw.state, self._adamw.param_groups = self.state, [others]
        self._adamw.step()

    def _step_alike(self, kernels: list[Tensor], lr: float | Tensor, weight_decay: float) -> None:
        """Take a step with kernels of one shape."""
        gradients = [cast("Tensor", kernel.grad) for kernel in kernels]
        for kernel in kernels:
            if kernel not in self.state:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # the momentum of Nesterov
        matrices = torch.stack([step.flatten(1) for step in ahead])
        # The root mean square of a matrix whose singular values are all 1.
        rms = max(matrices.shape[1:]) ** -0.5
        steps = orthogonalise(matrices.to(self._dtype)).to(matrices) * (-lr * RMS_OF_STEP / rms)
        torch._foreach_mul_(kernels, 1 - lr * weight_decay)
        torch._foreach_add_(
            kernels, [step.view(kernel.shape) for step, kernel in zip(steps, kernels, strict=True)]
        )


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices near 1; a matrix that is almost zero stays so.

    Parameters
    ----------
    matrices : Tensor, shape (N, R, C)
        In any floating-point type; the shorter side is computed first.

    Returns
    -------
    Tensor, shape (N, R, C)
        Singular values between about 0.7 and 1.2; those below a hundredth of the norm stay smaller.
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
