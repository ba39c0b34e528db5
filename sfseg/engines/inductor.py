"""The engine `compile`: torch.compile, which needs a compiler and a minute for each tile size."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.devices import require_compiler
from sfseg.engines.engine import Engine
from sfseg.engines.fold import fold
from sfseg.terms import Normalised, Probability

BYTES_PER_PX = 1000
"""Of a whole pass in bf16, the widest network; in float32 it is twice that."""


def compiled_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of `torch.compile`.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; is left as it is.
    device, dtype : torch.device, torch.dtype
        Where to run, and in which arithmetic.

    Returns
    -------
    Engine
        Compiles when it first sees a size. On a CPU the weights are frozen into the code; on a GPU
        the kernels are recorded once and replayed, as a CUDA graph.

    Raises
    ------
    DeviceError
        If there is no C++ compiler.
    """
    require_compiler("--engine torch")
    # PyTorch's own annotations leave this keyword out.
    folded = fold(network).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    option = "triton.cudagraphs" if device.type == "cuda" else "freezing"
    compiled = cast(
        "Callable[[Tensor], Tensor]", torch.compile(folded, dynamic=False, options={option: True})
    )

    def run(batch: Normalised) -> Probability:
        with torch.no_grad():  # freezing does not know inference_mode
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device, dtype)[:, None]
            x = x.contiguous(memory_format=torch.channels_last)
            return torch.sigmoid(compiled(x).float())[:, 0].cpu().numpy()

    return Engine("compile", device, dtype, run, BYTES_PER_PX * dtype.itemsize // 2)
