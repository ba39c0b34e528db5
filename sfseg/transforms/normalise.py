"""Normalise grey values and resize sections for the network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sfseg.types import AnyArray, Normalised

_TINIEST = 1 / float(np.finfo(np.float32).max)  # below it, 1 / deviation overflows float32

BAND_PX = 2**22
"""Pixels of a band: sections up to 2048x2048 are measured in one band."""


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
        """Measure a section that comes in bands of rows, at least one.

        Notes
        -----
        The means and squared deviations of the bands are merged in float64 (Chan, Golub, LeVeque
        1979); the same bands give the same bits.
        """
        merged: GreyLevels | None = None
        for band in bands:
            mean, deviation = band.mean(dtype=np.float64), band.std(dtype=np.float64)
            found = cls(
                band.size, float(mean), float(deviation), float(band.min()), float(band.max())
            )
            merged = found if merged is None else merged._and(found)
        if merged is None:
            raise ValueError("there is no band to measure")
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
        # A deviation this small cannot be scaled in float32: such a section counts as blank.
        scale = 1 / self.deviation if self.deviation > _TINIEST else 0.0
        normalised = pixels.astype(np.float32)
        normalised -= np.float32(self.mean)
        normalised *= np.float32(0.0 if self.blank else scale)
        return normalised


def bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Yield the rows of each band of a section, shape (Y, X)."""
    rows = max(BAND_PX // shape[1], 1)
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


def standardise(section: AnyArray) -> Normalised:
    """Shift and scale a section to mean 0 and standard deviation 1.

    Give it the whole section, never a tile or patch. A constant section becomes zeros.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        Grey values of any type.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Normalised grey values.
    """
    return GreyLevels.of_section(section).standardise(section)


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
