"""Read the tiles of a stack one after the other, with the grey levels of their sections."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sfseg.io import Stack, require_finite
from sfseg.prediction.tiles import Tile
from sfseg.prediction.windows import needed_of, window_of
from sfseg.transforms.normalise import GreyLevels, bands
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
    window : ndarray, shape of ``tile.read``
        Grey values of the core and the halo.
    levels : GreyLevels
        Mean and spread of the whole section.
    """

    number: int
    section: int
    tile: Tile
    window: AnyArray
    levels: GreyLevels


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
        levels = _levels(stack, section, whole)
        for number in group:
            tile = tiles[number % len(tiles)]
            rows, columns = needed_of(tile.read, (height, width))
            pixels = stack.window(section, rows, columns) if whole is None else whole
            origin = (rows.start, columns.start) if whole is None else (0, 0)
            window = window_of(pixels, tile.read, (height, width), origin)
            yield StackTile(number, section, tile, window, levels)


def _levels(stack: Stack, section: int, whole: AnyArray | None) -> GreyLevels:
    """Measure the grey levels of a section; refuse NaN and infinity."""
    height, width = stack.shape[1:]

    def finite_bands() -> Iterator[AnyArray]:
        for rows in bands((height, width)):
            columns = slice(0, width)
            band = stack.window(section, rows, columns) if whole is None else whole[rows]
            require_finite(band, stack.name, section + 1, rows.start)
            yield band

    return GreyLevels.from_bands(finite_bands())
