"""Run a network on whole batches, channels last."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.prediction.engines.fold import fold
from sfseg.types import Normalised, Probability


def folded_on(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a network, folded, to a device and a type."""
    # PyTorch's own annotations leave this keyword out.
    return fold(network).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def batch_runner(
    forward: Callable[[Tensor], Tensor], device: torch.device, dtype: torch.dtype
) -> Callable[[Normalised], Probability]:
    """Make the `run` of an engine from what maps (B, 1, Y, X) of a type to logits."""

    def run(batch: Normalised) -> Probability:
        with torch.no_grad():  # not inference_mode, which frozen compiled code does not know
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device, dtype)[:, None]
            x = x.contiguous(memory_format=torch.channels_last)
            return torch.sigmoid(forward(x).float())[:, 0].cpu().numpy()

    return run
