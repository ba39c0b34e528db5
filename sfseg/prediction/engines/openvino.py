"""The engine `openvino`: Intel's runtime for CPUs, in the extra ``openvino``.

It runs only if it is named, never with ``auto``. Versions 2024.6, 2025.4 and 2026.4 write outside
of their memory, alone and beside PyTorch: glibc's checking allocator stops with ``free(): invalid
next size``, as in openvino issue 31633, and processes crashed at random. Saving a tenth of the time
is not worth a wrong pixel.
"""

import importlib.util
import warnings

import numpy as np
import torch
from torch import nn

from sfseg.errors import DeviceError, MissingExtraError
from sfseg.models import STRIDE
from sfseg.prediction.engines.engine import Engine
from sfseg.prediction.engines.fold import fold
from sfseg.types import Normalised, Probability

BYTES_PER_PX = 850
"""Memory of a pass in bf16, measured at 2048x2048: 460 with sfnet, 650 with fusionnet, 840 with
unet; in float32 less than twice as much."""


def has_openvino() -> bool:
    """Tell whether the extra is installed."""
    return importlib.util.find_spec("openvino") is not None


def openvino_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of OpenVINO.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    device : torch.device
        The CPU.
    dtype : torch.dtype
        Type of the convolutions' arithmetic.

    Returns
    -------
    Engine
        Takes any size without compiling again; runs the sections of a batch one by one.

    Raises
    ------
    MissingExtraError
        If the extra ``openvino`` is not installed.
    DeviceError
        If the device is not a CPU.
    """
    if device.type != "cpu":
        raise DeviceError(
            f"engine openvino: it only runs on the CPU, not on {device}",
            hint="use --engine torch, which runs everywhere",
        )
    if not has_openvino():
        raise MissingExtraError.from_extra("openvino", "engine openvino")
    import openvino

    example = torch.zeros(1, 1, STRIDE, STRIDE)
    # Tracing and freezing here takes a third of the time of OpenVINO's own conversion.
    with warnings.catch_warnings():  # PyTorch deprecates TorchScript, but OpenVINO reads it
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(fold(network), example, check_trace=False)  # type: ignore[no-untyped-call]
        traced = torch.jit.freeze(traced.eval())
        model = openvino.convert_model(traced, example_input=example)
    model.reshape([1, 1, -1, -1])
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(batch: Normalised) -> Probability:
        probability = np.empty(batch.shape, np.float32)
        for section, out in zip(batch, probability, strict=True):
            request.infer([section[None, None]], share_inputs=True)
            logits = torch.from_numpy(request.get_output_tensor().data)[0, 0]
            torch.sigmoid(logits, out=torch.from_numpy(out))
        return probability

    return Engine("openvino", device, dtype, run, BYTES_PER_PX * dtype.itemsize // 2)
