"""Windows of the first sections of a stack, as the network sees them, to calibrate int8 on."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from sfseg.io import Stack
from sfseg.models import STRIDE
from sfseg.prediction.engines.calibrate import Sample
from sfseg.prediction.tile_reader import StackTile, read_tiles
from sfseg.prediction.tiles import Rectangle, Shape2D, Tile, padded_shape
from sfseg.transforms.normalise import resize, standardise
from sfseg.transforms.resample import FULL, Scaling
from sfseg.types import Normalised

SIDE_PX = 256
"""Most rows and columns of a window: one block of the engine."""

CALIBRATION_SECTIONS = 2
"""Sections whose left window sets the ranges; four are not nearer to float32, as measured."""

HELD_OUT_SECTIONS = 16
"""Sections whose right window is compared, at most."""

DRAWN_SECTIONS = 8

MOST_EMPTY = 0.5
"""Share of a window without tissue, from which on it is left out."""

_CORNER = (slice(0, 1), slice(0, 1))
"""Of a tile: only what it reads is needed here, nothing is kept or written."""


Samples = tuple[list[Sample], Iterable[Sample]]
"""Those that set the ranges, and those to compare on, which are read when they are needed."""


def sample_stack(stack: Stack, *, input_px: int | None, scaling: Scaling | None) -> Samples:
    """Cut windows out of the first sections of a stack, left and right of the middle.

    They depend on the input only, not on its tiles or on the memory of the machine.

    Parameters
    ----------
    stack : Stack
        The open input.
    input_px : int or None
        Side to which sections are resized for the network; None = native size.
    scaling : Scaling or None
        How sections are resampled for the network.

    Returns
    -------
    samples : list of Sample
        Those left of the middle. Drawn tissue, if the sections hold none.
    held_out : iterable of Sample
        Those right of the middle, of more sections.
    """
    shape = stack.shape[1:] if scaling is None else scaling.network_shape
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    if input_px is None:
        boxes = _beside_the_middle(padded_shape((shape[0], shape[1])))
        tiles = [Tile(box, _CORNER, _CORNER) for box in boxes]
    else:
        tiles = [Tile(whole, _CORNER, _CORNER)]

    def read(sections: Iterable[int], which: int) -> Iterator[Sample]:
        numbers = [section * len(tiles) + which % len(tiles) for section in sections]
        for tile in read_tiles(stack, tiles, numbers, scaling):
            if not _is_useless(tile):
                yield _as_network_sees(tile, input_px, which)

    samples = list(read(range(min(len(stack), CALIBRATION_SECTIONS)), 0))
    held_out = read(range(min(len(stack), HELD_OUT_SECTIONS)), 1)
    first = list(islice(held_out, 1)) or samples[:1]
    return (samples, chain(first, held_out)) if samples else sample_tissue()


def sample_tissue() -> Samples:
    """Draw tissue and cut windows out of it, where there is no stack yet."""
    from sfseg.datasets.synthetic import make_tissue  # SciPy

    volume, _ = make_tissue((DRAWN_SECTIONS, SIDE_PX, SIDE_PX))
    sections = [Sample(standardise(section)) for section in volume]
    return sections[:CALIBRATION_SECTIONS], sections[CALIBRATION_SECTIONS:]


def _beside_the_middle(shape: Shape2D) -> tuple[Rectangle, Rectangle]:
    """Return two windows of a padded section, left and right of its middle.

    In a section of 16 columns they are the same.
    """
    height = min(shape[0], SIDE_PX)
    top = (shape[0] - height) // 2 // STRIDE * STRIDE
    middle = shape[1] // 2 // STRIDE * STRIDE or STRIDE
    rows = slice(top, top + height)
    right = middle if middle < shape[1] else 0
    return (
        (rows, slice(max(middle - SIDE_PX, 0), middle)),
        (rows, slice(right, min(right + SIDE_PX, shape[1]))),
    )


def _is_useless(tile: StackTile) -> bool:
    """Tell whether a window has one grey value, or is mostly empty."""
    window = tile.window
    empty = window.empty is not None and float(np.mean(window.empty)) > MOST_EMPTY
    return empty or window.normalisation.levels.blank


def _as_network_sees(tile: StackTile, input_px: int | None, which: int) -> Sample:
    """Normalise a window; cut it out of the resized section, if sections are resized."""
    image, empty = tile.window.standardise(), tile.window.empty
    if input_px is None:
        return Sample(np.ascontiguousarray(image), empty)
    rows, columns = _beside_the_middle((input_px, input_px))[which]

    def cut(values: Normalised) -> Normalised:
        return np.ascontiguousarray(resize(values[None], (input_px, input_px))[0, rows, columns])

    return Sample(cut(image), None if empty is None else cut(empty.astype(np.float32)) > FULL)
