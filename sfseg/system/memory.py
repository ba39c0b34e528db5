"""Memory: how much is free, and which errors mean that it ran out."""

import os
import re
from functools import cache
from pathlib import Path

import torch

from sfseg.system.limits import memory_left_bytes

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|bad_alloc"
    # What PyTorch says if no algorithm of cuDNN gets its memory, and what CUDA's libraries say.
    r"|unable to find an engine|find a valid cuDNN algorithm|STATUS_ALLOC_FAILED"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of Python, PyTorch or OpenVINO means that memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


FALLBACK_BYTES = 4 * 2**30
"""Assumed free memory if the system does not report it."""


def available_bytes(device: torch.device) -> int:
    """Measure the free memory of a device.

    On a CPU this is the memory that the system can give without swapping, or less if a container
    or a cluster job has a lower limit.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    left = memory_left_bytes()
    return _system_bytes() if left is None else min(_system_bytes(), left)


@cache
def base_bytes() -> int:
    """Return the memory that this process held at the first call.

    Later it holds more, mostly freed memory that is kept for the next allocation.
    """
    return used_bytes()


def used_bytes() -> int:
    """Measure the memory that this process holds; 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _system_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        text = meminfo.read_text(encoding="utf-8")
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return FALLBACK_BYTES
