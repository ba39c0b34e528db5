"""Try which steps of a network are right and fast on this GPU in their fused form."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sfseg.prediction.engines.operations import Operation, unique

AGREEMENT_PX = 16
"""Rows of a section in the first trial of the numbers; the second one is as large as that of the
speed, as cuDNN may take another algorithm there."""

SPEED_NUMBERS = 2**24
"""Numbers that a step reads or writes in the trial of its speed, so that launching it costs little:
512x512 pixels of 64 channels."""

SPOILED_BLOCKS = 4
"""Blocks of memory that are filled with NaN before the trial of the numbers: more than are free."""

RACES = 3
"""The faster of so many is what counts: other programs may use the GPU as well."""

MUCH_SLOWER = 1.5
"""A fused step that takes so many times as long is not used. The bound is wide, so that a machine
chooses the same today and tomorrow: the choice changes the last digits of an output."""

ROUNDINGS = 8
"""Largest difference from the reference, in roundings of the largest number of the result."""

_CHOSEN: dict[tuple[Any, ...], bool] = {}
"""Which steps are fused in this process: on all GPUs of one model, and for all engines."""


def choose_operations(operations: list[Operation]) -> None:
    """Let each step run fused where that agrees with its reference and is not much slower.

    Parameters
    ----------
    operations : list of Operation
        The steps of a network; steps of the same kind and channels are tried once.
    """
    for key, same in unique(operations).items():
        target = same[0].target
        known = (_model_of(target.device), target.dtype, key)
        if known not in _CHOSEN:
            _CHOSEN[known] = same[0].can_fuse and _is_good(same[0])
        for one in same:
            one.is_fused = _CHOSEN[known]


def _model_of(device: torch.device) -> str:
    """Name the model of a GPU: two that are alike must compute alike."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _is_good(operation: Operation) -> bool:
    side = _speed_px(operation)
    try:
        return (
            agrees(operation, AGREEMENT_PX)
            and agrees(operation, side)
            and not _is_much_slower(operation, side)
        )
    except Exception:  # noqa: BLE001 - whatever a compiler or cuDNN says: there is the reference
        return False


def agrees(operation: Operation, side: int) -> bool:
    """Tell whether a fused step gives the numbers of its reference on two small sections.

    It must not depend on what is in the memory that it gets for its result: PyTorch asks cuDNN for
    the convolution plus nothing times that memory, which is not 0 where that is NaN.
    """
    arguments = operation.example(side)
    result = operation.reference(*arguments)
    expected = _numbers(result, arguments)
    spoil_memory(result)
    found = results_of(operation, operation.fused, side)
    rounding = max(torch.finfo(operation.target.dtype).eps, 2**-10)  # float32 may run as TF32
    return all(
        one.shape == other.shape
        and bool((one - other).abs().max() <= ROUNDINGS * rounding * other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )


def spoil_memory(like: Tensor) -> None:
    """Fill free blocks of memory as large as a tensor with NaN; the next such tensor gets one."""
    for block in [torch.empty_like(like) for _ in range(SPOILED_BLOCKS)]:
        block.fill_(torch.nan)


def results_of(operation: Operation, compute: Callable[..., Tensor], side: int) -> list[Tensor]:
    """Return the result in float32, and the outputs that a step was given."""
    arguments = operation.example(side)
    return _numbers(compute(*arguments), arguments)


def _numbers(result: Tensor, arguments: Iterable[Any]) -> list[Tensor]:
    given = [one for one in arguments if isinstance(one, Tensor)]
    return [one.float() for one in (result, *given)]


def _speed_px(operation: Operation) -> int:
    """Return the rows of a section in the trial of the speed."""
    return max(int((SPEED_NUMBERS / 4 / max(operation.channels)) ** 0.5) // 16 * 16, 16)


def _is_much_slower(operation: Operation, side: int) -> bool:
    arguments = operation.example(side)
    ways = operation.fused, operation.reference
    for compute in ways:
        compute(*arguments)  # the first call chooses algorithms and allocates
    fused, reference = (
        min(time_ms(lambda way=way: way(*arguments)) for _ in range(RACES))  # type: ignore[misc]
        for way in ways
    )
    return fused > MUCH_SLOWER * reference


def time_ms(run: Callable[[], object], repeats: int = 3) -> float:
    """Time work on the current CUDA device, in milliseconds."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    for _ in range(repeats):
        run()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / repeats
