"""Compile kernels with numba, and keep the machine code between runs."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel on its first call; keep the machine code if there is a folder for it."""
    try:
        kernel: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return cast("Kernel", numba.njit(nogil=True)(function))
    _tolerate_damage(kernel._cache)
    return cast("Kernel", kernel)


def _tolerate_damage(cache: Any) -> None:
    """Let the code be compiled again if its file is damaged: numba would raise what pickle raises.

    Parameters
    ----------
    cache : numba.core.caching.FunctionCache
        The files of one kernel.
    """
    load, save = cache.load_overload, cache.save_overload

    def load_if_sound(*key: object) -> object:
        try:
            return load(*key)
        except Exception:  # noqa: BLE001 - damaged bytes can raise anything
            with contextlib.suppress(OSError):  # the files may be those of another user
                cache.flush()
            return None

    def save_if_possible(*kernel: object) -> None:
        with contextlib.suppress(Exception):
            save(*kernel)

    cache.load_overload, cache.save_overload = load_if_sound, save_if_possible
