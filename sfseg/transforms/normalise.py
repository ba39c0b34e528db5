"""Normalise grey values and resize sections for the network."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sfseg.transforms.blocks import BLOCK_PX, BlockScan
from sfseg.transforms.empty import Bands, EmptyAreas, Mask, find_empty
from sfseg.transforms.percentiles import percentiles
from sfseg.types import AnyArray, Normalised

_TINIEST = 1 / float(np.finfo(np.float32).max)  # below it, 1 / deviation overflows float32

BAND_PX = 2**22
"""Pixels of a band: sections up to 2048x2048 are measured in one band."""


_CACHE_PX = 2**17
"""Pixels that are measured at a time: their float64 copies stay in the cache."""


@dataclass(frozen=True)
class GreyLevels:
    """Mean and spread of the grey values of a section.

    Attributes
    ----------
    count : int
        Pixels.
    mean, deviation : float
        Mean and standard deviation of the grey values, of all pixels (divisor N, not N - 1).
    low, high : float
        The smallest and the largest grey value.
    """

    count: int
    mean: float
    deviation: float
    low: float
    high: float

    @classmethod
    def from_bands(cls, bands: Iterable[AnyArray]) -> "GreyLevels":
        """Measure a section that comes in bands of rows, at least one pixel in all.

        Notes
        -----
        The means and squared deviations of parts are merged in float64 (Chan, Golub, LeVeque
        1979); the same bands give the same bits.
        """
        merged: GreyLevels | None = None
        for part in _parts(bands):
            mean, deviation = part.mean(dtype=np.float64), part.std(dtype=np.float64)
            found = cls(
                part.size, float(mean), float(deviation), float(part.min()), float(part.max())
            )
            merged = found if merged is None else merged._and(found)
        if merged is None:
            raise ValueError("there is no pixel to measure")
        return merged

    @classmethod
    def of_section(cls, section: AnyArray) -> "GreyLevels":
        """Measure a section in memory, shape (Y, X)."""
        return cls.from_bands(section[rows] for rows in bands((section.shape[0], section.shape[1])))

    def _and(self, other: "GreyLevels") -> "GreyLevels":
        count = self.count + other.count
        apart = other.mean - self.mean
        # Sums of squares around each mean, plus what lies between the means.
        squares = self.count * self.deviation**2 + other.count * other.deviation**2
        squares += apart**2 * self.count * other.count / count
        return GreyLevels(
            count,
            self.mean + apart * other.count / count,
            sqrt(squares / count),
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def blank(self) -> bool:
        """Whether all pixels have the same grey value."""
        return self.low == self.high

    def standardise(self, pixels: AnyArray) -> Normalised:
        """Shift and scale a part of the section so that the whole has mean 0 and deviation 1.

        Parameters
        ----------
        pixels : ndarray, shape (Y, X)
            Grey values of any type.

        Returns
        -------
        ndarray of float32, shape (Y, X)
            Normalised grey values; zeros where the section is blank.
        """
        shift, scale = self.shift_and_scale
        normalised = pixels.astype(np.float32)
        normalised -= shift
        normalised *= scale
        return normalised

    @property
    def shift_and_scale(self) -> tuple[np.float32, np.float32]:
        """What `standardise` subtracts, and then multiplies with."""
        # A deviation this small cannot be scaled in float32: such a section counts as blank.
        scale = 1 / self.deviation if self.deviation > _TINIEST else 0.0
        return np.float32(self.mean), np.float32(0.0 if self.blank else scale)


def _parts(bands: Iterable[AnyArray]) -> Iterator[AnyArray]:
    """Cut bands, shape (Y, X) or (N,), into parts that fit in the cache; none is empty."""
    for band in bands:
        rows = max(_CACHE_PX // max(band[:1].size, 1), 1)
        for start in range(0, len(band), rows):
            if (part := band[start : start + rows]).size:
                yield part


@dataclass(frozen=True)
class Normalisation:
    """How the grey values of a section are prepared for the network.

    Attributes
    ----------
    levels : GreyLevels
        Mean and spread of its tissue.
    empty : EmptyAreas or None
        Where the section holds no tissue; None where it is tissue everywhere.
    empty_px : int
        Pixels without tissue.
    bounds : tuple of float or None
        Darker and brighter pixels than these count as the bound; they are not in ``levels``. None
        where no pixel is beyond.
    """

    levels: GreyLevels
    empty: EmptyAreas | None = None
    empty_px: int = 0
    bounds: tuple[float, float] | None = None

    def mask(self, pixels: AnyArray, origin: tuple[int, int] = (0, 0)) -> Mask | None:
        """Tell which pixels of a rectangle are empty, as `EmptyAreas.mask`; None if none can be."""
        return None if self.empty is None else self.empty.mask(pixels, origin)

    def cut_off(self, pixels: AnyArray) -> AnyArray:
        """Let darker and brighter pixels than the bounds count as the bound."""
        return pixels if self.bounds is None else np.clip(pixels, *self.bounds)

    def standardise(self, pixels: AnyArray, empty: Mask | None) -> Normalised:
        """Shift and scale a part of the section so that its tissue has mean 0 and deviation 1.

        Parameters
        ----------
        pixels : ndarray, shape (Y, X)
            Grey values of any type.
        empty : ndarray of bool, shape (Y, X), or None
            Which of them are empty; see `EmptyAreas.mask`.

        Returns
        -------
        ndarray of float32, shape (Y, X)
            Normalised grey values; 0, which is neutral for the network, where it is empty.
        """
        normalised = self.levels.standardise(self.cut_off(pixels))
        if empty is not None:
            normalised[empty] = 0
        return normalised


def measure(bands: Bands, shape: tuple[int, int]) -> Normalisation:
    """Find the empty areas and the outliers of a section, and measure the rest.

    Parameters
    ----------
    bands : callable
        Iterates over the section in the bands of `band_rows`; called up to three times, once where
        all of the section is ordinary tissue.
    shape : tuple of int
        (Y, X) of the section.

    Returns
    -------
    Normalisation
        See there.

    Notes
    -----
    Hot and dead pixels are outliers: far beyond the 1st and 99th percentile of the tissue, by more
    than lies between these two. On normally distributed grey values that is 7 standard deviations.
    """
    scan = BlockScan(shape)

    def scanned() -> Iterator[AnyArray]:
        for rows, band in bands():
            scan.add(rows, band)
            yield band

    levels = GreyLevels.from_bands(scanned())
    empty = find_empty(scan, bands)
    bounds = _bounds(scan, empty)
    if empty is None and bounds[0] <= levels.low and levels.high <= bounds[1]:
        return Normalisation(levels)
    count = 0

    def tissue() -> Iterator[AnyArray]:
        nonlocal count
        for rows, band in bands():
            pixels = band if empty is None else band[~empty.mask(band, (rows.start, 0))]
            count += pixels.size
            yield pixels[(pixels >= bounds[0]) & (pixels <= bounds[1])]

    with contextlib.suppress(ValueError):  # nothing is tissue: the levels do not matter
        levels = GreyLevels.from_bands(tissue())
    return Normalisation(levels, empty, shape[0] * shape[1] - count, bounds)


def _bounds(scan: BlockScan, empty: EmptyAreas | None) -> tuple[float, float]:
    """Return the lowest and highest grey value that is no outlier."""
    sample = scan.sample(empty.blocks > 0 if empty else None)
    if not sample.size:
        return -np.inf, np.inf
    low, high = percentiles(sample, (1, 99))
    if low == high:  # hardly any structure: it is what there is to see
        return -np.inf, np.inf
    return 2 * low - high, 2 * high - low


def measure_section(section: AnyArray) -> Normalisation:
    """Find the empty areas and the outliers of a section in memory, shape (Y, X); see `measure`."""
    shape = (section.shape[0], section.shape[1])
    return measure(lambda: ((rows, section[rows]) for rows in bands(shape)), shape)


def bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Yield the rows of each band of a section, shape (Y, X): a multiple of 8, but the last."""
    rows = max(BAND_PX // shape[1] // BLOCK_PX, 1) * BLOCK_PX
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


def standardise(section: AnyArray) -> Normalised:
    """Shift and scale a section so that its tissue has mean 0 and standard deviation 1.

    Give it the whole section, never a tile or patch. Empty areas become 0; so does all of a
    constant section.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        Grey values of any type.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Normalised grey values.
    """
    normalisation = measure_section(section)
    return normalisation.standardise(section, normalisation.mask(section))


def resize(images: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize the last two axes bilinearly, with an antialiasing filter when they shrink.

    Parameters
    ----------
    images : ndarray of float32, shape (C, Y, X)
        The images.
    shape : tuple of int
        The new (Y, X).

    Returns
    -------
    ndarray of float32, shape (C, *shape)
        The resized images, within the range of the input.
    """
    resized = functional.interpolate(
        torch.from_numpy(images)[None], size=shape, mode="bilinear", antialias=True
    )
    # The weights of the filter add up to 1 only up to rounding, so values may exceed the range.
    return resized[0].numpy().clip(images.min(), images.max())
