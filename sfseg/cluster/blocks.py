"""Cut a stack into blocks: what a worker predicts at a time, and writes in whole files."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod

from sfseg.prediction.tiles import Shape2D, Tile, blocks_of
from sfseg.types import Shape

BLOCK_PX = 2**24
"""Pixels of a block of a large section: some seconds of work, in a few files of the output."""

GROUP_PX = 2**22
"""Pixels of the small sections that are one block: its work is long beside its message."""

BLOCKS_A_THREAD = 16
"""A small stack has so many blocks for each thread: so all end at about the same time."""


@dataclass(frozen=True)
class Block:
    """A rectangle of some sections in a row; it consists of whole files of the output.

    Attributes
    ----------
    sections : range
        Their indices, from 0.
    positions : range
        Which tiles of each section lie in it.
    rows, columns : tuple of int
        The first and the one after the last.
    """

    sections: range
    positions: range
    rows: tuple[int, int]
    columns: tuple[int, int]

    def of(self, sections: range) -> "Block":
        """Return the same rectangle of other sections."""
        return replace(self, sections=sections)

    def numbers(self, tiles: int) -> Iterator[int]:
        """Yield the numbers of its tiles, if each section has so many tiles."""
        for section in self.sections:
            yield from (section * tiles + position for position in self.positions)

    def place(self, shape: Shape) -> str:
        """Say where it lies in a stack."""
        first, last = self.sections[0] + 1, self.sections[-1] + 1
        text = f"section {first}" if first == last else f"sections {first} to {last}"
        if (self.rows, self.columns) == ((0, shape[1]), (0, shape[2])):
            return text
        rows, columns = (f"{span[0]} to {span[1] - 1}" for span in (self.rows, self.columns))
        return f"{text}, rows {rows}, columns {columns}"


def block_px(shape: Shape2D, file_px: Shape2D) -> Shape2D | None:
    """Choose the size of blocks for large sections.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of a section.
    file_px : tuple of int
        Rows and columns in a file of the output.

    Returns
    -------
    tuple of int or None
        Rows and columns of a block, in whole files; None if a section is one block.
    """
    if prod(shape) <= BLOCK_PX:
        return None
    side = isqrt(BLOCK_PX)
    rows, columns = (
        length if length <= side else min(max(side // file, 1) * file, length)
        for length, file in zip(shape, file_px, strict=True)
    )
    return rows, columns


def section_blocks(shape: Shape, tiles: Sequence[Tile], size: Shape2D | None) -> list[Block]:
    """List the blocks of the first section.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) of the stack.
    tiles : sequence of Tile
        Those of each section, block after block; see `sfseg.prediction.tiles.section_tiles`.
    size : tuple of int or None
        Rows and columns of a block; None = a section is one block.
    """
    blocks, first = [], 0
    section = shape[1], shape[2]
    for rows, columns in blocks_of(section, size or section):
        stop = first
        while stop < len(tiles) and _is_in(tiles[stop], rows, columns):
            stop += 1
        spans = (rows.start, rows.stop), (columns.start, columns.stop)
        blocks.append(Block(range(1), range(first, stop), *spans))
        first = stop
    return blocks


def _is_in(tile: Tile, rows: slice, columns: slice) -> bool:
    """Tell whether a tile begins in a rectangle."""
    y, x = tile.write[0].start, tile.write[1].start
    return y in range(rows.start, rows.stop) and x in range(columns.start, columns.stop)


def missing_blocks(
    shape: Shape, blocks: Sequence[Block], finished: Container[int], threads: int
) -> Iterator[Block]:
    """Yield the blocks that have an unfinished tile; small sections in a row are one block.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) of the stack.
    blocks : sequence of Block
        Those of the first section; see `section_blocks`.
    finished : container of int
        The numbers of finished tiles.
    threads : int
        How many blocks are computed at a time.
    """
    tiles = blocks[-1].positions.stop
    most = min(GROUP_PX // prod(shape[1:]), shape[0] // (BLOCKS_A_THREAD * max(threads, 1)))
    group = range(0)  # sections that are missing, without a gap
    for section in range(shape[0]):
        each = range(section, section + 1)
        missing = [
            block.of(each)
            for block in blocks
            if not all(number in finished for number in block.of(each).numbers(tiles))
        ]
        if len(blocks) > 1:
            yield from missing
            continue
        if group and (not missing or len(group) >= most):
            yield blocks[0].of(group)
            group = range(0)
        if missing:
            group = range(group.start if group else section, section + 1)
    if group:
        yield blocks[0].of(group)
