"""Devices: choose one and its arithmetic, place a network on it, copy its numbers to the host."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, cast

import torch
from torch import Tensor, nn

from sfseg.config import PredictPrecision
from sfseg.errors import DeviceError
from sfseg.types import format_count

Arithmetic = Literal["float32", "bf16", "fp16"]

PRECISIONS: Mapping[Arithmetic, torch.dtype] = MappingProxyType(
    {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
)


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


def pick_devices(name: str) -> tuple[torch.device, ...]:
    """Turn the name of devices into the devices that share a prediction out.

    Parameters
    ----------
    name : str
        As for `pick_device`; but ``auto`` and ``cuda`` take all GPUs, and ``cuda:0,1`` those two.

    Returns
    -------
    tuple of torch.device
        At least one; each once.

    Raises
    ------
    DeviceError
        If the name is not one of these or one of the devices is not there.
    """
    if re.fullmatch(r"cuda:[0-9]+(,[0-9]+)+", name):
        numbers = dict.fromkeys(map(int, name.removeprefix("cuda:").split(",")))
        return tuple(pick_device(f"cuda:{number}") for number in numbers)
    first = pick_device(name)
    count = torch.cuda.device_count() if first == torch.device("cuda") else 1
    if count == 1:
        return (first,)
    return tuple(torch.device("cuda", number) for number in range(count))


def start_gpus(gpus: Sequence[torch.device]) -> None:
    """Start CUDA on each GPU and load cuDNN, which the first convolution would wait for.

    It takes up to a second, and most of it needs no Python: call it beside other work.

    Parameters
    ----------
    gpus : sequence of torch.device
        Other devices are left out: they have nothing to start.
    """
    for gpu in gpus:
        if gpu.type == "cuda":
            section = torch.zeros(1, 8, 16, 16, dtype=torch.float16, device=gpu)
            torch.conv2d(section, section.new_zeros(8, 8, 3, 3), padding=1)
            torch.cuda.synchronize(gpu)


def _count(number: int, kind: str) -> str:
    return f"{number or 'no'} {kind} device{'s' * (number != 1)}"


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def describe(
    device: torch.device,
    dtype: torch.dtype,
    engine: str = "",
    *,
    beside: Sequence[torch.device] = (),
) -> str:
    """Describe a device, those beside it, an engine and the arithmetic in one phrase."""
    facts = [engine] * bool(engine) + [arithmetic_name(dtype)]
    if device.type == "cuda":
        facts.insert(0, torch.cuda.get_device_name(device))
    if device.type == "cpu":
        threads = torch.get_num_threads()
        facts.insert(0, format_count(threads, "thread"))
    names = ", ".join(map(str, (device, *beside)))
    return f"{names} ({', '.join(facts)})"


def pick_dtype(precision: PredictPrecision, device: torch.device) -> torch.dtype:
    """Choose the number type for the arithmetic of convolutions.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bf16', 'fp16'}
        Auto takes bf16 if the hardware computes it faster than float32. Fp16 is for prediction.
    device : torch.device
        Where the network runs.

    Returns
    -------
    torch.dtype
        ``torch.float32``, ``torch.bfloat16`` or ``torch.float16``.

    Raises
    ------
    DeviceError
        If bf16 or fp16 is requested by name and the processor has no instructions for it.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bf16(device) else torch.float32
    if precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            "precision bf16: needs a processor with AVX-512; this one has "
            f"{torch.backends.cpu.get_cpu_capability()}",
            hint="use --precision float32, or auto, which is the same here",
        )
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError(
            "precision fp16: is for GPUs; a CPU computes it more slowly than float32",
            hint="use --precision auto, which takes bf16 where the CPU is fast at it",
        )
    return PRECISIONS[cast("Arithmetic", precision)]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type without the ``torch.``, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def arithmetic_name(dtype: torch.dtype) -> str:
    """Return the name of a type as options have it, such as ``bf16``."""
    return next((name for name, known in PRECISIONS.items() if known == dtype), dtype_name(dtype))


def has_fast_fp16(device: torch.device) -> bool:
    """Tell whether a device has tensor cores for fp16."""
    # Volta (7.0) is the first with them. A GPU of AMD has its own numbers, all of them larger.
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 7


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


def copy_to_host(numbers: Tensor) -> Callable[[], list[float]]:
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
