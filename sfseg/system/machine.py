"""Describe the machine, and measure how fast it multiplies matrices and copies memory."""

import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median_low
from typing import Generic, TypeVar

import torch

from sfseg.system.devices import PRECISIONS, Arithmetic, has_fast_fp16, pick_dtype
from sfseg.system.memory import available_bytes

T = TypeVar("T")

PATIENCE_S = 3.0
"""No pass starts later than this. A first pass that takes longer is counted and is the only one."""

MATMUL_SIDES = {"cuda": (4096, 8192)}
"""Sides of the matrices on a GPU."""

MATMUL_SIDES_ELSEWHERE = (2048, 4096)
"""Sides of the matrices on a CPU, which needs a second for the larger one."""

MATMUL_PASSES = 5

COPY_BYTES = 2**28
"""Size of the copied array: larger than any cache."""


@dataclass(frozen=True)
class Machine:
    """The machine of a measurement.

    Attributes
    ----------
    cpu : str
        Model of the processor.
    threads : int
        Threads that PyTorch uses.
    device : str
        Where the networks ran.
    gpu : str or None
        Name of the GPU; None without CUDA.
    available_bytes : int
        Free memory of the device before the first measurement.
    versions : mapping of str to str
        Versions of Python and of the packages that matter.
    """

    cpu: str
    threads: int
    device: str
    gpu: str | None
    available_bytes: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Rates:
    """The speed of the machine.

    Attributes
    ----------
    matmul_tflops : mapping of str to float
        TFLOP/s of the product of two square matrices, for float32 and, where the hardware has them,
        bf16 and fp16; the better of two sizes, each the median of five passes.
    copy_gb_s : float
        GB/s, read plus written, while 256 MiB are copied; 1 GB = 1e9 bytes.
    """

    matmul_tflops: Mapping[Arithmetic, float]
    copy_gb_s: float

    @property
    def best_tflops(self) -> float:
        """The highest matmul rate: that of 16 bits if there is one."""
        return max(self.matmul_tflops.values())


def precisions(device: torch.device) -> list[Arithmetic]:
    """List the arithmetics that are fast on a device, float32 first."""
    found: list[Arithmetic] = ["float32"]
    if pick_dtype("auto", device) == torch.bfloat16:
        found.append("bf16")
    if has_fast_fp16(device):
        found.append("fp16")
    return found


@dataclass(frozen=True)
class Timing(Generic[T]):
    """The median time of some passes, their number, and the result of the median pass."""

    seconds: float
    passes: int
    value: T


def measure(
    run: Callable[[], T], device: torch.device, repeats: int, *, compiles: bool = False
) -> Timing[T]:
    """Time passes; the first one is a warm-up and counts only if it takes too long to repeat.

    If `compiles`, one more pass comes before, which never counts.
    """
    if compiles:
        run()
    passes = [_timed(run, device)]
    spent = passes[0][0]
    if spent <= PATIENCE_S:
        passes.clear()
    while not passes or (len(passes) < repeats and spent < PATIENCE_S):
        passes.append(_timed(run, device))
        spent += passes[-1][0]
    seconds = median_low(seconds for seconds, _ in passes)
    return Timing(seconds, len(passes), dict(passes)[seconds])


def _timed(run: Callable[[], T], device: torch.device) -> tuple[float, T]:
    _wait_for(device)
    started = time.perf_counter()
    value = run()
    _wait_for(device)
    return time.perf_counter() - started, value


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def measure_rates(device: torch.device) -> Rates:
    """Measure how fast a device multiplies matrices and copies memory."""
    sides = MATMUL_SIDES.get(device.type, MATMUL_SIDES_ELSEWHERE)
    matmul = {
        precision: max(_matmul_tflops(device, PRECISIONS[precision], side) for side in sides)
        for precision in precisions(device)
    }
    return Rates(matmul, _copy_gb_s(device))


def _matmul_tflops(device: torch.device, dtype: torch.dtype, side: int) -> float:
    # Random numbers: a GPU computes faster with constants than with data.
    generator = torch.Generator(device).manual_seed(0)
    one, other = (
        torch.rand(side, side, device=device, generator=generator).to(dtype) for _ in range(2)
    )
    out = torch.empty_like(one)
    timing = measure(lambda: torch.matmul(one, other, out=out), device, MATMUL_PASSES)
    return 2 * side**3 / timing.seconds / 1e12


def _copy_gb_s(device: torch.device) -> float:
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    timing = measure(lambda: target.copy_(source), device, MATMUL_PASSES)
    return 2 * COPY_BYTES / timing.seconds / 1e9


def describe_machine(device: torch.device) -> Machine:
    """Collect what the machine is, and the versions that run on it."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return Machine(
        _cpu_model(),
        torch.get_num_threads(),
        str(device),
        gpu,
        available_bytes(device),
        {"python": platform.python_version(), **dict(_versions())},
    )


def _cpu_model() -> str:
    """Read the model of the processor from Linux; elsewhere ask Python."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("sfseg", "torch", "numpy", "openvino"):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
