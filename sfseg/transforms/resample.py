"""Resample sections to another grid and back, in rectangles that equal the whole to the bit.

Rows first, then columns. Each new sample is a weighted sum of a few old ones. Indices and weights
come from one table for the whole axis, and the sum is taken in the order of the table. So a sample
has the same bits, whatever rectangle it is computed in.

Finer grids get cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711), coarser ones the mean
over the area of the new pixel. Probabilities get linear interpolation, which stays within [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from sfseg.types import AnyArray

Shape2D = tuple[int, int]
Rectangle = tuple[slice, slice]
Floats = NDArray[np.float32]
Kernel = Callable[[AnyArray], AnyArray]
"""Weight of a sample at a distance, in old samples."""

FULL = 1 - 5e-6
"""From this value on a resampled mask is 1, up to rounding."""

_TINY = 1e-5  # a smaller weight comes from rounding


@dataclass(frozen=True, eq=False)
class Filter:
    """How the samples of an axis are made from others.

    Attributes
    ----------
    taps : ndarray of int64, shape (T, M)
        For each of the M new samples the indices of T old ones.
    weights : ndarray of float32, shape (T, M)
        Their weights; those of a sample add up to 1.
    """

    taps: NDArray[np.int64]
    weights: Floats

    @classmethod
    def sampled(cls, kernel: Kernel, reach: int, old: int, new: int) -> "Filter":
        """Sample a kernel that is `reach` old samples wide on each side; the ends are repeated."""
        at = (np.arange(new) + 0.5) * (old / new) - 0.5  # where new samples lie, in old ones
        taps = np.floor(at).astype(np.int64) + np.arange(1 - reach, reach + 1)[:, None]  # (T, M)
        return cls._tidy(taps, kernel(np.abs(taps - at)), old)

    @classmethod
    def mean(cls, old: int, new: int) -> "Filter":
        """Take the mean over the area of each new sample, which is not smaller than an old one."""
        start = np.arange(new) * (old / new)
        stop = start + old / new
        taps = np.floor(start).astype(np.int64) + np.arange(ceil(old / new) + 1)[:, None]
        covered = np.minimum(taps + 1, stop) - np.maximum(taps, start)
        return cls._tidy(taps, covered.clip(0), old)

    @classmethod
    def _tidy(cls, taps: NDArray[np.int64], weights: AnyArray, old: int) -> "Filter":
        weights = np.where(np.abs(weights) < _TINY, 0, weights)
        return cls(taps.clip(0, old - 1), (weights / weights.sum(0)).astype(np.float32))

    def needed(self, span: slice) -> slice:
        """Return the old samples that a range of new ones needs."""
        taps = self.taps[:, span]
        return slice(int(taps.min()), int(taps.max()) + 1)

    def apply(self, values: Floats, axis: int, span: slice, origin: int) -> Floats:
        """Compute a range of new samples along an axis from the old ones from `origin` on."""
        taps = self.taps[:, span] - origin
        along = (-1, 1) if axis == 0 else (1, -1)
        first: Floats = values.take(taps[0], axis)
        result = first.copy()
        # Differences from one sample: so a constant area stays constant to the bit.
        for tap, weights in zip(taps[1:], self.weights[1:, span], strict=True):
            if weights.any():
                result += (values.take(tap, axis) - first) * weights.reshape(along)
        return result


def _linear(distance: AnyArray) -> AnyArray:
    inside: AnyArray = (1 - distance).clip(0)
    return inside


def _cubic(distance: AnyArray) -> AnyArray:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _nearest(distance: AnyArray) -> AnyArray:
    # The taps are the two around the sample. Of two as near, the first counts: only one may.
    first = distance[0] <= distance[1]
    return np.stack([first, ~first]).astype(float)


def _filter(old: int, new: int, finer: Kernel, reach: int) -> Filter:
    """Make a filter: the mean where the new grid is coarser, else of a kernel."""
    return Filter.mean(old, new) if new <= old else Filter.sampled(finer, reach, old, new)


@dataclass(frozen=True, eq=False)
class Resampler:
    """Resamples rectangles of sections of one shape to another one.

    Attributes
    ----------
    shape, new_shape : tuple of int
        (Y, X) before and after.
    filters : tuple of Filter
        Along rows and columns.
    """

    shape: Shape2D
    new_shape: Shape2D
    filters: tuple[Filter, Filter]

    @classmethod
    def _of(cls, shape: Shape2D, new_shape: Shape2D, kernel: Kernel, reach: int) -> "Resampler":
        rows, columns = (
            _filter(old, new, kernel, reach) for old, new in zip(shape, new_shape, strict=True)
        )
        return cls(shape, new_shape, (rows, columns))

    @classmethod
    def cubic(cls, shape: Shape2D, new_shape: Shape2D) -> "Resampler":
        """Resample grey values."""
        return cls._of(shape, new_shape, _cubic, 2)

    @classmethod
    def linear(cls, shape: Shape2D, new_shape: Shape2D) -> "Resampler":
        """Resample probabilities."""
        return cls._of(shape, new_shape, _linear, 1)

    @classmethod
    def cover(cls, shape: Shape2D, new_shape: Shape2D) -> "Resampler":
        """Resample a mask: 1 only where all of a pixel is within it."""
        return cls._of(shape, new_shape, _nearest, 1)

    def needed(self, rows: slice, columns: slice) -> Rectangle:
        """Return the old rows and columns that a rectangle of the new grid needs."""
        return self.filters[0].needed(rows), self.filters[1].needed(columns)

    def __call__(
        self, values: Floats, rows: slice, columns: slice, origin: Shape2D = (0, 0)
    ) -> Floats:
        """Compute a rectangle of the new grid.

        Parameters
        ----------
        values : ndarray of float32, shape (Y, X)
            The section, or at least the rows and columns of `needed`.
        rows, columns : slice
            The rectangle.
        origin : tuple of int
            Row and column of the section where `values` begins.

        Returns
        -------
        ndarray of float32, shape (rows, columns)
            Its values; up to rounding within the range of the old ones, but for cubic convolution.
        """
        values = self.filters[0].apply(values, 0, rows, origin[0])
        return self.filters[1].apply(values, 1, columns, origin[1])

    def whole(self, values: Floats) -> Floats:
        """Resample a whole section, shape (Y, X)."""
        rows, columns = (slice(0, length) for length in self.new_shape)
        return self(values, rows, columns)


@dataclass(frozen=True, eq=False)
class Scaling:
    """The way of a section to the grid of the network, and of its map back.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the section.
    network_shape : tuple of int
        (Y, X) in the pixels of the network.
    there, cover, back : Resampler
        Of grey values and of masks to the network's grid; of probabilities to the section's.
    """

    shape: Shape2D
    network_shape: Shape2D
    there: Resampler
    cover: Resampler
    back: Resampler

    @classmethod
    def between(cls, shape: Shape2D, network_shape: Shape2D) -> "Scaling":
        """Make the tables for sections of one shape."""
        return cls(
            shape,
            network_shape,
            Resampler.cubic(shape, network_shape),
            Resampler.cover(shape, network_shape),
            Resampler.linear(network_shape, shape),
        )

    @property
    def margin_px(self) -> int:
        """Network pixels around a rectangle that its section pixels need; see `own_span`."""
        return max(
            ceil(new / old / 2) + 1 for old, new in zip(self.shape, self.network_shape, strict=True)
        )

    def own(self, rectangle: Rectangle) -> Rectangle:
        """Return the section pixels whose centres lie in a rectangle of the network's grid."""
        rows, columns = (
            slice(*(_own(edge, old, new) for edge in (span.start, span.stop)))
            for span, old, new in zip(rectangle, self.shape, self.network_shape, strict=True)
        )
        return rows, columns


def _own(edge: int, old: int, new: int) -> int:
    """Return the first old pixel whose centre is not before an edge between new pixels."""
    # ceil(edge * old / new - 1 / 2), in whole numbers
    return min(max(-((new - 2 * edge * old) // (2 * new)), 0), old)
