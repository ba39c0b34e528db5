"""The engine `compile`: torch.compile, which needs a C++ compiler and a minute per tile size."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from sfseg.errors import DeviceError
from sfseg.prediction.engines.engine import Engine
from sfseg.prediction.engines.whole import batch_runner, folded_on
from sfseg.system.compiler import explain_compiler_errors, require_compiler

BYTES_PER_PX = 1000
"""Memory of a pass in bf16 with the widest network; in float32 it is twice as much."""


def compiled_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of `torch.compile`.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    device, dtype : torch.device, torch.dtype
        Where to run, and the type of the arithmetic.

    Returns
    -------
    Engine
        Compiles at the first tile of each size. On a CPU the weights become constants in the code;
        on a GPU the kernels are recorded once and replayed, as a CUDA graph.

    Raises
    ------
    DeviceError
        If there is no C++ compiler; or in the first pass of a size, if the compiler fails. Also in
        fp16, because nothing would notice numbers that are too large for it.
    """
    instead = "use --engine torch"
    if dtype == torch.float16:
        raise DeviceError("engine compile: it has no fp16", hint=instead)
    require_compiler(instead)
    folded = folded_on(network, device, dtype)
    option = "triton.cudagraphs" if device.type == "cuda" else "freezing"
    compiled = cast(
        "Callable[[Tensor], Tensor]", torch.compile(folded, dynamic=False, options={option: True})
    )

    def forward(x: Tensor) -> Tensor:
        with explain_compiler_errors(instead):
            return compiled(x)

    run = batch_runner(forward, device, dtype)
    return Engine("compile", device, dtype, run, BYTES_PER_PX * dtype.itemsize // 2)
