"""Draw the errors of a section as a label image, for any viewer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.scoring.mistakes import Mistake
from sfseg.types import AnyArray, Segments

MERGE, SPLIT, MERGED, CUT_OFF, UNKNOWN = 1, 2, 3, 4, 5
"""Values of the picture; 0 is right. See `draw_mistakes`."""

_WIDTH = np.ones((3, 3), bool)  # one pixel more on each side: a line of two becomes one of four


def draw_mistakes(
    truth: Segments,
    segments: Segments,
    mistakes: Sequence[Mistake],
    known: AnyArray | None = None,
) -> NDArray[np.uint8]:
    """Draw the errors of a section.

    Parameters
    ----------
    truth, segments : ndarray of int32, shape (Y, X)
        True cells and predicted segments.
    mistakes : sequence of Mistake
        The errors, largest cost first; the first one lies on top.
    known : ndarray of bool, shape (Y, X), optional
        Where the truth is known; None = everywhere.

    Returns
    -------
    ndarray of uint8, shape (Y, X)
        1: where merged cells meet, across the hole in the membrane. 2: where the parts of a split
        cell meet, along the false membrane. 3: cells that are merged into a larger one. 4: parts
        that are cut off from the rest of their cell. 5: not known. 0: all else.
    """
    picture = np.zeros(truth.shape, np.uint8)
    if known is not None:
        picture[~known] = UNKNOWN
    for mistake in reversed(mistakes):
        area = _smaller_parts(truth, segments, mistake)
        picture[area] = MERGED if mistake.kind == "merge" else CUT_OFF
    for mistake in reversed(mistakes):
        line = np.zeros(truth.shape, bool)
        line.reshape(-1)[mistake.pixels] = True
        line = ndimage.binary_dilation(line, _WIDTH)
        picture[line] = MERGE if mistake.kind == "merge" else SPLIT
    return picture


def _smaller_parts(truth: Segments, segments: Segments, mistake: Mistake) -> NDArray[np.bool_]:
    """Select the parts that are listed, without the largest, which is the first."""
    whole, parts = np.isin(segments, mistake.segments[0]), np.isin(truth, mistake.cells[1:])
    if mistake.kind == "split":
        whole, parts = np.isin(truth, mistake.cells[0]), np.isin(segments, mistake.segments[1:])
    return whole & parts
