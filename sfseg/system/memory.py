"""Memory: how much is free, what a process keeps of it, and which errors mean that it ran out."""

import ctypes
import os
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from sfseg.system.limits import memory_left_bytes

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|bad_alloc")


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


# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4

LARGEST_KEPT_BYTES = 2**25
"""The GNU C library keeps freed blocks of at most this size; DEFAULT_MMAP_THRESHOLD_MAX there."""


def keep_freed_memory(up_to_bytes: int | None = None) -> None:
    """Keep freed memory in this process, for its next allocation.

    Otherwise the C library returns large freed blocks to the system, and gets them back a step
    later, zeroed page by page. That takes a quarter of a training step on a CPU. The setting holds
    until the process ends; `give_back_memory` returns what is free. Needs the GNU C library.

    Parameters
    ----------
    up_to_bytes : int, optional
        Keep only blocks of at most this size, below 32 MiB, so that large arrays do not add to the
        memory of the process; by default all.
    """
    if up_to_bytes is not None:
        # The library keeps blocks up to the size of the largest that it has seen freed. `mallopt`
        # would also undo an earlier call that keeps all.
        torch.empty(up_to_bytes, dtype=torch.uint8)
        return
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # a mapped block always returns to the system when it is freed
        mallopt(_M_TRIM_THRESHOLD, -1)


def keep_memory_as_usual() -> None:
    """Keep freed memory as any process does that no variable of the environment tells otherwise.

    Dask sets ``MALLOC_TRIM_THRESHOLD_`` for its workers. Then the C library no longer learns which
    blocks come back, and a fifth of the time of a prediction is the system's, which gives pages.
    Needs the GNU C library.
    """
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * LARGEST_KEPT_BYTES)  # what the library would choose


def give_back_memory() -> None:
    """Return the freed memory that this process kept to the system."""
    malloc_trim = _c_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _c_function(name: str) -> Callable[..., int] | None:
    """Find a function of the C library that only the GNU one has; None elsewhere."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)


def _system_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        text = meminfo.read_text(encoding="utf-8")
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return FALLBACK_BYTES
