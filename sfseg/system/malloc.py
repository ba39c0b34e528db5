"""What the C library keeps of the memory that a process frees."""

import ctypes
import sys
from collections.abc import Callable

import numpy as np

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

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
        np.empty(up_to_bytes, np.uint8)
        return
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # a mapped block always returns to the system when it is freed
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_ARENA_MAX, 1)  # a thread with an arena of its own returns 64 MiB at a time


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
