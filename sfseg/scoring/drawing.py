"""Draw the errors of a section as a label image, for any viewer."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.io.write import write_sections
from sfseg.scoring.mistakes import Mistake
from sfseg.types import AnyArray, Segments, Shape, VoxelSize

Picture = NDArray[np.uint8]

MERGE, SPLIT, MERGED, CUT_OFF, UNKNOWN = 1, 2, 3, 4, 5
"""Values of the picture; 0 is right. See `draw_mistakes`."""

COLOURS = (
    (0, 0, 0),
    (255, 107, 94),
    (90, 200, 255),
    (140, 60, 50),
    (40, 90, 130),
    (96, 96, 96),
)
"""Red, green and blue of the values: merges are red, splits are blue, and the parts of cells that
they cost are darker; what is not known is grey."""

_AROUND = (-1, 0, 1)  # a line of two pixels becomes one of four


def draw_mistakes(
    truth: Segments,
    segments: Segments,
    mistakes: Sequence[Mistake],
    known: AnyArray | None = None,
) -> Picture:
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
    windows = ndimage.find_objects(truth)  # element i - 1 is where cell i lies
    for mistake in reversed(mistakes):
        for cell, segment in _smaller_parts(mistake):
            window = windows[cell - 1]
            part = (truth[window] == cell) & (segments[window] == segment)
            picture[window][part] = MERGED if mistake.kind == "merge" else CUT_OFF
    last_row, last_column = np.array(truth.shape) - 1
    for mistake in reversed(mistakes):
        rows, columns = np.divmod(mistake.pixels, truth.shape[1])
        for down, right in itertools.product(_AROUND, _AROUND):
            wide = np.clip(rows + down, 0, last_row), np.clip(columns + right, 0, last_column)
            picture[wide] = MERGE if mistake.kind == "merge" else SPLIT
    return picture


def _smaller_parts(mistake: Mistake) -> Iterator[tuple[int, int]]:
    """Give cell and segment of the parts that are listed, without the largest, the first."""
    if mistake.kind == "merge":
        return itertools.product(mistake.cells[1:], mistake.segments)
    return itertools.product(mistake.cells, mistake.segments[1:])


def write_drawn(
    path: str | Path,
    drawn: Iterable[Picture],
    numbers: Sequence[int],
    shape: Shape,
    *,
    voxel_size_nm: VoxelSize | None,
    overwrite: bool,
) -> None:
    """Write drawn sections as a stack with colours; the sections that are not scored are unknown.

    Parameters
    ----------
    path : str or Path
        See `sfseg.scoring.errors.Errors.write`.
    drawn : iterable of ndarray of uint8, shape (Y, X)
        The sections that are scored, in order.
    numbers : sequence of int
        Their numbers.
    shape : tuple of int
        (Z, Y, X) of the whole stack.
    voxel_size_nm : tuple of float or None
        That of the stack.
    overwrite : bool
        Whether to replace an existing file.
    """
    write_sections(
        path,
        _fill_up(drawn, numbers, shape),
        shape,
        np.uint8,
        voxel_size_nm=voxel_size_nm,
        palette=COLOURS,
        overwrite=overwrite,
    )


def _fill_up(drawn: Iterable[Picture], numbers: Sequence[int], shape: Shape) -> Iterator[Picture]:
    """Yield all sections of a stack."""
    left = iter(drawn)
    for number in range(1, shape[0] + 1):
        yield next(left) if number in numbers else np.full(shape[1:], UNKNOWN, np.uint8)
