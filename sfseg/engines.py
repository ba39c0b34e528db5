"""Run a network on a device: which device, which arithmetic, and one forward pass."""

import re
import shutil
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sfseg.config import Precision
from sfseg.errors import DeviceError
from sfseg.terms import AnyArray, Probability

Engine = Callable[[AnyArray], Probability]
"""Normalised sections, float32 (B, Y, X), to interior probability, float32 (B, Y, X)."""


def pick_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there; never falls back in silence.

    Parameters
    ----------
    name : str
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    DeviceError
        If the name is not one of these or the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", name):
        raise DeviceError(
            f"device: expected auto, cpu, cuda, cuda:N or mps, found {name!r}",
            hint="--device auto takes the best one that is there",
        )
    kind, _, number = name.partition(":")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}[kind]
    if int(number or 0) >= found:
        raise DeviceError(
            f"device {name}: expected it to be there, found {found} {kind} devices",
            hint="--device cpu works everywhere"
            + ("" if torch.version.cuda else "; this PyTorch was built without CUDA")
            * (kind == "cuda"),
        )
    return torch.device(name)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def describe(name: str, precision: Precision) -> str:
    """Name the device and the arithmetic that are picked, as a person would.

    Raises
    ------
    DeviceError
        If there is no such device.
    """
    device = pick_device(name)
    arithmetic = "bf16" if pick_dtype(precision, device) == torch.bfloat16 else "float32"
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)}, {arithmetic})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads, {arithmetic})"
    return f"{device} ({arithmetic})"


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the type of the convolutions' arithmetic.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bf16'}
        Auto takes bf16 where the hardware computes it faster than float32.
    device : torch.device
        Where it is to run.

    Returns
    -------
    torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        # Ampere (8.0) is the first with bf16 tensor cores; older ones emulate it.
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and (
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, channels last, which its convolutions prefer."""
    # PyTorch's own annotations leave this keyword out.
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Make the context in which convolutions compute in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a network for training; its parameters stay shared."""
    return cast("Callable[[Tensor], Tensor]", torch.compile(network))


def require_compiler() -> None:
    """Refuse to compile where that cannot work.

    Raises
    ------
    DeviceError
        If there is no C++ compiler.
    """
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise DeviceError(
            "compile: expected a C++ compiler, found none",
            hint="leave --compile out, or install g++ or clang++",
        )


def torch_engine(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Engine:
    """Make an engine of plain PyTorch.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, 1, Y, X) to logits; is moved to the device and put into evaluation mode.
    device : torch.device
        Where to run.
    dtype : torch.dtype
        Type of the convolutions' arithmetic; the logits are float32.

    Returns
    -------
    callable
        float32 (B, Y, X) -> interior probability, float32 (B, Y, X).
    """
    place(network, device).eval()

    def run(batch: AnyArray) -> Probability:
        x = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(device)[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device, dtype):
            probability = torch.sigmoid(network(x).float())[:, 0]
        return probability.cpu().numpy()

    return run


BYTES_PER_PX = {torch.bfloat16: 1000, torch.float32: 2000}
"""Peak memory of one forward pass: 730 to 950 in bf16 and 1,490 to 1,970 in float32, measured on a
CPU with each architecture at 1024x1024."""

FALLBACK_BYTES = 4 * 2**30
"""Taken for the available memory where the system does not tell."""


def fitting_tile_px(device: torch.device, dtype: torch.dtype, halo_px: int) -> int:
    """Choose the side of a tile's core so that half of the available memory is enough.

    Parameters
    ----------
    device : torch.device
        Whose memory counts.
    dtype : torch.dtype
        Type of the convolutions' arithmetic.
    halo_px : int
        Margin on each side of the core.

    Returns
    -------
    int
        A multiple of 16, at least 64.
    """
    side = isqrt(_available_bytes(device) // 2 // BYTES_PER_PX[dtype])
    return max((side - 2 * halo_px) // 16 * 16, 64)


def _available_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return FALLBACK_BYTES
