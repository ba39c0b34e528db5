"""Copies between the memory of the host and that of a device, beside other work of the device."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from sfseg.types import AnyArray, Probability

_FREE_STREAMS: defaultdict[torch.device, list[torch.cuda.Stream]] = defaultdict(list)


def on_gpu(device: torch.device) -> torch.cuda.device:
    """Make a GPU the current one, for kernels and events; nothing for other devices."""
    return torch.cuda.device(device if device.type == "cuda" else -1)


@contextlib.contextmanager
def copy_stream(device: torch.device) -> Iterator[None]:
    """Work on a stream of a GPU that no other thread works on; nothing for other devices.

    A stream is used again: memory that PyTorch has freed stays with the stream that it was for.
    """
    if device.type != "cuda":
        yield
        return
    free = _FREE_STREAMS[device]
    try:
        stream = free.pop()
    except IndexError:
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    try:
        with on_gpu(device), torch.cuda.stream(stream):
            yield
    finally:
        free.append(stream)


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
