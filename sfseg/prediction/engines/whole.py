"""Run a network on a whole batch at once, channels last."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.prediction.engines.fold import fold
from sfseg.types import Normalised, Probability


def folded_on(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a network to a device and a dtype, with its batch normalisation folded in."""
    # PyTorch's annotations lack this keyword.
    return fold(network).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def batch_runner(
    forward: Callable[[Tensor], Tensor], device: torch.device, dtype: torch.dtype
) -> Callable[[Normalised], Probability]:
    """Make the `run` of an engine; `forward` maps (B, 1, Y, X) of `dtype` to logits."""

    def run(batch: Normalised) -> Probability:
        # frozen compiled code does not support inference_mode, in which the caller may be
        with torch.inference_mode(mode=False), torch.no_grad():
            # (B, Y, X) to (B, 1, Y, X)
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device, dtype)[:, None]
            x = x.contiguous(memory_format=torch.channels_last)
            return torch.sigmoid(forward(x).float())[:, 0].cpu().numpy()

    return run
