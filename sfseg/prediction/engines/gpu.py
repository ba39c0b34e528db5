"""The engine `torch` on a GPU: fused steps, CUDA graphs, copies beside the computing.

The result of a section does not depend on the other sections of a batch, but may depend in its last
digits on how many there are: cuDNN chooses its algorithm by the shape. It also depends on the GPU
and on the versions of PyTorch and cuDNN.
"""

import threading

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.errors import NonFiniteError
from sfseg.prediction.engines.copies import copy_stream, download, on_gpu, upload
from sfseg.prediction.engines.engine import Engine
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.fused import Fused
from sfseg.prediction.engines.graphs import Forward, Recorder
from sfseg.prediction.engines.operations import Target, unique
from sfseg.prediction.engines.probe import choose_operations
from sfseg.system.memory import is_out_of_memory
from sfseg.types import Normalised, Probability

BYTES_PER_PX = 700
"""Memory of a pass in 16 bits where it cannot be measured, as on MPS: unet needs the most, about
five activations of 64 channels; in float32 it is twice as much."""

MEASURED_PX = 512
"""Side of the section whose memory is measured: large enough that little else counts."""

MOST_NUMBERS = 2**31 - 1
"""Numbers of an activation: many a kernel of cuDNN, and of MPS, counts no further."""

MARGIN = 1.1
"""More memory than was measured, because blocks of memory are rounded up and may not fit."""


def gpu_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make the engine of fused steps.

    Parameters
    ----------
    network : torch.nn.Module
        One of `sfseg.models`; it is not changed.
    device, dtype : torch.device, torch.dtype
        Any device; CUDA has the fused steps, and copies and computes at the same time. With float16
        an activation that is too large is a `NonFiniteError`.

    Returns
    -------
    Engine
        With `Engine.forward`.
    """
    fused = Fused(fold(network), Target(device, dtype))
    with torch.inference_mode(), on_gpu(device):
        choose_operations(list(fused.operations()))
        bytes_per_px = measure_bytes(fused, device) or BYTES_PER_PX * dtype.itemsize // 2
        if device.type == "cuda":
            torch.cuda.empty_cache()  # the passes have a stream of their own, and memory with it
    passes = (
        CudaPasses(fused, device, bytes_per_px) if device.type == "cuda" else Passes(fused, device)
    )
    return Engine(
        "torch",
        device,
        dtype,
        passes.run,
        bytes_per_px,
        forward=passes.forward,
        most_px=MOST_NUMBERS // fused.widest,
        steps=describe_steps(fused),
    )


def describe_steps(fused: Fused) -> tuple[tuple[str, str], ...]:
    """Say of each kind of step, and of its channels, whether it runs fused."""
    return tuple(
        (" ".join(map(str, key)), "fused" if same[0].is_fused else "PyTorch")
        for key, same in unique(fused.operations()).items()
    )


def measure_bytes(forward: Forward, device: torch.device) -> int | None:
    """Measure the memory of a pass for each pixel, input and result included; None if not on CUDA.

    A GPU that has no room for a small section is left to the first pass.
    """
    if device.type != "cuda":
        return None
    try:
        forward(torch.zeros(1, MEASURED_PX, MEASURED_PX, device=device))  # cuDNN loads its own
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        forward(torch.zeros(1, MEASURED_PX, MEASURED_PX, device=device))
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    used = torch.cuda.max_memory_allocated(device) - before
    return int(MARGIN * used / MEASURED_PX**2)


class Passes:
    """Do passes one after the other.

    Parameters
    ----------
    forward : callable
        Maps sections on the device to probability, and to the flag of an overflow.
    device : torch.device
        Where it runs.
    """

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward, self._device = forward, device

    def forward(self, sections: Tensor) -> tuple[Tensor, Tensor]:
        """Predict sections that are on the device; see `Engine.forward`."""
        with torch.inference_mode():
            return self._forward(sections)

    def run(self, batch: Normalised) -> Probability:
        """Predict a batch in the memory of the host; see `Engine.run`."""
        with copy_stream(self._device):
            sections = upload(np.ascontiguousarray(batch), self._device)
            probability, flag = download(*self.forward(sections))
        require_finite(flag)
        return probability


class CudaPasses(Passes):
    """Do passes in a stream of their own, so that copies in other streams run beside them.

    Several threads may ask for passes.
    """

    def __init__(self, forward: Forward, device: torch.device, bytes_per_px: int) -> None:
        self._recorder = Recorder(forward, device, bytes_per_px)
        super().__init__(self._recorder, device)
        self._compute = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()

    def forward(self, sections: Tensor) -> tuple[Tensor, Tensor]:
        """Predict sections that are on the GPU, in the order of the current stream."""
        caller = torch.cuda.current_stream(self._device)
        with self._lock, torch.inference_mode(), on_gpu(self._device):
            results = self._run(sections, after=caller)
            caller.wait_stream(self._compute)
            _keep_for(caller, *results)
        return results

    def _run(self, sections: Tensor, *, after: torch.cuda.Stream) -> tuple[Tensor, Tensor]:
        """Do a pass when a stream has made its input; all passes have one stream, so one memory."""
        self._compute.wait_stream(after)
        _keep_for(self._compute, sections)
        try:
            with torch.cuda.stream(self._compute):
                return self._recorder(sections)
        except RuntimeError as error:
            if is_out_of_memory(error):  # a smaller batch needs what the recordings hold
                self._recorder.forget()
            raise


def _keep_for(stream: torch.cuda.Stream, *tensors: Tensor) -> None:
    """Keep the memory of tensors that another stream made until this one has used them."""
    for tensor in tensors:
        tensor.record_stream(stream)


def require_finite(overflow: int) -> None:
    """Refuse the result of a pass in which float16 was too small.

    Raises
    ------
    NonFiniteError
        If the flag is set.
    """
    if overflow:
        raise NonFiniteError(
            "precision fp16: the network reaches numbers that are too large for it in this section",
            hint="use --precision bf16, which has larger ones",
        )
