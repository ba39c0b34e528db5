"""Colours of cells and errors in pictures with a palette, and the contrast of grey values.

Number 0 is transparent. Cells have numbers from 1; neighbours differ. The last ones are those of
errors.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sfseg.io.palette import cell_colours
from sfseg.scoring.drawing import COLOURS
from sfseg.types import AnyArray, Segments

Indices = NDArray[np.uint8]

ERRORS = 250
"""What is added to the values of a picture of errors, see `sfseg.scoring.drawing`."""

_OPACITIES = (255, 255, 110, 110, 160)
"""Of the values from 1: lines of merges and splits; areas of both; what is not known."""

MEMBRANE, EMPTY = 248, 249
"""Numbers of the colours of membranes, and of areas without tissue."""

MEMBRANE_COLOUR, EMPTY_COLOUR = (255, 122, 0), (66, 82, 128)
"""Neither is grey, and they are far apart also for colour-blind people."""

CELLS = 60
"""Colours for cells: so few that they are easy to tell apart."""

_REACHES = (2, 5, 9)
"""Cells are neighbours if they are so many pixels apart: with a line or a membrane between them."""

_TAIL = 0.005
"""Share of the grey values at either end that may become black, or white."""


@cache
def palette() -> NDArray[np.uint8]:
    """Return red, green, blue and opacity of each number, shape (256, 4)."""
    colours = np.zeros((256, 4), np.uint8)
    colours[1 : CELLS + 1, :3] = cell_colours()[1 : CELLS + 1]
    colours[1 : CELLS + 1, 3] = 255
    colours[MEMBRANE], colours[EMPTY] = (*MEMBRANE_COLOUR, 255), (*EMPTY_COLOUR, 255)
    _, merge, split, *_ = COLOURS  # areas have the colour of their line
    unknown = (0, 0, 0)
    of_errors = zip((merge, split, merge, split, unknown), _OPACITIES, strict=True)
    for value, (colour, opacity) in enumerate(of_errors, 1):
        colours[ERRORS + value] = *colour, opacity
    return colours


def stretch(section: AnyArray, span: tuple[float, float]) -> NDArray[np.uint8]:
    """Turn grey values into those of a picture: the span becomes 0 to 255."""
    low, high = span
    scaled = (section.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
    grey: NDArray[np.uint8] = np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8)
    return grey


def find_span(sample: AnyArray) -> tuple[float, float]:
    """Find the grey values between which a picture has contrast; those of 8 bits stay."""
    if sample.dtype == np.uint8:
        return 0.0, 255.0
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(finite, (_TAIL, 1 - _TAIL))
    return float(low), float(high)


def colour_cells(cells: Segments, wanted: NDArray[np.intp] | None = None) -> NDArray[np.intp]:
    """Choose a colour for each cell of a section, so that neighbours differ.

    Parameters
    ----------
    cells : ndarray of int32, shape (Y, X)
        Numbers from 1; 0 is none.
    wanted : ndarray of int, shape (N + 1,), optional
        The colour that each cell gets in any case; 0 = any.

    Returns
    -------
    ndarray of int, shape (N + 1,)
        The colour of each number; that of 0 is 0.
    """
    count = int(cells.max(initial=0))
    colours = np.zeros(count + 1, np.intp) if wanted is None else wanted.copy()
    near: list[list[int]] = [[] for _ in range(count + 1)]
    for one, other in _neighbours(cells).tolist():
        near[one].append(other)
        near[other].append(one)
    for cell in range(1, count + 1):
        if colours[cell] == 0:
            taken = {colours[other] for other in near[cell]}
            first = cell * 7 % CELLS  # not the same few colours everywhere
            tries = ((first + step) % CELLS + 1 for step in range(CELLS))
            colours[cell] = next((colour for colour in tries if colour not in taken), first + 1)
    return colours


def match_colours(
    segments: Segments, cells: Segments, colours: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Give each segment the colour of its cell, if it is the largest segment of that cell.

    So the same cell has the same colour in both; the other parts of a split cell differ from it.

    Parameters
    ----------
    segments, cells : ndarray of int32, shape (Y, X)
        Numbers from 1; 0 is none.
    colours : ndarray of int, shape (cells + 1,)
        Those of the cells.

    Returns
    -------
    ndarray of int, shape (segments + 1,)
        See `colour_cells`.
    """
    both = (segments > 0) & (cells > 0)
    width = int(cells.max(initial=0)) + 1
    pairs, sizes = np.unique(
        segments[both].astype(np.int64) * width + cells[both], return_counts=True
    )
    wanted = np.zeros(int(segments.max(initial=0)) + 1, np.intp)
    is_taken = np.zeros(width, bool)
    for pair in pairs[np.argsort(-sizes, kind="stable")].tolist():
        segment, cell = divmod(pair, width)
        if wanted[segment] == 0 and not is_taken[cell]:
            wanted[segment], is_taken[cell] = colours[cell], True
    return colour_cells(segments, wanted)


def _neighbours(cells: Segments) -> NDArray[np.int64]:
    """List the pairs of cells that lie close to each other in a row or a column: shape (N, 2)."""
    width = int(cells.max(initial=0)) + 1
    pairs = []
    for image in (cells, cells.T):
        for reach in _REACHES:
            one, other = image[:-reach], image[reach:]
            differ = (one != other) & (one > 0) & (other > 0)
            # both numbers as one: to sort these is much faster than to sort pairs
            pairs.append(np.unique(one[differ].astype(np.int64) * width + other[differ]))
    return np.stack(np.divmod(np.unique(np.concatenate(pairs)), width), 1)


def colour_errors(picture: Indices) -> Indices:
    """Turn a picture of errors, see `sfseg.scoring.drawing`, into numbers of colours."""
    return np.where(picture > 0, picture + np.uint8(ERRORS), np.uint8(0))
