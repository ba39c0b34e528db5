"""Time the steps of the fused network, and whole passes."""

import time
from collections import defaultdict
from dataclasses import dataclass

import torch

from sfseg.config import SHIPPED_MODEL
from sfseg.models.cost import count_flop
from sfseg.models.weights import load_weights
from sfseg.prediction.engines import probe
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.fused import Fused
from sfseg.prediction.engines.gpu import gpu_engine
from sfseg.prediction.engines.operations import Operation, Pool, Target
from sfseg.system.devices import arithmetic_name
from sfseg.system.machine import Rates

PASSES = 5


@dataclass(frozen=True)
class StepTime:
    """A kind of step on one level: its time in a pass, and what it computes and moves."""

    name: str
    way: str
    pixels: int
    count: int
    ms: float
    gb_s: float
    percent_of_copy: float
    tflops: float
    percent_of_matmul: float


class Clock:
    """Notes times on a device."""

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"

    def now(self):
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def ms(self, began, ended):
        if not self.on_gpu:
            return 1000 * (ended - began)
        ended.synchronize()
        return began.elapsed_time(ended)


def time_steps(shape, dtype, device, rates: Rates) -> list[StepTime]:
    """Time every step of sfnet within passes, one by one; the sums of residual blocks are left."""
    fused = Fused(fold(load_weights(SHIPPED_MODEL)[0]), Target(device, dtype))
    clock, laps, sizes, original = Clock(device), defaultdict(list), {}, Operation.__call__

    def timed(operation, *args):
        began = clock.now()
        result = original(operation, *args)
        key = (*operation.key, args[0].shape[-1])
        laps[key].append((began, clock.now()))
        sizes[key] = (operation, *_cost(operation, args, result))
        return result

    with torch.inference_mode():
        probe.choose_operations(list(fused.operations()))
        x = torch.randn(shape, device=device)
        fused(x)
        Operation.__call__ = timed
        try:
            began = clock.now()
            for _ in range(PASSES):
                fused(x)
            whole = clock.ms(began, clock.now()) / PASSES
        finally:
            Operation.__call__ = original
    rows = [_row(key, times, sizes[key], clock, rates) for key, times in laps.items()]
    rest = whole - sum(row.ms for row in rows)
    rows.append(StepTime("residual sums, launching", "", x.numel(), 0, rest, 0, 0, 0, 0))
    rows.append(StepTime("a pass, timed step by step", "", x.numel(), 0, whole, 0, 0, 0, 0))
    return rows


def _cost(operation, args, result):
    """Count pixels, bytes and operations of a call."""
    x = args[0]
    given = [one for one in (*args[:2], result) if isinstance(one, torch.Tensor)]
    moved = sum({t.data_ptr(): t.numel() * t.element_size() for t in given}.values())
    pixels = x.shape[0] * x.shape[-1] * x.shape[-2]
    flop = 0 if isinstance(operation, Pool) else 2 * operation.weight.numel() * pixels
    return pixels, moved, flop


def _row(key, times, size, clock, rates):
    operation, pixels, moved, flop = size
    ms = sum(clock.ms(*lap) for lap in times) / PASSES
    count = len(times) // PASSES
    gb_s, tflops = count * moved / ms / 1e6, count * flop / ms / 1e9
    return StepTime(
        " ".join(map(str, key[:-1])),
        "fused" if operation.is_fused else "PyTorch",
        pixels,
        count,
        ms,
        gb_s,
        100 * gb_s / rates.copy_gb_s,
        tflops,
        100 * tflops / rates.best_tflops,
    )


def time_passes(arch, network, shape, dtype, device, rates: Rates):
    """Time passes of tensors on the device, as they run in the engine: recorded and replayed."""
    engine = gpu_engine(network, device, dtype)
    clock, x = Clock(device), torch.randn(shape, device=device)
    for _ in range(3):
        engine.forward(x)
    began = clock.now()
    for _ in range(PASSES):
        engine.forward(x)
    ms = clock.ms(began, clock.now()) / PASSES
    tflops = count_flop(network, x.numel()) / ms / 1e9
    return {
        "arch": arch,
        "precision": arithmetic_name(dtype),
        "shape": "x".join(map(str, shape)),
        "ms": ms,
        "mpx_s": x.numel() / ms / 1e3,
        "percent_of_matmul": 100 * tflops / rates.best_tflops,
        "bytes_per_px": engine.bytes_per_px,
        "steps": engine.steps,
    }


def profile_kernels(shape, dtype, device) -> str:
    """Return the profiler's table of kernels of one pass."""
    fused = Fused(fold(load_weights(SHIPPED_MODEL)[0]), Target(device, dtype))
    activity = torch.profiler.ProfilerActivity
    with torch.inference_mode():
        probe.choose_operations(list(fused.operations()))
        x = torch.randn(shape, device=device)
        fused(x)
        activities = [activity.CPU, *[activity.CUDA] * (device.type == "cuda")]
        with torch.profiler.profile(activities=activities) as profiler:
            fused(x)
            if device.type == "cuda":
                torch.cuda.synchronize()
    by = "cuda_time_total" if device.type == "cuda" else "cpu_time_total"
    return profiler.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=90)
