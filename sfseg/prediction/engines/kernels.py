"""Triton kernels for the steps of a network that are bound by memory, on NVIDIA GPUs.

Triton comes with PyTorch for CUDA, and only then this module can be imported. The references in
`sfseg.prediction.engines.operations`, beside the calls, tell what each kernel computes.

Activations are (B, C, Y, X), channels last, so in memory a pixel is C numbers in a row. A program
works on `P` pixels, numbered through the batch, and on `N` channels. Only these two are compiled
in, with the `K` channels of a product's step: another size of tile compiles nothing.

`limit` and `overflow` are the guard of float16: a program that reads an activation beyond `limit`,
or one that is not a number, sets `overflow` to 1. Without a guard the limit is 0.
"""

import triton
import triton.language as tl
from torch import Tensor

PIXELS = 64
"""Pixels of a program: enough for a product on the tensor cores, few enough for the registers."""

CHANNELS = 64
"""Most channels of a program; more are done by other programs."""

SUMMED = 32
"""The same where a program keeps many sums: with more the registers and the shared memory do not
suffice, by what the compiler says of an H100."""

WARPS = 8
"""Of a program that keeps many numbers: with 4 each thread needs twice the registers."""

SIZES = ("total", "height", "width")
"""Arguments that differ from tile to tile: else Triton compiles again if one is divisible by 16."""

_ALL = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def _rectify(x):
    """ReLU that keeps NaN, as that of PyTorch does."""
    return tl.maximum(x, 0.0, propagate_nan=_ALL)


@triton.jit
def _tell(overflow, x, limit):
    """Set the flag if an activation, none of which is negative, is too large or NaN."""
    beyond = tl.max(tl.max(tl.where(x <= limit, 0, 1), axis=1), axis=0)
    tl.store(overflow, beyond, mask=beyond > 0)


