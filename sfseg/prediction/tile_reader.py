"""Read the tiles of a stack one after the other, with the normalisation of their sections."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sfseg.io import Stack, require_finite
from sfseg.prediction.tiles import Rectangle, Shape2D, Tile
from sfseg.prediction.windows import Window, cut_window, needed_of
from sfseg.system.threads import ordered
from sfseg.transforms.empty import Mask
from sfseg.transforms.normalise import GreyLevels, Normalisation, bands, measure
from sfseg.transforms.resample import FULL, Scaling
from sfseg.types import AnyArray, Normalised, Probability

WHOLE_BYTES = 64 * 2**20
"""Sections up to this size are read whole. Larger ones are read twice: in bands, then in tiles."""


@dataclass(frozen=True)
class StackTile:
    """A tile of one section of a stack, with its grey values.

    Attributes
    ----------
    number : int
        Counts the tiles of all sections, from 0.
    section : int
        Index of the section, from 0.
    tile : Tile
        Where it lies in the section.
    window : Window
        Grey values of the core and the halo, shape of ``tile.read``.
    empty : ndarray of bool, shape of ``tile.write``, or None
        Which pixels of the core hold no tissue; None if all do.
    scaling : Scaling or None
        If the section is resampled for the network: the way back.
    """

    number: int
    section: int
    tile: Tile
    window: Window
    empty: Mask | None = None
    scaling: Scaling | None = None

    def bring_back(self, probability: Probability) -> Probability:
        """Turn the result of the network, shape of ``tile.keep``, to the grid of the section.

        Returns
        -------
        ndarray of float32, shape of ``tile.write``
            Interior probability; 0 in empty areas.
        """
        if self.scaling is None:
            return probability
        rows, columns = self.tile.keep
        origin = self.tile.read[0].start + rows.start, self.tile.read[1].start + columns.start
        result = self.scaling.back(probability, *self.tile.write, origin)
        if self.window.empty is not None:
            # Empty areas take no part in the mean: the map does not fade at their edge.
            tissue = np.float32(1) - self.window.empty[self.tile.keep]
            share = self.scaling.back(tissue, *self.tile.write, origin)
            np.divide(result, share, out=result, where=share > 0)
        if self.empty is not None:
            result[self.empty] = 0
        return result.clip(0, 1)


def read_tiles(
    stack: Stack,
    tiles: list[Tile],
    numbers: Iterable[int],
    scaling: Scaling | None = None,
    *,
    workers: int = 1,
    measured: Normalisation | None = None,
) -> Iterator[StackTile]:
    """Read tiles of a stack.

    Parameters
    ----------
    stack : Stack
        The open input.
    tiles : list of Tile
        The tiles of each section; see `sfseg.prediction.tiles`.
    numbers : iterable of int
        Which tiles, in ascending order.
    scaling : Scaling, optional
        How sections are resampled for the network; by default they are not.
    workers : int
        Sections, and tiles, that are prepared at the same time.
    measured : Normalisation, optional
        That of the section, if all tiles are of one; see `measure_section`. It is not read as a
        whole then.

    Yields
    ------
    StackTile
        In the order of the numbers. Sections without a wanted tile are not read.

    Raises
    ------
    NonFiniteError
        If a section holds NaN or infinity.
    StackError
        If it cannot be decoded.
    """

    def prepare(index_and_numbers: tuple[int, list[int]]) -> "tuple[_Source, list[int]]":
        index, numbers = index_and_numbers
        section = _Section(stack, index, measured)
        return section if scaling is None else _ScaledSection(section, scaling), numbers

    def cut(source_and_number: "tuple[_Source, int]") -> StackTile:
        source, number = source_and_number
        index, position = divmod(number, len(tiles))
        tile = tiles[position]
        window = source.cut(tile.read)
        return StackTile(number, index, tile, window, source.core_mask(tile, window), scaling)

    # the tiles of a section have consecutive numbers
    grouped = groupby(numbers, lambda number: number // len(tiles))
    groups = ((index, list(group)) for index, group in grouped)
    sections = ordered(prepare, groups, workers)
    wanted = ((section, number) for section, numbers in sections for number in numbers)
    return ordered(cut, wanted, workers)


def measure_section(stack: Stack, index: int) -> Normalisation:
    """Measure the grey values of a section, for `read_tiles`; raises as that does."""
    return _Section(stack, index).normalisation


class _Section:
    """One section: whole in memory if it is small, else read in windows.

    If it is measured already, a part of it is wanted, and only that is read.
    """

    def __init__(self, stack: Stack, index: int, measured: Normalisation | None = None) -> None:
        self._stack, self._index = stack, index
        self.shape: Shape2D = (stack.shape[1], stack.shape[2])
        is_small = self.shape[0] * self.shape[1] * stack.dtype.itemsize <= WHOLE_BYTES
        self._whole = stack.section(index) if is_small and measured is None else None
        self.normalisation = measured or measure(self._finite_bands, self.shape)
        self._mask = None if self._whole is None else self.normalisation.mask(self._whole)

    def cut(self, read: Rectangle) -> Window:
        """Cut out the window of a tile."""
        rows, columns = needed_of(read, self.shape)
        pixels, empty, origin = self.read(rows, columns)
        return cut_window(pixels, empty, self.normalisation, read, self.shape, origin)

    def read(self, rows: slice, columns: slice) -> tuple[AnyArray, Mask | None, Shape2D]:
        """Return at least these pixels, which of them are empty, and where they begin."""
        if self._whole is not None:
            return self._whole, self._mask, (0, 0)
        pixels = self._stack.window(self._index, rows, columns)
        origin = rows.start, columns.start
        return pixels, self.normalisation.mask(pixels, origin), origin

    def rectangle(self, rows: slice, columns: slice) -> tuple[AnyArray, Mask | None]:
        """Return exactly these pixels, and which of them are empty."""
        pixels, empty, (top, left) = self.read(rows, columns)
        inner = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        return pixels[inner], None if empty is None else empty[inner]

    def core_mask(self, tile: Tile, window: Window) -> Mask | None:
        """Tell which pixels of a core are empty; None if the section has no empty area."""
        return None if window.empty is None else window.empty[tile.keep]

    def _finite_bands(self) -> Iterator[tuple[slice, AnyArray]]:
        """Read the section in bands; refuse NaN and infinity."""
        for rows in bands(self.shape):
            columns = slice(0, self.shape[1])
            whole = self._whole
            band = self._stack.window(self._index, rows, columns) if whole is None else whole[rows]
            require_finite(band, self._stack.name, self._index + 1, rows.start)
            yield rows, band


class _ScaledSection:
    """A section on the grid of the network. Each window is resampled from the section's own pixels.

    They are normalised first: so empty areas are neutral, and outliers are cut off, before they mix
    with tissue. Then the mean and the deviation are those of the resampled tissue.
    """

    def __init__(self, section: _Section, scaling: Scaling) -> None:
        self._section, self._scaling = section, scaling
        try:
            levels = GreyLevels.from_bands(self._tissue())
        except ValueError:  # nothing is tissue: the levels do not matter
            levels = section.normalisation.levels
        self._normalisation = Normalisation(levels)

    def cut(self, read: Rectangle) -> Window:
        """Cut out the window of a tile."""
        shape = self._scaling.network_shape
        rows, columns = needed_of(read, shape)
        pixels, empty = self._resample(rows, columns)
        origin = rows.start, columns.start
        return cut_window(pixels, empty, self._normalisation, read, shape, origin)

    def core_mask(self, tile: Tile, window: Window) -> Mask | None:
        """Tell which of the section's own pixels in a core are empty; None if it has none."""
        return None if window.empty is None else self._section.rectangle(*tile.write)[1]

    def _tissue(self) -> Iterator[AnyArray]:
        """Iterate over the grey values of the tissue in bands."""
        for rows in bands(self._scaling.network_shape):
            pixels, empty = self._resample(rows, slice(0, self._scaling.network_shape[1]))
            yield pixels if empty is None else pixels[~empty]

    def _resample(self, rows: slice, columns: slice) -> tuple[Normalised, Mask | None]:
        """Resample a rectangle: its grey values, and which of them are empty."""
        needed = self._scaling.there.needed(rows, columns)
        pixels, empty = self._section.rectangle(*needed)
        origin = needed[0].start, needed[1].start
        values = self._section.normalisation.standardise(pixels, empty)
        resampled = self._scaling.there(values, rows, columns, origin)
        if empty is None:
            return resampled, None
        covered = self._scaling.cover(empty.astype(np.float32), rows, columns, origin)
        return resampled, covered > FULL


_Source = _Section | _ScaledSection
