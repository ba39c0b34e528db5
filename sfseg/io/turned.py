"""Turn a stack: its planes along y or x become the sections of another one."""

import functools
import math

import numpy as np

from sfseg.io.stack import Stack, require_finite
from sfseg.types import AnyArray

Order = tuple[int, int, int]
"""For each axis of the turned stack, the axis of the stack, as in `numpy.transpose`."""

Box = tuple[slice, slice, slice]

_SLABS = 2
"""Slabs in memory: threads that work ahead may need the end of one and the start of the next."""


def turn_stack(stack: Stack, order: Order, buffer_bytes: int) -> Stack:
    """Turn a stack without reading it; windows of the result are read from slabs.

    A plane has pixels of all sections, and a file gives them section by section. So neighbouring
    planes are read together, as a slab: the whole stack is read once if they are used in order.

    Parameters
    ----------
    stack : Stack
        The open stack. It stays open when the turned one is closed.
    order : tuple of int
        Its axes in their new order: (1, 0, 2) makes sections of the planes along y.
    buffer_bytes : int
        Memory for slabs. If not even one plane fits, each window is read by itself, which takes
        longer.

    Returns
    -------
    Stack
        The planes; its voxel size is turned as well. A pixel that is not finite is refused by
        `sfseg.io.stack.require_finite`, with its place in the stack.
    """
    depth, *plane = (stack.shape[axis] for axis in order)
    plane_bytes = math.prod(plane) * stack.dtype.itemsize
    planes = min(buffer_bytes // _SLABS // plane_bytes, depth)

    @functools.lru_cache(maxsize=_SLABS)
    def read_slab(number: int) -> AnyArray:
        along = slice(number * planes, min((number + 1) * planes, depth))
        return _read_box(stack, order, (along, slice(0, plane[0]), slice(0, plane[1])))

    def read_window(index: int, rows: slice, columns: slice) -> AnyArray:
        if planes:
            number, place = divmod(index, planes)
            window: AnyArray = read_slab(number)[place, rows, columns]
        else:
            window = _read_box(stack, order, (slice(index, index + 1), rows, columns))[0]
        return window

    voxel = stack.voxel_size_nm
    return Stack(
        stack.name,
        (depth, plane[0], plane[1]),
        stack.dtype,
        voxel and (voxel[order[0]], voxel[order[1]], voxel[order[2]]),
        read_window=read_window,
        sha256=stack.sha256,
        close=read_slab.cache_clear,
        buffer_bytes=_SLABS * planes * plane_bytes,
        decoding_bytes=stack.decoding_bytes,
    )


def _read_box(stack: Stack, order: Order, box: Box) -> AnyArray:
    """Read a box of the turned stack: of each section one window."""
    sections, rows, columns = (box[order.index(axis)] for axis in range(3))
    turned = np.empty([span.stop - span.start for span in box], stack.dtype)
    pixels = turned.transpose([order.index(axis) for axis in range(3)])  # as in the stack
    for place, index in enumerate(range(sections.start, sections.stop)):
        pixels[place] = stack.window(index, rows, columns)
        require_finite(pixels[place], stack.name, index + 1, rows.start, columns.start)
    return turned
