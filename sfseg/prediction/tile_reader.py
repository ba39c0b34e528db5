"""Read the tiles of a stack one after the other, normalised as their whole sections are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sfseg.io import Stack, require_finite
from sfseg.prediction.tiles import Tile
from sfseg.prediction.windows import Window, cut_window, needed_of
from sfseg.transforms.normalise import Normalisation, bands, measure
from sfseg.types import AnyArray

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
    """

    number: int
    section: int
    tile: Tile
    window: Window


def read_tiles(stack: Stack, tiles: list[Tile], numbers: Iterable[int]) -> Iterator[StackTile]:
    """Read tiles of a stack.

    Parameters
    ----------
    stack : Stack
        The open input.
    tiles : list of Tile
        The tiles of each section; see `sfseg.prediction.tiles.section_tiles`.
    numbers : iterable of int
        Which tiles, in ascending order.

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
    height, width = stack.shape[1:]
    is_small = height * width * stack.dtype.itemsize <= WHOLE_BYTES
    # the tiles of a section have consecutive numbers
    for section, group in groupby(numbers, lambda number: number // len(tiles)):
        whole = stack.section(section) if is_small else None
        normalisation = _measure(stack, section, whole)
        empty = None if whole is None else normalisation.mask(whole)
        for number in group:
            tile = tiles[number % len(tiles)]
            rows, columns = needed_of(tile.read, (height, width))
            pixels, origin = whole, (0, 0)
            if pixels is None:
                pixels, origin = stack.window(section, rows, columns), (rows.start, columns.start)
                empty = normalisation.mask(pixels, origin)
            window = cut_window(pixels, empty, normalisation, tile.read, (height, width), origin)
            yield StackTile(number, section, tile, window)


def _measure(stack: Stack, section: int, whole: AnyArray | None) -> Normalisation:
    """Measure the grey levels and empty areas of a section; refuse NaN and infinity."""
    height, width = stack.shape[1:]

    def finite_bands() -> Iterator[tuple[slice, AnyArray]]:
        for rows in bands((height, width)):
            columns = slice(0, width)
            band = stack.window(section, rows, columns) if whole is None else whole[rows]
            require_finite(band, stack.name, section + 1, rows.start)
            yield rows, band

    return measure(finite_bands, (height, width))
