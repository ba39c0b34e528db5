"""Large areas of labels without anything in them, as where nobody has labelled yet."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.io.census import mean_width

_MEMBRANE_PART, _MEMBRANE_SHARE = 8, 0.05
_INTERIOR_PART, _INTERIOR_SHARE = 4, 0.5
"""Squares of this part of a section's side that are all membrane, or all inside a cell, fill less
than this share of a section: 0 and 0.18 at most in the known datasets."""

_MIN_MEMBRANE_SIDE, _MIN_INTERIOR_SIDE = 32, 64
"""Squares in pixels that are never smaller, for small sections."""


_BLOCKS = 8


def large_areas(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Mark the pixels in squares of a side that are True as a whole.

    This is the opening by a square, on a grid of blocks of an eighth of its side. A section that
    is smaller than the square has none.
    """
    areas = np.zeros_like(mask)
    if min(mask.shape) < side:
        return areas
    step = max(side // _BLOCKS, 1)
    rows, columns = (length // step for length in mask.shape)
    blocks = mask[: rows * step, : columns * step].reshape(rows, step, columns, step)
    whole = blocks.all(axis=(1, 3)).view(np.uint8)  # (blocks, blocks)
    fits = ndimage.minimum_filter(whole, _BLOCKS, mode="constant", cval=1)
    # an even filter is not centred: its mirror image leads back
    opened = ndimage.maximum_filter(fits, _BLOCKS, mode="constant", origin=-1) > 0
    areas[: rows * step, : columns * step] = opened.repeat(step, 0).repeat(step, 1)
    return areas & mask


def find_unlabelled(
    inside: NDArray[np.bool_], membrane: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Find a large part of a section that is membrane, or inside of one cell, without a break.

    Parameters
    ----------
    inside, membrane : ndarray of bool, shape (Y, X)
        What the labels say; neither where they are not known.

    Returns
    -------
    ndarray of bool, shape (Y, X), or None
        The part; None where labels look complete.
    """
    smallest = min(inside.shape)
    side = max(smallest // _MEMBRANE_PART, _MIN_MEMBRANE_SIDE)
    areas = large_areas(membrane, side)
    if areas.mean() > _MEMBRANE_SHARE:
        # where the labels are inverted instead, membranes are wide everywhere
        rest = ~ndimage.maximum_filter(areas, side)
        return areas if mean_width([inside & rest]) > mean_width([membrane & rest]) else None
    areas = large_areas(inside, max(smallest // _INTERIOR_PART, _MIN_INTERIOR_SIDE))
    return areas if areas.mean() > _INTERIOR_SHARE else None


def find_swapped(sections: Sequence[NDArray[np.bool_]]) -> tuple[int, ...]:
    """Find the few sections that are inverted, among others that are not.

    Parameters
    ----------
    sections : sequence of ndarray of bool, shape (Y, X)
        The inside of cells.

    Returns
    -------
    tuple of int
        Their indices: where cells fill less than half and are thinner than membranes, while cells
        fill more than half of most other sections.
    """
    shares = np.array([inside.mean() for inside in sections])
    if np.median(shares) <= 0.5:
        return ()
    return tuple(
        index
        for index in np.flatnonzero(shares < 0.5).tolist()
        if shares[index] > 0  # else nobody has labelled it
        and mean_width([sections[index]]) < mean_width([~sections[index]])
        and find_unlabelled(sections[index], ~sections[index]) is None
    )
