"""Find the empty areas of a section: borders, rotated frames, missing tiles, bars of text.

An empty area has one grey value, and touches the edge of the section or is large. The section is
cut into blocks of 8x8 pixels, and into one more ring of blocks around it, which continue its outer
pixels; so a border of one pixel has blocks of its own. Then:

1. Connected blocks of one grey value are an area, if they are a long part of an edge, or many.
2. An area whose neighbours are almost of its grey value is saturated tissue, and not empty.
3. Near an area, pixels of its grey value are empty, too. If tissue is never so dark, or so bright,
   almost the same value counts: compression and interpolation change it a little.
4. Blocks away from all tissue are empty: the letters of an information bar.

Where JPEG leaves no flat block between letters and tissue, the rows of a bar are known by their
background, which is in almost all of their blocks: they are no tissue to compare values with.

The decision about a pixel needs the blocks and its own grey value only, so tiles agree to the bit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.transforms.blocks import BLOCK_PX, BlockScan, pad_to_blocks, reduce_blocks
from sfseg.transforms.percentiles import percentiles
from sfseg.types import AnyArray

Mask = NDArray[np.bool_]
Bands = Callable[[], Iterable[tuple[slice, AnyArray]]]
"""Iterates over a section in bands: the rows, and their pixels, shape (rows, X)."""

_LONG_BLOCKS = 4  # an area along an edge is at least so long, and an eighth of the section's side
_LARGE_BLOCKS = 16  # an area anywhere: at least 32x32 px
_MOST_VALUES = 6  # grey values of areas: one bit for each, one for ink, and one for `_ALL`
_ALL = 1 << _MOST_VALUES + 1
_SIDE = 0.75  # of a side of the section: so much of it is darker, or brighter, than tissue
_BAR_SHARE = 4  # a bar of text is at most a fourth of a side
_RINGING = 0.1  # so near to the value of a bar, between it and tissue, JPEG puts its background
_SPECKS = 0.05  # of the blocks of a blank section have dust, or hot pixels
_DRAWN = 0.25  # of the blocks beside the areas: with more flat ones it is a drawing, or binary
_SATURATED = 0.35  # so near to the value of an area, between it and tissue, is nearly saturated
_COMMON = 0.03  # of tissue has the value of an area: then only a third of a side is an area
_AROUND = np.ones((3, 3), bool)


@dataclass(frozen=True)
class EmptyAreas:
    """Where a section holds no tissue.

    Attributes
    ----------
    blocks : ndarray of uint8, shape (Y / 8, X / 8), rounded up
        0 where all pixels are tissue; 128 and more where none is; else bit k is set where the
        pixels within ``ranges[k]`` are empty.
    ranges : tuple of (float, float)
        Lowest and highest grey value of empty pixels.
    """

    blocks: NDArray[np.uint8]
    ranges: tuple[tuple[float, float], ...]

    def mask(self, pixels: AnyArray, origin: tuple[int, int] = (0, 0)) -> Mask:
        """Tell which pixels of a rectangle are empty.

        Parameters
        ----------
        pixels : ndarray, shape (Y, X)
            Its grey values.
        origin : tuple of int
            Row and column of the section where it begins.

        Returns
        -------
        ndarray of bool, shape (Y, X)
            True where there is no tissue.
        """
        down, right = (
            np.arange(start, start + length) // BLOCK_PX
            for start, length in zip(origin, pixels.shape, strict=True)
        )
        blocks = self.blocks[np.ix_(down, right)]  # (Y, X): the block of each pixel
        mask: Mask = blocks >= _ALL
        for bit, (low, high) in enumerate(self.ranges):
            mask |= (blocks & (1 << bit) > 0) & (pixels >= low) & (pixels <= high)
        return mask


def find_empty(scan: BlockScan, bands: Bands) -> EmptyAreas | None:
    """Find the empty areas of a section.

    Parameters
    ----------
    scan : BlockScan
        The whole section, scanned.
    bands : callable
        Iterates over the section once more; called only where an area may be empty.

    Returns
    -------
    EmptyAreas or None
        None if there are none.
    """
    low, high = scan.blocks()
    _snap_sides(low, high, scan)
    flat = low == high
    areas = _find_areas(flat, low)
    if not areas:
        return None
    flat = flat[1:-1, 1:-1]
    seeds = np.logical_or.reduce([area > 0 for _, area in areas])
    bars = _find_bars(areas, low, high)
    near = _grow(seeds | bars)[1:-1, 1:-1]
    if near.all():
        is_blank = 1 - flat.mean() < _SPECKS
        return EmptyAreas(np.full(near.shape, _ALL, np.uint8), ()) if is_blank else None
    tissue = scan.sample(near)
    if not tissue.size or flat[~near].mean() > _DRAWN:
        return None
    extremes = float(low.min()), float(high.max())
    kinds = [_Kind.beside(value, tissue, extremes) for value, _ in areas]
    inside, close = _count(bands, kinds, near.shape)
    found = [
        (kind, core, within)
        for kind, (_, area), within, almost in zip(kinds, areas, inside, close, strict=True)
        if (core := _drop_saturated(area, within, almost, kind.is_common)).any()
    ]
    return _assemble(found, flat, bars) if found else None


@dataclass(frozen=True)
class _Kind:
    """The grey values of empty pixels, and those of pixels that are nearly saturated."""

    low: float
    high: float
    close_low: float
    close_high: float
    is_common: bool  # in tissue, too: it is saturated
    ink: tuple[float, float] | None = None  # values of letters and lines on it

    @classmethod
    def beside(cls, value: float, tissue: AnyArray, extremes: tuple[float, float]) -> "_Kind":
        """Compare the value of an area with the grey values of tissue, shape (N,).

        `extremes` are the lowest and highest value of the section, perhaps of ink.
        """
        darkest, median, brightest = percentiles(tissue, (1, 50, 99))
        close = abs(median - value) * _SATURATED
        common = bool((tissue == value).mean() > _COMMON)
        # Half of the way to tissue: what compression and interpolation do to the value.
        if value < darkest:
            ink = (extremes[1] + brightest) / 2, np.inf
            return cls(-np.inf, (value + darkest) / 2, -np.inf, value + close, common, ink)
        if value > brightest:
            ink = -np.inf, (extremes[0] + darkest) / 2
            return cls((value + brightest) / 2, np.inf, value - close, np.inf, common, ink)
        return cls(value, value, value - close, value + close, common)


def _snap_sides(low: AnyArray, high: AnyArray, scan: BlockScan) -> None:
    """Give one value to the blocks of a side that is darker, or brighter, than tissue.

    A thin border has no block of its own that compression leaves flat.
    """
    tissue = scan.inner_sample(2)
    if not tissue.size:
        return
    darkest, brightest = percentiles(tissue, (1, 99))
    for side in ((0,), (-1,), (slice(None), 0), (slice(None), -1)):
        for value in (low[side].min(), high[side].max()):
            limit = (float(value) + (darkest if value < darkest else brightest)) / 2
            beyond = high[side] <= limit if value < darkest else low[side] >= limit
            if not darkest <= value <= brightest and beyond.mean() > _SIDE:
                low[side] = np.where(beyond, value, low[side])
                high[side] = np.where(beyond, value, high[side])


def _find_areas(flat: Mask, values: AnyArray) -> list[tuple[float, NDArray[np.int32]]]:
    """Find connected blocks of one value that are a long part of an edge, or many.

    Returns the value, and the numbered areas of this value, 0 elsewhere, for each one found.
    """
    ring = _ring(flat)
    long = max(_LONG_BLOCKS, (min(flat.shape) - 2) // BLOCK_PX)
    candidates, counts = np.unique(values[flat], return_counts=True)
    likely = candidates[np.argsort(counts)[::-1]][:_MOST_VALUES]
    areas = []
    for value in likely[np.sort(counts)[::-1][:_MOST_VALUES] >= long]:
        area, _ = ndimage.label(flat & (values == value), _AROUND)
        outside = np.bincount(area[ring], minlength=area.max() + 1)
        inside = np.bincount(area[~ring], minlength=area.max() + 1)
        wanted = (outside >= long) | (inside >= _LARGE_BLOCKS)
        wanted[0] = False
        if wanted.any():
            areas.append((float(value), np.where(wanted[area], area, 0)))
    return areas


def _find_bars(areas: list[tuple[float, NDArray[np.int32]]], low: AnyArray, high: AnyArray) -> Mask:
    """Mark the bars of text along the sides: their letters are no tissue to compare with.

    An area covers a side, and almost all blocks of the next rows have its value somewhere.
    """
    bars = np.zeros(low.shape, bool)
    median = np.median(low)  # of blocks: their darkest pixels, in the range of tissue
    for value, area in areas:
        slack = abs(float(median) - value) * _RINGING
        has_value = low <= value + slack if value < median else high >= value - slack
        for turns in range(4):  # views: the side is on top
            if np.rot90(area, turns)[0].astype(bool).mean() > _SIDE:
                rows = np.rot90(has_value, turns).mean(axis=1) > _SIDE
                depth = min(int(rows.argmin()), len(rows) // _BAR_SHARE)
                np.rot90(bars, turns)[:depth] = True
    return bars


def _count(bands: Bands, kinds: list[_Kind], shape: tuple[int, ...]) -> tuple[AnyArray, AnyArray]:
    """Count the empty pixels of each kind in each block, and the nearly saturated ones."""
    inside = np.zeros((len(kinds), *shape), np.uint8)
    close = np.zeros_like(inside)
    for rows, band in bands():
        padded = pad_to_blocks(band)
        first = rows.start // BLOCK_PX
        here = slice(first, first + len(padded) // BLOCK_PX)
        for k, kind in enumerate(kinds):
            within = (padded >= kind.low) & (padded <= kind.high)
            almost = (padded >= kind.close_low) & (padded <= kind.close_high) & ~within
            inside[k, here], close[k, here] = _sum_blocks(within), _sum_blocks(almost)
    return inside, close


def _drop_saturated(
    area: NDArray[np.int32], inside: AnyArray, close: AnyArray, is_common: bool
) -> Mask:
    """Keep the areas whose neighbours are tissue of any grey value: bool, with the ring."""
    beside = ndimage.maximum_filter(area, 3)[1:-1, 1:-1]
    beside[area[1:-1, 1:-1] > 0] = 0
    length = area.max() + 1
    almost = np.bincount(beside.ravel(), close.ravel(), length)
    others = np.bincount(beside.ravel(), BLOCK_PX**2 - inside.ravel().astype(float), length)
    kept = almost <= others / 2
    if is_common:
        kept &= np.bincount(area[_ring(area)], minlength=length) >= (min(area.shape) - 2) / 3
    kept[0] = False
    core: Mask = kept[area]
    return core


def _assemble(found: list[tuple[_Kind, Mask, AnyArray]], flat: Mask, bars: Mask) -> EmptyAreas:
    """Set the bits of all blocks."""
    ranges = [(kind.low, kind.high) for kind, _, _ in found]
    whole = np.zeros(flat.shape, bool)
    bits = np.zeros(flat.shape, np.uint8)
    empty_px = np.zeros(flat.shape, np.int64)
    for k, (kind, seeds, inside) in enumerate(found):
        similar = np.pad(inside == BLOCK_PX**2, 1)
        core = ndimage.binary_propagation(seeds, _AROUND, seeds | similar)
        mostly = np.pad(inside >= BLOCK_PX**2 // 2, 1)  # with letters, or a line beside the tissue
        reach = ndimage.binary_propagation(core, _AROUND, core | mostly)
        bits[(_grow(core) | reach)[1:-1, 1:-1]] |= 1 << k
        written = (reach & bars)[1:-1, 1:-1]
        if kind.ink is not None and written.any() and len(ranges) == len(found):
            bits[written] |= 1 << len(ranges)
            ranges.append(kind.ink)
        whole |= core[1:-1, 1:-1]
        empty_px += inside
    textured = ~flat & (empty_px < BLOCK_PX**2 // 2)
    tissue = _grow(ndimage.binary_opening(textured, _AROUND))
    if tissue.any():  # else the section is too small to tell letters from tissue
        whole = ndimage.binary_propagation(whole, _AROUND, whole | ~tissue)
    bits[whole] = _ALL
    return EmptyAreas(bits, tuple(ranges))


def _ring(blocks: AnyArray) -> Mask:
    ring = np.ones(blocks.shape, bool)
    ring[1:-1, 1:-1] = False
    return ring


def _grow(mask: Mask) -> Mask:
    grown: Mask = ndimage.binary_dilation(mask, _AROUND)
    return grown


def _sum_blocks(mask: Mask) -> AnyArray:
    return reduce_blocks(np.add, mask.view(np.uint8))
