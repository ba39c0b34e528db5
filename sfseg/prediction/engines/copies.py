"""Copies between the memory of the host and that of a device, beside other work of the device."""

import torch
from torch import Tensor

from sfseg.types import AnyArray, Probability


def upload(pixels: AnyArray, device: torch.device) -> Tensor:
    """Start to copy an array to a device, on the current stream; the array may change at once.

    Parameters
    ----------
    pixels : ndarray, contiguous
        Any type that PyTorch has.
    device : torch.device
        Where to.

    Returns
    -------
    Tensor
        The same numbers on the device; on a CPU the same memory.
    """
    tensor = torch.from_numpy(pixels)
    if device.type == "cuda":  # memory that is not pinned would make the copy wait for the device
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def download(probability: Tensor, overflow: Tensor) -> tuple[Probability, int]:
    """Copy the result of a pass to the host, and wait for it, but for no work that comes later.

    Parameters
    ----------
    probability : Tensor of float32
        On a device; it is ready on the current stream.
    overflow : Tensor of int32, shape ()
        Beside it.

    Returns
    -------
    probability : ndarray of float32
        The same numbers.
    overflow : int
        The same number.
    """
    if probability.device.type != "cuda":
        return probability.cpu().numpy(), int(overflow)
    here, flag = (_to_host(result) for result in (probability, overflow))
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()
    arrived.synchronize()
    return here.numpy(), int(flag)


def _to_host(result: Tensor) -> Tensor:
    """Start to copy a result to pinned memory."""
    out = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    return out.copy_(result, non_blocking=True)
