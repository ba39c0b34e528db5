"""The lowest and highest grey values of the blocks of a section, and a sample of all."""

import numpy as np
from numpy.typing import NDArray

from sfseg.types import AnyArray

BLOCK_PX = 8
"""Side of a block; also that of the blocks of JPEG, which keep a border in one piece."""


class BlockScan:
    """The lowest and highest grey value of each block, gathered band by band.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the section.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._stride = max(int((shape[0] * shape[1] / 2**16) ** 0.5), 1)
        self._bands: list[tuple[AnyArray, AnyArray]] = []
        self._sides: list[tuple[AnyArray, AnyArray]] = []
        self._ends: list[AnyArray] = []
        self._samples: list[AnyArray] = []

    def add(self, rows: slice, band: AnyArray) -> None:
        """Take the next band; all but the last have a multiple of 8 rows."""
        padded = pad_to_blocks(band)
        self._bands.append((reduce_blocks(np.minimum, padded), reduce_blocks(np.maximum, padded)))
        sides = padded[:, [0, -1]]  # (rows, 2): the outer columns
        columns = sides.reshape(-1, BLOCK_PX, 2)
        self._sides.append((columns.min(1), columns.max(1)))
        if not self._ends:
            self._ends.append(padded[0])
        self._ends[1:] = [padded[-1]]
        first = -rows.start % self._stride
        self._samples.append(band[first :: self._stride, :: self._stride].copy())

    def blocks(self) -> tuple[AnyArray, AnyArray]:
        """Return the lowest and highest value of all blocks, with the ring: (Y/8 + 2, X/8 + 2)."""
        low, high = (np.concatenate([band[i] for band in self._bands]) for i in (0, 1))
        side_low, side_high = (np.concatenate([side[i] for side in self._sides]) for i in (0, 1))
        rings = []
        for inner, sides, extreme in (
            (low, side_low, np.minimum),
            (high, side_high, np.maximum),
        ):
            ring = np.empty((inner.shape[0] + 2, inner.shape[1] + 2), inner.dtype)
            ring[1:-1, 1:-1] = inner
            ring[1:-1, [0, -1]] = sides
            for row, line in zip((0, -1), (self._ends[0], self._ends[-1]), strict=True):
                ring[row, 1:-1] = extreme.reduce(line.reshape(-1, BLOCK_PX), axis=1)
                ring[row, [0, -1]] = line[[0, -1]]
            rings.append(ring)
        return rings[0], rings[1]

    def sample(self, away_from: NDArray[np.bool_] | None = None) -> AnyArray:
        """Return about 65,536 grey values of a regular grid, shape (N,), not from some blocks."""
        values = np.concatenate(self._samples)
        if away_from is None:
            return values.ravel()
        down, right = self._blocks_of_sample()
        chosen: AnyArray = values[~away_from[np.ix_(down, right)]]
        return chosen

    def inner_sample(self, margin: int) -> AnyArray:
        """Return the sample without so many blocks along each side, shape (N,)."""
        inner = []
        for blocks, length in zip(self._blocks_of_sample(), self._shape, strict=True):
            last = -(-length // BLOCK_PX) - margin
            inner.append(slice(*np.searchsorted(blocks, (margin, max(last, margin)))))
        return np.concatenate(self._samples)[tuple(inner)].ravel()

    def _blocks_of_sample(self) -> tuple[AnyArray, AnyArray]:
        """Return the row of blocks of each row of the sample, and the column of each column."""
        down, right = (np.arange(0, length, self._stride) // BLOCK_PX for length in self._shape)
        return down, right


def pad_to_blocks(band: AnyArray) -> AnyArray:
    """Repeat the last row and column until both lengths are multiples of a block."""
    padding = [(0, -length % BLOCK_PX) for length in band.shape]
    return np.pad(band, padding, mode="edge") if any(map(any, padding)) else band


def reduce_blocks(function: np.ufunc, padded: AnyArray) -> AnyArray:
    """Reduce each block: (Y, X) to (Y / 8, X / 8); the long axis first, which is fast."""
    rows = function.reduce(padded.reshape(-1, BLOCK_PX, padded.shape[1]), axis=1)
    blocks: AnyArray = function.reduce(rows.reshape(len(rows), -1, BLOCK_PX), axis=2)
    return blocks
