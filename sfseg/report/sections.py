"""Sections reduced to the size of a picture, read in bands: they may be larger than the memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, lcm

import numpy as np
from numpy.typing import NDArray

from sfseg.io import Stack
from sfseg.transforms.blocks import BLOCK_PX, BlockScan
from sfseg.transforms.empty import Bands, EmptyAreas, Mask, find_empty
from sfseg.types import AnyArray

BAND_PX = 2**24
"""Pixels that are read at a time, at least; bands have whole blocks of all reductions."""

MEMBRANE_BELOW = 0.5
"""Interior probability below which a pixel counts as membrane."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """What is shown of a stack: a rectangle of a section, and how much smaller.

    Attributes
    ----------
    index : int
        The section, from 0.
    rows, columns : slice
        The rectangle.
    factor : int
        A pixel stands for so many rows and columns.
    """

    index: int
    rows: slice
    columns: slice
    factor: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the rectangle, before it is reduced."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def bands(self) -> Iterator[slice]:
        """Yield the rows of the rectangle, from 0, that are read at a time."""
        height, width = self.shape
        block = lcm(BLOCK_PX, self.factor)
        step = max(BAND_PX // (width * block), 1) * block
        for start in range(0, height, step):
            yield slice(start, min(start + step, height))

    def read(self, stack: Stack) -> Iterator[tuple[slice, AnyArray]]:
        """Yield the bands and their pixels, shape (rows, X)."""
        for band in self.bands():
            rows = slice(self.rows.start + band.start, self.rows.start + band.stop)
            yield band, stack.window(self.index, rows, self.columns)


def whole(stack: Stack, index: int, most_px: int) -> View:
    """Show a whole section, reduced so that its sides have at most so many pixels."""
    _, height, width = stack.shape
    factor = ceil(max(height, width) / most_px)
    if factor > BLOCK_PX:
        factor += -factor % BLOCK_PX  # else no band is of whole blocks and small
    return View(index, slice(0, height), slice(0, width), factor)


def middle(stack: Stack, index: int, side_px: int) -> View:
    """Show the middle of a section, pixel for pixel."""
    rows, columns = (_middle(length, side_px) for length in stack.shape[1:])
    return View(index, rows, columns)


def _middle(length: int, most: int) -> slice:
    start = max((length - most) // 2, 0)
    return slice(start, min(start + most, length))


def read_image(stack: Stack, view: View) -> tuple[Floats, Mask | None]:
    """Read grey values, and find where the image holds no tissue.

    Only what is shown is looked at, so of a part of a section the empty areas may differ from
    those of `predict`, which looks at the whole section.

    Returns
    -------
    grey : ndarray of float32, shape (Y, X)
        The mean of each block: the values of the file, where nothing is reduced.
    empty : ndarray of bool, shape (Y, X), or None
        Blocks that are mostly empty; None where there are none.
    """
    read = _reader(stack, view)
    scan, grey = BlockScan(view.shape), []
    for rows, pixels in read():
        scan.add(rows, pixels)
        grey.append(_average(pixels, view.factor))
    empty = find_empty(scan, read)
    masks = [] if empty is None else list(_masks(read, view, empty))
    return np.nan_to_num(np.concatenate(grey)), np.concatenate(masks) if masks else None


def read_map(stack: Stack, view: View, largest: float) -> tuple[Floats, Floats]:
    """Read interior probabilities; `largest` is the value in the file that means 1.

    Returns
    -------
    probability, membrane : ndarray of float32, shape (Y, X)
        The mean of each block, and which share of it is below `MEMBRANE_BELOW`.
    """
    means, shares = [], []
    for _, pixels in view.read(stack):
        means.append(_average(pixels, view.factor) / np.float32(largest))
        shares.append(_average(pixels < MEMBRANE_BELOW * largest, view.factor))
    return np.nan_to_num(np.concatenate(means)).clip(0, 1), np.concatenate(shares)


def read_labels(stack: Stack, view: View) -> AnyArray:
    """Read numbers of cells, shape (Y, X); of a block, that of the pixel in its middle."""
    half = view.factor // 2
    bands = []
    for _, pixels in view.read(stack):
        # the last block may be smaller than half of one
        first = [min(half, (length - 1) % view.factor) for length in pixels.shape]
        bands.append(pixels[first[0] :: view.factor, first[1] :: view.factor])
    labels: AnyArray = np.concatenate(bands)
    return labels


def _reader(stack: Stack, view: View) -> Bands:
    """Return what iterates over a view; the pixels of a small one are read once and kept."""
    if len(list(view.bands())) > 1:
        return lambda: view.read(stack)
    kept = list(view.read(stack))
    return lambda: kept


def _masks(read: Bands, view: View, empty: EmptyAreas) -> Iterator[Mask]:
    """Yield for each band which blocks are mostly empty."""
    for rows, pixels in read():
        mask = empty.mask(pixels, origin=(rows.start, 0))
        yield _average(mask, view.factor) > 0.5


def _average(pixels: AnyArray, factor: int) -> Floats:
    """Average blocks of `factor` by `factor` pixels; the last ones may be smaller."""
    if factor == 1:
        return pixels.astype(np.float32)
    padding = [(0, -length % factor) for length in pixels.shape]
    padded = np.pad(pixels, padding, mode="edge") if any(map(any, padding)) else pixels
    height, width = (length // factor for length in padded.shape)
    # the rows of a block first: they are summed along whole rows, which is fast
    sums = padded.reshape(height, factor, -1).sum(axis=1, dtype=np.float32)
    mean: Floats = sums.reshape(height, width, factor).sum(axis=2) / np.float32(factor**2)
    return mean
