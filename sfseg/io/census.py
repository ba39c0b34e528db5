"""Count the values of labels, and measure their areas in some sections."""

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.io.stack import Stack
from sfseg.types import AnyArray, Number

_SAMPLES = 4
"""Sections whose areas are looked at; the values are counted in all."""

_WINDOW_PX = 1024
"""Side of the middle of a section that is looked at."""

MAX_CLASSES = 8
"""Labels of more values are numbers of cells."""

_EVEN = 0.4
"""More of the pixels of a painted value have equal neighbours."""


@dataclass(frozen=True)
class Census:
    """The values of labels, and some of their sections.

    Attributes
    ----------
    values : ndarray, shape (N,)
        All values, ascending, but that of pixels to ignore.
    counts : ndarray of int64, shape (N,)
        Number of pixels of each value.
    samples : list of ndarray, shape (Y, X)
        Some sections.
    top : int or float, optional
        The largest value of the type; None for floats.
    """

    values: AnyArray
    counts: NDArray[np.int64]
    samples: Sequence[AnyArray]
    top: int | None

    @classmethod
    def from_sections(
        cls,
        sections: Iterable[AnyArray],
        ignore: Number | None,
        wanted: Container[int] = range(_SAMPLES),
    ) -> "Census":
        """Count the values of sections, and keep those whose areas are wanted."""
        found: dict[Number, int] = {}
        samples = []
        for index, section in enumerate(sections):
            for value, count in zip(*count_values(section), strict=True):
                found[value] = found.get(value, 0) + count
            if index in wanted:
                samples.append(section)
        values = sorted(found.keys() - {ignore})
        dtype = samples[0].dtype
        return cls(
            np.array(values),
            np.array([found[value] for value in values], np.int64),
            samples,
            None if dtype.kind == "f" else int(np.iinfo(dtype).max),
        )

    @cached_property
    def modes(self) -> tuple[Number, Number]:
        """The most frequent values of the lower and of the upper half of the range."""
        is_high = self.values > (self.values[0] / 2 + self.values[-1] / 2)
        low, high = (np.where(half, self.counts, -1).argmax() for half in (~is_high, is_high))
        return self.values[low].item(), self.values[high].item()

    @property
    def middle(self) -> float:
        """The middle between the two modes."""
        return self.modes[0] / 2 + self.modes[1] / 2

    @cached_property
    def is_soft(self) -> bool:
        """Whether these are two values that JPEG or a resize has blurred."""
        low, high = self.modes
        place = (self.values - low) / max(high - low, np.finfo(float).tiny)  # 0 at low, 1 at high
        shares = self.counts / max(self.counts.sum(), 1)
        near = np.minimum(np.abs(place), np.abs(place - 1)) <= 1 / 6
        if len(self.values) < 3 or shares[near].sum() < 0.6:
            return False
        if shares[(place > 1 / 3) & (place < 2 / 3)].sum() > 0.2:
            return False
        return self.evenness(self.values[~np.isin(self.values, self.modes)]) < _EVEN

    @property
    def is_scattered(self) -> bool:
        """Whether there are many values, and hardly a pixel has that of its neighbours."""
        return len(self.values) > MAX_CLASSES and self.evenness(self.values) < _EVEN

    def evenness(self, values: AnyArray) -> float:
        """Return the share of pixels of some values whose neighbours have the same value."""
        total = even = 0
        for section in self.samples:
            chosen = np.isin(section[:-1, :-1], values)
            same = (section[:-1, :-1] == section[1:, :-1]) & (section[:-1, :-1] == section[:-1, 1:])
            total += int(chosen.sum())
            even += int((chosen & same).sum())
        return even / total if total else 0.0

    def thickness(self, value: Number) -> float:
        """Return the mean width of the areas of a value, in pixels."""
        return mean_width([section == value for section in self.samples])

    def parts(self, value: Number) -> float:
        """Return the mean number of areas of a value in the sections that have it."""
        found = [ndimage.label(section == value)[1] for section in self.samples]
        return float(np.mean([count for count in found if count] or [0]))

    def is_one_area(self, value: Number) -> bool:
        """Tell whether a value is not the thinnest, and half of its pixels are in one area."""
        largest = total = 0
        for section in self.samples:
            sizes = np.bincount(ndimage.label(section == value)[0].ravel())[1:]
            largest += int(sizes.max(initial=0))
            total += int(sizes.sum())
        return largest * 2 >= total and value != self.thinnest(self.values.tolist())

    def share(self, value: Number) -> float:
        """Return the share of the pixels, without those to ignore, that have a value."""
        return float(self.counts[self.values == value].sum() / self.counts.sum())

    def thinnest(self, values: Sequence[Number]) -> Number:
        """Return the value whose areas are the thinnest."""
        return min(values, key=lambda value: (self.thickness(value), self.share(value)))


def count_values(section: AnyArray) -> tuple[list[Number], list[int]]:
    """List the values of a section, ascending, and how often each is there."""
    if section.dtype.kind == "u" and section.dtype.itemsize <= 2:  # faster than sorting
        every = np.bincount(section.ravel())
        values: AnyArray = np.flatnonzero(every)
        counts: AnyArray = every[values]
    else:
        values, counts = np.unique(section, return_counts=True)
    return values.tolist(), counts.tolist()


def sample_indices(count: int) -> tuple[int, ...]:
    """Choose some of the sections of a stack, spread over it."""
    return tuple(sorted(set(np.linspace(0, count - 1, _SAMPLES).astype(int).tolist())))


def sample_windows(stack: Stack) -> Iterator[AnyArray]:
    """Read the middle of some of the sections of a stack, shape (Y, X)."""
    height, width = stack.shape[1:]
    top, left = max(height - _WINDOW_PX, 0) // 2, max(width - _WINDOW_PX, 0) // 2
    rows = slice(top, min(top + _WINDOW_PX, height))
    columns = slice(left, min(left + _WINDOW_PX, width))
    return (stack.window(index, rows, columns) for index in sample_indices(len(stack)))


def mean_width(masks: Sequence[NDArray[np.bool_]]) -> float:
    """Return the mean width of areas, in pixels: 2 area / perimeter; 0 if there are none."""
    area = sum(int(mask.sum()) for mask in masks)
    edges = [np.count_nonzero(m[1:] != m[:-1]) for mask in masks for m in (mask, mask.T)]
    return 2 * area / max(sum(map(int, edges)), 1)


def do_cells_touch(sections: Iterable[AnyArray], borders: Collection[Number]) -> bool:
    """Tell whether two numbers of cells are neighbours; `borders` are the numbers of no cell."""
    for section in sections:
        is_cell = ~np.isin(section, list(borders))
        for ids, cell in ((section, is_cell), (section.T, is_cell.T)):
            if ((ids[1:] != ids[:-1]) & cell[1:] & cell[:-1]).any():
                return True
    return False
