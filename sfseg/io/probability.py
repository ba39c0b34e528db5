"""What is a membrane map and what is not: a mask, numbers of cells, values on another scale."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from sfseg.config import require_map_max
from sfseg.errors import StackError
from sfseg.io.census import do_cells_touch
from sfseg.io.sections import Sections
from sfseg.types import AnyArray, Number

_FULL_SCALES = (1, 100, 255, 1000, 1023, 4095, 10_000, 16_383, 32_767, 65_535)
"""The values that programs use for a probability of 1."""

_FOR_CELLS = "numbers of cells go into sfseg score --segments or sfseg measure"

_MASK_VALUES = 3
"""A mask has no more values; a map has."""


def scale_map(pixels: AnyArray, full: Number | None, name: str) -> AnyArray:
    """Divide a map by the value that means 1; without it, refuse what is no map as it is.

    Parameters
    ----------
    pixels : ndarray
        Interior probability.
    full : int or float, optional
        The value that means 1; larger values count as 1, too.
    name : str
        The map, for messages.

    Returns
    -------
    ndarray, shape of `pixels`
        Of float32 from 0 to 1 with `full`, else the pixels as they are.

    Raises
    ------
    OptionError
        If `full` is not above 0.
    StackError
        As `require_map`.
    """
    if full is None:
        require_map(pixels, name)
        return pixels
    require_map_max(full)
    scaled = pixels.astype(np.float32) / np.float32(full)
    return np.asarray(np.minimum(scaled, np.float32(1)))


def scale_sections(sections: Sections, full: Number | None, name: str) -> Sections:
    """Divide the sections of a map by the value that means 1, as `scale_map` does."""
    if full is None:
        require_map(sections, name)
        return sections
    require_map_max(full)
    return sections.map(lambda section: scale_map(section, full, name), np.float32)


def require_map(pixels: AnyArray | Sections, name: str) -> None:
    """Refuse pixels that are no interior probability: 1, or the maximum of their type, means 1.

    Parameters
    ----------
    pixels : ndarray or Sections, shape (Z, Y, X)
        Sections, or parts of them.
    name : str
        The map, for messages.

    Raises
    ------
    StackError
        If it is a mask of the integers 0 and 1, numbers of cells, or on another scale.
    """
    lowest, largest = _find_ends(pixels)
    _refuse_mask(pixels, largest, name)
    _refuse_cell_numbers(pixels, lowest, largest, name)
    _refuse_ends(pixels, lowest, largest, name)


def _find_ends(pixels: AnyArray | Sections) -> tuple[Any, Any]:
    """Return the smallest and the largest value, of the type of the pixels."""
    if not isinstance(pixels, Sections):
        return pixels.min(), pixels.max()
    lowest, largest = zip(*((section.min(), section.max()) for section in pixels), strict=True)
    return np.min(lowest), np.max(largest)


def is_mask(sections: Iterable[AnyArray]) -> bool:
    """Tell whether there are so few values that this is a mask."""
    found: set[Number] = set()
    for section in sections:
        found.update(np.unique(section)[: _MASK_VALUES + 1].tolist())
        if len(found) > _MASK_VALUES:
            return False
    return True


def full_scale(largest: Number) -> Number:
    """Return the value that probably means 1 in a map of whole numbers or with values above 1."""
    return next((each for each in _FULL_SCALES if each >= largest), largest)


def _refuse_mask(pixels: AnyArray | Sections, largest: Any, name: str) -> None:
    """Refuse integers of 0 and 1: after dividing by the type's maximum, all would be near 0."""
    if pixels.dtype.kind in "iu" and largest == 1:
        raise StackError(
            f"{name}: this is a mask of 0 and 1; the inside of cells must be the type's maximum",
            hint="add --map-max 1, or save the inside of cells as 255 in uint8",
        )


def _refuse_cell_numbers(pixels: AnyArray | Sections, lowest: Any, largest: Any, name: str) -> None:
    """Refuse numbers of cells, and whole numbers of a type whose maximum nobody uses as 1."""
    kind = pixels.dtype.kind
    if kind == "b" or lowest < 0 or largest == 0:
        return
    if kind == "f" and any((section != np.rint(section)).any() for section in pixels):
        return
    # neighbours in a map differ little, but numbers of cells have 0 between them
    is_numbered = largest > 2 and not is_mask(pixels)
    if is_numbered and not do_cells_touch(pixels, [0]):
        raise StackError(
            f"{name}: the values are numbers of cells, not probabilities",
            hint="add --map-max 1: every number but 0 then counts as the inside of a cell",
        )
    if kind == "i" or (kind == "u" and pixels.dtype.itemsize > 2):
        full = full_scale(largest.item())
        raise StackError(
            f"{name}: whole numbers up to {largest}, and it is not known which of them means 1",
            hint=f"add --map-max {full:g}, if {full:g} means inside a cell for sure; {_FOR_CELLS}",
        )


def refuse_above_1(pixels: AnyArray, name: str) -> None:
    """Refuse a map of floats with values above 1, as from 0 to 255; say which means 1."""
    _refuse_ends(pixels, *_find_ends(pixels), name)


def _refuse_ends(pixels: AnyArray | Sections, lowest: Any, highest: Any, name: str) -> None:
    """Refuse floats with a largest value above 1."""
    largest = float(highest)
    if pixels.dtype.kind == "f" and 1 < largest < np.inf and lowest >= 0:
        full = full_scale(largest)
        raise StackError(
            f"{name}: the values go from {lowest:g} to {largest:g}, not from 0 to 1",
            hint=f"add --map-max {full:g}, if {full:g} means inside a cell for sure"
            + f"; {_FOR_CELLS}" * (largest > _FULL_SCALES[-1]),
        )
