"""Cells and true cells, read section by section: checked ids, and the borders between cells."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.io.cell_numbers import require_exact
from sfseg.io.labels import require_numbers
from sfseg.types import AnyArray, Number, PixelSize, Shape


class Labelled(NamedTuple):
    """One section of a pair."""

    cells: AnyArray
    """Predicted ids, unsigned, shape (Y, X)."""
    truth: AnyArray
    """True ids, unsigned, shape (Y, X); 0 where nothing is counted."""
    unknown: NDArray[np.bool_] | None
    """Where the truth had the value to ignore, shape (Y, X); None = nowhere."""


@dataclass(frozen=True, eq=False)
class CellPair:
    """Cells and their truth.

    Attributes
    ----------
    read : callable
        Called with a position from 0. Returns a section of the cells and one of the truth.
    shape : tuple of int
        (Z, Y, X) of what is scored.
    numbers : tuple of int
        The number of each section in its stack.
    names : tuple of str
        The cells and the truth, for messages.
    ignore : int or float, optional
        A value of the truth that is not known.
    pixel_size_nm : tuple of float, optional
        (y, x).
    """

    read: Callable[[int], tuple[AnyArray, AnyArray]]
    shape: Shape
    numbers: tuple[int, ...]
    names: tuple[str, str]
    ignore: Number | None = None
    pixel_size_nm: PixelSize | None = None

    def __iter__(self) -> Iterator[Labelled]:
        """Read the sections, one at a time; raises as `section` does."""
        yield from map(self.section, range(len(self.numbers)))

    def section(self, position: int) -> Labelled:
        """Read one section, by its position from 0.

        Raises
        ------
        StackError
            If a value is no id.
        NonFiniteError
            If a pixel is NaN or infinite.
        """
        number = self.numbers[position]
        cells, truth = self.read(position)
        require_numbers(truth, self.names[1], number)
        unknown = None if self.ignore is None else truth == self.ignore
        if unknown is not None and unknown.any():
            truth = np.where(unknown, np.zeros((), truth.dtype), truth)
        else:
            unknown = None
        true_ids = as_ids(truth, self.names[1], number, "truth")
        return Labelled(as_ids(cells, self.names[0], number), true_ids, unknown)


def as_ids(section: AnyArray, name: str, number: int, side: str = "cells") -> AnyArray:
    """Check that a section holds ids: whole numbers from 0.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The values.
    name : str
        The stack, for messages.
    number : int
        The section, for messages.
    side : {"cells", "truth"}
        Whether `ignore` may help.

    Returns
    -------
    ndarray of unsigned integers, shape (Y, X)
        The same numbers.

    Raises
    ------
    StackError
        If a value is below 0, not whole, or a float so large that whole numbers are rounded.
    NonFiniteError
        If a pixel is NaN or infinite.
    """
    require_numbers(section, name, number)
    if section.dtype.kind in "bu":
        return section.astype(np.uint8) if section.dtype.kind == "b" else section
    where = f"{name}: section {number}"
    lowest = section.min()
    if section.dtype.kind == "f":
        _require_whole(section, where)
    if lowest < 0:
        ignore = f"add --ignore {lowest:g}, if it means not labelled"
        raise StackError(
            f"{where}: {lowest:g} is no id: ids are whole numbers from 0",
            hint=ignore if side == "truth" else "set these pixels to 0, which is no cell",
        )
    return section.astype(np.uint64)


def _require_whole(section: AnyArray, where: str) -> None:
    """Refuse floats between whole numbers, or so large that two ids may be one number."""
    broken = section[section != np.round(section)]
    if broken.size:
        raise StackError(
            f"{where}: {broken[0]:g} is no id: ids are whole numbers",
            hint="give cells, each with its number; a map is scored without --segments",
        )
    require_exact(section, where)


def find_borders(truth: AnyArray, width_nm: float, pixel_size_nm: PixelSize) -> NDArray[np.bool_]:
    """Find the pixels near a border, as CREMI does: `create_border_mask_2d`.

    Parameters
    ----------
    truth : ndarray, shape (Y, X)
        True ids; 0 counts as an id.
    width_nm : float
        The largest distance to a pixel at a border: one of whose 4 neighbours has another id.
    pixel_size_nm : tuple of float
        (y, x).

    Returns
    -------
    ndarray of bool, shape (Y, X)
        Where the distance is at most `width_nm`. The edge of the section is no border.

    Notes
    -----
    The same as a distance transform that is cut, in a tenth of its time: a disc is laid around each
    pixel at a border, row by row. The rows are longer the nearer they are to its middle.
    """
    border = _at_border(truth)
    height, width = truth.shape
    radius, ratio = width_nm / pixel_size_nm[1], pixel_size_nm[0] / pixel_size_nm[1]
    near, wide, reach = np.zeros_like(border), border.copy(), 0
    for rows in range(min(math.floor(radius / ratio), height - 1), -1, -1):
        while reach < width and math.sqrt((reach + 1) ** 2 + (rows * ratio) ** 2) <= radius:
            reach += 1
            wide[:, reach:] |= border[:, :-reach]
            wide[:, :-reach] |= border[:, reach:]
        near[rows:] |= wide[: height - rows]
        near[: height - rows] |= wide[rows:]
    return near


def _at_border(truth: AnyArray) -> NDArray[np.bool_]:
    """Find the pixels that have a neighbour with another id."""
    border = np.zeros(truth.shape, bool)
    for ids, at in ((truth, border), (truth.T, border.T)):
        differ = ids[1:] != ids[:-1]
        at[1:] |= differ
        at[:-1] |= differ
    return border
