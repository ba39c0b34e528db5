"""Colours for the numbers of cells: each differs from the others as much as it can."""

import functools

import numpy as np

from sfseg.types import AnyArray

ENTRIES = 256
"""Colours of a palette, the first of them for the number 0."""

_STEPS = range(0, 256, 15)
_DARKEST = 80
"""A colour is at least as bright as a grey of this value: 0 is black, and cells are not."""

_BLACK = (0, 0, 0)


@functools.cache
def cell_colours() -> AnyArray:
    """Choose 256 colours: black for 0, then each the farthest from those before.

    Returns
    -------
    ndarray of uint8, shape (256, 3)
        Red, green and blue.

    Notes
    -----
    Distances are those of Riemersma, in whole numbers, so that all machines choose the same.

    References
    ----------
    Glasbey, van der Heijden, Toh, Gray 2007, Colour displays for categorical images. Color Research
    and Application, doi:10.1002/col.20327.
    """
    cube = np.array(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij")).reshape(3, -1).T
    cube = cube[cube @ (299, 587, 114) >= 1000 * _DARKEST]  # the luminance of Rec. 601
    chosen = [np.array(_BLACK)]
    nearest = _distances(cube, chosen[0])
    while len(chosen) < ENTRIES:
        chosen.append(cube[nearest.argmax()])
        nearest = np.minimum(nearest, _distances(cube, chosen[-1]))
    return np.array(chosen, np.uint8)


def fill_palette(colours: AnyArray) -> AnyArray:
    """Add black to colours of 0, 1, 2 ... up to 256 entries."""
    table = np.zeros((ENTRIES, 3), np.uint8)
    table[: len(colours)] = colours
    return table


def _distances(colours: AnyArray, one: AnyArray) -> AnyArray:
    """Return how far one colour is from others, about as people see it, squared."""
    red = (colours[:, 0] + one[0]) // 2
    apart = (colours - one) ** 2
    weighted = (512 + red) * apart[:, 0] + 1024 * apart[:, 1] + (767 - red) * apart[:, 2]
    return np.asarray(weighted)
