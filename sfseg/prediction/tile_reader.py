"""The pieces of a stack, each a tile of a section, read as they are wanted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sfseg.io import Stack, require_finite
from sfseg.prediction.tiles import Tile
from sfseg.prediction.windows import needed_of, window_of
from sfseg.transforms.normalise import GreyLevels, bands
from sfseg.types import AnyArray

WHOLE_BYTES = 64 * 2**20
"""Sections up to this size are read at once, larger ones band by band and window by window."""


@dataclass(frozen=True)
class Piece:
    """A tile of a section, read.

    Attributes
    ----------
    number : int
        Counts the tiles of all sections, from 0.
    section : int
        Index of the section, from 0.
    tile : Tile
        Where it lies, and what is kept of it.
    window : ndarray, shape of ``tile.read``
        Grey values.
    levels : GreyLevels
        Of the whole section.
    """

    number: int
    section: int
    tile: Tile
    window: AnyArray
    levels: GreyLevels


def read_pieces(stack: Stack, tiles: list[Tile], numbers: Iterable[int]) -> Iterator[Piece]:
    """Read pieces of a stack.

    Parameters
    ----------
    stack : Stack
        The open input.
    tiles : list of Tile
        Of each section; see `sfseg.prediction.predictor.Predictor.tiles`.
    numbers : iterable of int
        Which pieces, in rising order.

    Yields
    ------
    Piece
        In the order of the numbers. Sections without a wanted piece are not read.

    Raises
    ------
    NonFiniteError
        If a section holds NaN or infinity.
    StackError
        If it cannot be decoded.
    """
    height, width = stack.shape[1:]
    is_small = height * width * stack.dtype.itemsize <= WHOLE_BYTES
    for section, group in groupby(numbers, lambda number: number // len(tiles)):
        whole = stack.section(section) if is_small else None
        levels = _levels(stack, section, whole)
        for number in group:
            tile = tiles[number % len(tiles)]
            rows, columns = needed_of(tile.read, (height, width))
            part = stack.window(section, rows, columns) if whole is None else whole
            origin = (rows.start, columns.start) if whole is None else (0, 0)
            window = window_of(part, tile.read, (height, width), origin)
            yield Piece(number, section, tile, window, levels)


def _levels(stack: Stack, section: int, whole: AnyArray | None) -> GreyLevels:
    """Measure a section, and refuse what is not finite."""
    height, width = stack.shape[1:]

    def checked() -> Iterator[AnyArray]:
        for rows in bands((height, width)):
            everything = slice(0, width)
            band = stack.window(section, rows, everything) if whole is None else whole[rows]
            require_finite(band, stack.name, section + 1, rows.start)
            yield band

    return GreyLevels.from_bands(checked())
