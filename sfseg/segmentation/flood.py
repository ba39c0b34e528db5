"""The seeded watershed of a picture: a flood from seeds, over the lowest pixels first.

It is that of Meyer. Heights are whole levels, so no heap is needed: pixels wait in a list for each
level. In a level the pixel that came last goes first: its neighbours are still in the cache. The
order is fixed; so are the labels, to the bit.

References
----------
F. Meyer, 1994, Topographic distance and watershed lines, doi:10.1016/0165-1684(94)90060-4.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled

LEVELS = 2**16
"""Of heights: so many that a pixel is rarely flooded before a lower one."""

_CHUNK = 32
"""Pixels that wait together. Reading them one after the other is faster than following links."""


class _Waiting(NamedTuple):
    """Pixels that wait to be flooded, by level, in chunks.

    Attributes
    ----------
    pixels : ndarray of int32, shape (chunks * _CHUNK,)
        Places in the framed picture.
    before : ndarray of int32, shape (chunks,)
        The chunk that was filled before, of the same level; -1 if it is the first.
    last : ndarray of int32, shape (LEVELS,)
        The chunk that is being filled; -1 if no pixel waits.
    filled : ndarray of int32, shape (LEVELS,)
        How many pixels are in it.
    """

    pixels: NDArray[np.int32]
    before: NDArray[np.int32]
    last: NDArray[np.int32]
    filled: NDArray[np.int32]


def flood(heights: NDArray[np.float32], seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give each pixel the seed whose flood reaches it first, over its four neighbours.

    Parameters
    ----------
    heights : ndarray of float32, shape (Y, X)
        Taken as `LEVELS` levels, from the lowest to the highest.
    seeds : ndarray of uint32, shape (Y, X)
        Numbers of seeds below 2^31; 0 = none.

    Returns
    -------
    ndarray of uint32, shape (Y, X)
        All 0 if there is no seed.
    """
    low, high = heights.min(), heights.max()
    scale = np.float32((LEVELS - 1) / (high - low)) if high > low else np.float32(0)
    rows, columns = heights.shape
    # The frame of zeros is a wall, so a pixel never has to ask whether it lies at the edge.
    state = np.zeros((rows + 2, columns + 2), np.int32)
    chunks = state.size // _CHUNK + 2 * LEVELS
    waiting = _Waiting(
        np.empty(chunks * _CHUNK, np.int32),
        np.empty(chunks, np.int32),
        np.full(LEVELS, -1, np.int32),
        np.full(LEVELS, _CHUNK, np.int32),
    )
    used = _fill(heights, seeds, low, scale, state, waiting)
    _flood(state.reshape(-1), columns + 2, waiting, used, np.empty(state.size, np.int32))
    return np.maximum(state[1:-1, 1:-1], 0).astype(np.uint32)


@compiled
def _fill(
    heights: NDArray[np.float32],
    seeds: NDArray[np.uint32],
    low: np.float32,
    scale: np.float32,
    state: NDArray[np.int32],
    waiting: _Waiting,
) -> int:
    """Write what each pixel is: its seed, or -1 - its level. Seeds wait; return the used chunks."""
    used, width = 0, state.shape[1]
    for y in range(heights.shape[0]):
        for x in range(heights.shape[1]):
            level = int((heights[y, x] - low) * scale)
            if seeds[y, x]:
                state[y + 1, x + 1] = seeds[y, x]
                used = _wait(waiting, level, (y + 1) * width + x + 1, used)
            else:
                state[y + 1, x + 1] = -1 - level
    return used


@compiled
def _wait(waiting: _Waiting, level: int, place: int, used: int) -> int:
    """Let a pixel wait; return how many chunks are used then."""
    if waiting.filled[level] == _CHUNK:
        waiting.before[used] = waiting.last[level]
        waiting.last[level], waiting.filled[level] = used, 0
        used += 1
    waiting.pixels[waiting.last[level] * _CHUNK + waiting.filled[level]] = place
    waiting.filled[level] += 1
    return used


@compiled
def _flood(
    state: NDArray[np.int32], width: int, waiting: _Waiting, used: int, stack: NDArray[np.int32]
) -> None:
    """Flood level after level; a pixel below the level is flooded with it."""
    steps = (-width, -1, 1, width)
    for level in range(LEVELS):
        count, chunk, filled = 0, waiting.last[level], waiting.filled[level]
        while chunk >= 0:
            for place in waiting.pixels[chunk * _CHUNK : chunk * _CHUNK + filled]:
                stack[count] = place
                count += 1
            chunk, filled = waiting.before[chunk], _CHUNK
        while count:
            count -= 1
            place = stack[count]
            for step in steps:
                own = state[place + step]
                if own < 0:
                    state[place + step] = state[place]
                    if -1 - own > level:
                        used = _wait(waiting, -1 - own, place + step, used)
                    else:
                        stack[count] = place + step
                        count += 1
