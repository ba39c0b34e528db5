"""A membrane map as interior probability, section by section; what is no such map is refused."""

import numpy as np

from sfseg.errors import StackError
from sfseg.io import Stack, require_finite
from sfseg.types import AnyArray, Probability

SCALES = {"u1": 255, "u2": 65535, "b1": 1}
"""The value that means 1, in whole numbers."""

FEW = 3
"""Values of a section that is a mask, at most; a probability has more."""


class StackMaps:
    """The sections of a stack as interior probability; see `sfseg.segmentation.graph.Maps`.

    Parameters
    ----------
    stack : Stack
        The open map.

    Raises
    ------
    StackError
        If its type is none of a map.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        kind = stack.dtype.str[1:]
        if kind not in SCALES and stack.dtype.kind != "f":
            raise StackError(
                f"{stack.name}: pixels of {stack.dtype} are no probabilities",
                hint="give the map that sfseg predict writes, in float32, uint8 or uint16",
            )
        self._full = SCALES.get(kind)

    def __len__(self) -> int:
        return len(self._stack)

    def __getitem__(self, index: int) -> Probability:
        """Read a section: float32, shape (Y, X), 1 inside a cell.

        Raises
        ------
        StackError
            If it cannot be a section of a map.
        NonFiniteError
            If a pixel is NaN or infinite.
        """
        section = self._stack.section(index)
        self._require_map(section, index)
        if self._full is None:
            return section.astype(np.float32)
        return section.astype(np.float32) / np.float32(self._full)

    def is_mask(self) -> bool:
        """Tell whether the middle section has so few values that it is a mask."""
        return len(np.unique(self._stack.section(len(self) // 2))) <= FEW

    def _require_map(self, section: AnyArray, index: int) -> None:
        name, number = self._stack.name, index + 1
        if self._full is None:
            require_finite(section, name, number)
            low, high = float(section.min()), float(section.max())
            if low < 0 or high > 1:
                raise StackError(
                    f"{name}: section {number}: the values go from {low:g} to {high:g}, not from 0 "
                    "to 1",
                    hint="give the map that sfseg predict writes",
                )
        elif section.dtype != bool and section.max() == 1:
            raise StackError(
                f"{name}: section {number}: this is a mask of 0 and 1; the inside of cells must be "
                f"{self._full}",
                hint=f"multiply it by {self._full}",
            )
