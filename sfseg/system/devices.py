"""Devices: choose one, know which arithmetic is fast on it, and how much memory is free."""

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from sfseg.config import Precision
from sfseg.errors import DeviceError


def pick_device(name: str) -> torch.device:
    """Turn the name of a device into the device; if it is missing, stop with an error.

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
            f"device: there is no device {name!r}",
            hint="choose auto, cpu, cuda, cuda:N or mps; auto takes the best one here",
        )
    kind, _, number = name.partition(":")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}[kind]
    if int(number or 0) >= found:
        raise DeviceError(
            f"device {name}: not on this machine, which has {_count(found, kind)}"
            + ("" if torch.version.cuda else " (this PyTorch was built without CUDA)")
            * (kind == "cuda"),
            hint="use --device cpu, which works everywhere",
        )
    return torch.device(name)


def _count(number: int, kind: str) -> str:
    return f"{number or 'no'} {kind} device{'s' * (number != 1)}"


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def describe(device: torch.device, dtype: torch.dtype, engine: str = "") -> str:
    """Describe a device, an engine and the arithmetic in one phrase."""
    arithmetic = "bf16" if dtype == torch.bfloat16 else "float32"
    facts = [engine] * bool(engine) + [arithmetic]
    if device.type == "cuda":
        facts.insert(0, torch.cuda.get_device_name(device))
    if device.type == "cpu":
        facts.insert(0, f"{torch.get_num_threads()} threads")
    return f"{device} ({', '.join(facts)})"


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the number type for the arithmetic of convolutions.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bf16'}
        Auto takes bf16 if the hardware computes it faster than float32.
    device : torch.device
        Where the network runs.

    Returns
    -------
    torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.

    Raises
    ------
    DeviceError
        If bf16 is requested by name and the processor has no instructions for it.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bf16(device) else torch.float32
    if precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            "precision bf16: needs a processor with AVX-512; this one has "
            f"{torch.backends.cpu.get_cpu_capability()}",
            hint="use --precision float32, or auto, which is the same here",
        )
    return torch.bfloat16 if precision == "bf16" else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type without the ``torch.``: ``float32`` or ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device can compute convolutions in bf16, even if slowly."""
    # oneDNN computes them on a CPU, and has bf16 only with AVX-512 or AVX-NE-CONVERT.
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        # Ampere (8.0) is the first with bf16 tensor cores; older ones emulate it.
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and (
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, channels last: convolutions are faster in that layout."""
    # PyTorch's annotations lack this keyword.
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which convolutions compute in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a network for training; its parameters stay shared."""
    return cast("Callable[[Tensor], Tensor]", torch.compile(network))


def fetch(numbers: Tensor) -> Callable[[], list[float]]:
    """Start to copy numbers from a device to the host.

    Returns
    -------
    callable
        Waits for the copy, but not for work that the device gets later; returns the numbers.
    """
    if numbers.device.type != "cuda":
        return numbers.tolist
    arriving = numbers.to("cpu", non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()

    def wait() -> list[float]:
        arrived.synchronize()
        return arriving.tolist()

    return wait


def require_compiler(instead: str) -> None:
    """Refuse to compile without a working C++ compiler.

    Parameters
    ----------
    instead : str
        What the user can do without a compiler, for the hint.

    Raises
    ------
    DeviceError
        If there is no C++ compiler, or the one in the variable CXX does not run.
    """
    if (named := os.environ.get("CXX")) is not None:
        try:  # torch.compile uses this one and no other
            subprocess.run([*shlex.split(named), "--version"], capture_output=True, check=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise DeviceError(
                f"CXX: the C++ compiler {named!r} does not run",
                hint=f"{instead}, or correct the variable CXX",
            ) from error
    elif not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise DeviceError(
            "compile: there is no C++ compiler",
            hint=f"{instead}, or install g++ or clang++",
        )


@contextlib.contextmanager
def explain_compiler_errors(instead: str) -> Iterator[None]:
    """Turn the errors of a compilation in the block into a DeviceError with a hint.

    Parameters
    ----------
    instead : str
        What the user can do without a compiler, for the hint.

    Raises
    ------
    DeviceError
        For an error of torch.compile or of the C++ compiler.
    """
    # Slow to import, so only before a compilation, which needs them anyway.
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        yield
    except (
        TorchDynamoException,
        CppCompileError,
        InvalidCxxCompiler,
        subprocess.SubprocessError,
    ) as error:
        if is_out_of_memory(error):
            raise
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(
            f"compile: the network cannot be compiled: {cause}",
            hint=f"{instead}, or repair the C++ compiler",
        ) from error


_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of Python, PyTorch or OpenVINO means that memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


FALLBACK_BYTES = 4 * 2**30
"""Assumed free memory if the system does not report it."""

_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Measure the free memory of a device.

    On a CPU this is the memory that the system can give without swapping, or less if a container
    or a cluster job has a lower limit.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return min(_system_bytes(), *_limits_bytes())


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
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


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
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return FALLBACK_BYTES


def _limits_bytes() -> Iterator[int]:
    """Yield the bytes left under each memory limit of this process."""
    yield 2**62
    for folder, limit, used in _groups():
        with contextlib.suppress(OSError, ValueError):  # no such file, or it says "max"
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            yield left + _cached_bytes(folder / "memory.stat")


def _groups() -> Iterator[tuple[Path, str, str]]:
    """Yield each control group of this process: its folder, limit file and usage file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, inner = line.split(":", 2)
            path = Path(inner.lstrip("/"))
            for group in (path, *path.parents):
                if not kinds:
                    yield _CGROUP / group, "memory.max", "memory.current"
                elif "memory" in kinds.split(","):
                    folder = _CGROUP / "memory" / group
                    yield folder, "memory.limit_in_bytes", "memory.usage_in_bytes"


def _cached_bytes(stat: Path) -> int:
    """Read how much of the used memory is file cache, which the system frees when needed."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)", stat.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