@triton.jit(do_not_specialize=SIZES)
def _first(
    x, weight, bias, out, overflow, total, height, width, channels, limit,
    GUARDS: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Convolve sections 3x3 to the first activations; weight (9, C). `limit`: of grey values."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    n = tl.program_id(1) * N + tl.arange(0, N)
    row, column = (pixel // width) % height, pixel % width
    sums = tl.zeros((P, N), tl.float32) + tl.load(bias + n)[None, :]
    for tap in tl.static_range(9):
        dy, dx = tap // 3 - 1, tap % 3 - 1
        seen = (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
        grey = tl.load(x + pixel + dy * width + dx, mask=seen & (pixel < total), other=0.0)
        if GUARDS and tap == 4:
            _tell(overflow, tl.abs(grey)[:, None], limit)
        sums += grey[:, None] * tl.load(weight + tap * channels + n)[None, :]
    place = pixel.to(tl.int64)[:, None] * channels + n[None, :]
    tl.store(out + place, _rectify(sums).to(out.dtype.element_ty), mask=(pixel < total)[:, None])


@triton.jit(do_not_specialize=SIZES)
def _squeeze(
    x, weight, bias, out, pooled, overflow, total, width, out_stride, limit,
    POOLS: tl.constexpr, GUARDS: tl.constexpr, K: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Mix the channels of 2x2 pixels for each one pooled; weight (K, N). `width`: of the pooled."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    inside = (pixel < total)[:, None]
    k, n = tl.arange(0, K)[None, :], tl.arange(0, N)[None, :]
    weights = tl.load(weight + tl.arange(0, K)[:, None] * N + n)
    biases = tl.load(bias + n)
    largest_in = tl.zeros((P, K), tl.float32)
    largest = tl.zeros((P, N), tl.float32)
    for corner in tl.static_range(4):
        row, column = 2 * (pixel // width) + corner // 2, 2 * (pixel % width) + corner % 2
        place = (row.to(tl.int64) * 2 * width + column)[:, None]
        read = tl.load(x + place * K + k, mask=inside, other=0.0)
        mixed = _rectify(tl.dot(read, weights) + biases)
        tl.store(out + place * out_stride + n, mixed.to(out.dtype.element_ty), mask=inside)
        largest = tl.maximum(largest, mixed, propagate_nan=_ALL)
        if GUARDS:
            largest_in = tl.maximum(largest_in, read.to(tl.float32), propagate_nan=_ALL)
    if POOLS:
        place = pixel.to(tl.int64)[:, None] * N + n
        tl.store(pooled + place, largest.to(pooled.dtype.element_ty), mask=inside)
    if GUARDS:
        _tell(overflow, largest_in, limit)


@triton.jit(do_not_specialize=SIZES)
def _pool(
    x, out, pooled, overflow, total, width, channels, out_stride, limit,
    COPIES: tl.constexpr, GUARDS: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Take the largest of 2x2 pixels, and copy all of them. `width`: of the pooled."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    inside = (pixel < total)[:, None]
    n = tl.program_id(1) * N + tl.arange(0, N)[None, :]
    largest = tl.zeros((P, N), x.dtype.element_ty)  # activations are not negative
    for corner in tl.static_range(4):
        row, column = 2 * (pixel // width) + corner // 2, 2 * (pixel % width) + corner % 2
        place = (row.to(tl.int64) * 2 * width + column)[:, None]
        read = tl.load(x + place * channels + n, mask=inside, other=0.0)
        largest = tl.maximum(largest, read, propagate_nan=_ALL)
        if COPIES:
            tl.store(out + place * out_stride + n, read, mask=inside)
    tl.store(pooled + pixel.to(tl.int64)[:, None] * channels + n, largest, mask=inside)
    if GUARDS:
        _tell(overflow, largest, limit)


@triton.jit
def _put(sums, bias, out, place, out_stride, n, inside, ADDS: tl.constexpr):
    """Write one parity of a doubling, or add it to what is there."""
    address = out + place.to(tl.int64)[:, None] * out_stride + n
    sums += bias
    if ADDS:
        sums += tl.load(address, mask=inside, other=0.0).to(tl.float32)
    tl.store(address, sums.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def _double(
    x, weight, bias, out, overflow, total, height, width, channels, channels_out, out_stride,
    limit, ADDS: tl.constexpr, GUARDS: tl.constexpr, K: tl.constexpr, N: tl.constexpr,
    P: tl.constexpr,
):  # fmt: skip
    """Make 2x2 pixels of one, of its right and its lower neighbours; weight (9, C, C')."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    n = tl.program_id(1) * N + tl.arange(0, N)[None, :]
    inside = pixel < total
    right = inside & (pixel % width + 1 < width)
    below = inside & ((pixel // width) % height + 1 < height)
    even = tl.zeros((P, N), tl.float32)  # even row, even column
    even_odd = tl.zeros((P, N), tl.float32)
    odd_even = tl.zeros((P, N), tl.float32)
    odd = tl.zeros((P, N), tl.float32)
    for start in range(0, channels, K):
        k = start + tl.arange(0, K)
        source = x + pixel.to(tl.int64)[:, None] * channels + k[None, :]
        weights = weight + k[:, None] * channels_out + n
        tap = channels * channels_out  # from the weights of a tap of the kernel to the next
        here = tl.load(source, mask=inside[:, None], other=0.0)
        even = tl.dot(here, tl.load(weights + 4 * tap), even)
        even_odd = tl.dot(here, tl.load(weights + 5 * tap), even_odd)
        odd_even = tl.dot(here, tl.load(weights + 7 * tap), odd_even)
        odd = tl.dot(here, tl.load(weights + 8 * tap), odd)
        next_ = tl.load(source + channels, mask=right[:, None], other=0.0)
        even_odd = tl.dot(next_, tl.load(weights + 3 * tap), even_odd)
        odd = tl.dot(next_, tl.load(weights + 6 * tap), odd)
        under = tl.load(source + width * channels, mask=below[:, None], other=0.0)
        odd_even = tl.dot(under, tl.load(weights + tap), odd_even)
        odd = tl.dot(under, tl.load(weights + 2 * tap), odd)
        both = tl.load(source + (width + 1) * channels, mask=(right & below)[:, None], other=0.0)
        odd = tl.dot(both, tl.load(weights), odd)
        if GUARDS:
            _tell(overflow, here, limit)
    biases, inside = tl.load(bias + n), inside[:, None]
    place = 4 * (pixel // width) * width + 2 * (pixel % width)  # of the even row and column
    _put(even, biases, out, place, out_stride, n, inside, ADDS)
    _put(even_odd, biases, out, place + 1, out_stride, n, inside, ADDS)
    _put(odd_even, biases, out, place + 2 * width, out_stride, n, inside, ADDS)
    _put(odd, biases, out, place + 2 * width + 1, out_stride, n, inside, ADDS)


@triton.jit(do_not_specialize=SIZES)
def _output(
    x, weight, bias, out, overflow, total, height, width, channels, limit,
    GUARDS: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Convolve 3x3 to one logit and take its sigmoid; weight (9, C)."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    row, column = (pixel // width) % height, pixel % width
    sums = tl.zeros((P, K), tl.float32)
    for start in range(0, channels, K):
        k = start + tl.arange(0, K)
        for tap in tl.static_range(9):
            dy, dx = tap // 3 - 1, tap % 3 - 1
            seen = (row + dy >= 0) & (row + dy < height) & (column + dx >= 0)
            seen = (seen & (column + dx < width) & (pixel < total))[:, None]
            place = (pixel + dy * width + dx).to(tl.int64)[:, None] * channels + k[None, :]
            read = tl.load(x + place, mask=seen, other=0.0)
            if GUARDS and tap == 4:
                _tell(overflow, read, limit)
            sums += read.to(tl.float32) * tl.load(weight + tap * channels + k)[None, :]
    logits = tl.sum(sums, axis=1) + tl.load(bias)
    tl.store(out + pixel, tl.sigmoid(logits), mask=pixel < total)


def first(
    x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, guard: Tensor, limit: float
) -> None:  # fmt: skip
    """Call `_first`: (B, Y, X) to (B, C, Y, X)."""
    channels, (height, width) = out.shape[1], x.shape[-2:]
    n = step(channels)
    grid = triton.cdiv(x.numel(), PIXELS), channels // n
    _first[grid](
        x, weight, bias, out, guard, x.numel(), height, width, channels, limit,
        GUARDS=limit > 0, N=n, P=PIXELS,
    )  # fmt: skip


def squeeze(
    x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, pooled: Tensor | None, guard: Tensor,
    limit: float,
) -> None:  # fmt: skip
    """Call `_squeeze`: (B, C, Y, X) to (B, C', Y, X), and to (B, C', Y/2, X/2)."""
    batch, channels, height, width = x.shape
    total = batch * height * width // 4
    _squeeze[(triton.cdiv(total, PIXELS),)](
        x, weight, bias, out, out if pooled is None else pooled, guard, total, width // 2,
        out.stride(3), limit, POOLS=pooled is not None, GUARDS=limit > 0, K=channels,
        N=out.shape[1], P=PIXELS, num_warps=WARPS,
    )  # fmt: skip


def pool(x: Tensor, out: Tensor | None, pooled: Tensor, guard: Tensor, limit: float) -> None:
    """Call `_pool`: (B, C, Y, X) to (B, C, Y/2, X/2)."""
    batch, channels, height, width = x.shape
    total, n = batch * height * width // 4, step(channels)
    copy = x if out is None else out
    _pool[triton.cdiv(total, PIXELS), channels // n](
        x, copy, pooled, guard, total, width // 2, channels, copy.stride(3), limit,
        COPIES=out is not None, GUARDS=limit > 0, N=n, P=PIXELS,
    )  # fmt: skip


def double(
    x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, guard: Tensor, limit: float, *,
    adds: bool,
) -> None:  # fmt: skip
    """Call `_double`: (B, C, Y, X) to (B, C', 2Y, 2X)."""
    batch, channels, height, width = x.shape
    total, channels_out = batch * height * width, out.shape[1]
    k, n = step(channels, SUMMED), step(channels_out, SUMMED)
    _double[triton.cdiv(total, PIXELS), channels_out // n](
        x, weight, bias, out, guard, total, height, width, channels, channels_out, out.stride(3),
        limit, ADDS=adds, GUARDS=limit > 0, K=k, N=n, P=PIXELS, num_stages=1,
    )  # fmt: skip


def output(
    x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, guard: Tensor, limit: float
) -> None:  # fmt: skip
    """Call `_output`: (B, C, Y, X) to (B, Y, X)."""
    channels, height, width = x.shape[1:]
    _output[(triton.cdiv(out.numel(), PIXELS),)](
        x, weight, bias, out, guard, out.numel(), height, width, channels, limit,
        GUARDS=limit > 0, K=step(channels, SUMMED), P=PIXELS, num_warps=WARPS,
    )  # fmt: skip


def step(channels: int, most: int = CHANNELS) -> int:
    """Return how many channels a program does: the largest power of two that divides them."""
    return min(channels & -channels, most)
