"""A membrane map as interior probability, section by section; what is no such map is refused."""

from collections.abc import Iterator

import numpy as np

from sfseg.errors import StackError
from sfseg.io import Stack, require_finite
from sfseg.io.cell_numbers import holds_cells
from sfseg.io.census import sample_windows
from sfseg.io.probability import full_scale, is_mask, refuse_above_1, scale_map
from sfseg.types import AnyArray, Number, Probability

SCALES = {"u1": 255, "u2": 65535, "b1": 1}
"""The value that means 1, in whole numbers."""


class StackMaps:
    """The sections of a stack as interior probability; see `sfseg.segmentation.graph.Maps`.

    Parameters
    ----------
    stack : Stack
        The open map, of which a few sections are looked at.
    full : int or float, optional
        The value that means 1; by default the largest of the type, and 1 for floats.

    Raises
    ------
    StackError
        If it is no map, or the value that means 1 is not known.
    """

    def __init__(self, stack: Stack, full: Number | None = None) -> None:
        self._stack = stack
        self._samples = scale_map(np.stack(list(sample_windows(stack))), full, stack.name)
        kind = stack.dtype.str[1:]
        if full is None and kind not in SCALES and stack.dtype.kind != "f":
            raise StackError(
                f"{stack.name}: pixels of {stack.dtype} are no probabilities",
                hint="give the map that sfseg predict writes, in float32, uint8 or uint16",
            )
        self._is_scaled = full is not None
        self._full = full or SCALES.get(kind, 1)

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
        require_finite(section, self._stack.name, index + 1)
        self._require_range(section, f"{self._stack.name}: section {index + 1}")
        if self._is_scaled:
            return scale_map(section, self._full, self._stack.name)
        shares = section.astype(np.float32)
        return shares if self._full == 1 else shares / np.float32(self._full)

    def doubts(self) -> Iterator[str]:
        """Say what looks odd about the map."""
        name = self._stack.name
        lowest, largest = self._samples.min().item(), self._samples.max().item()
        if lowest == largest:
            yield (
                f"{name}: the pixels of a few sections are all {largest:g}: check whether it is "
                "the right file"
            )
        elif is_mask(self._samples):
            yield (
                f"{name}: this is a mask, not a map of probabilities: a faint membrane cannot "
                "be told from a strong one, so cells are divided by their shape alone; predict "
                "with --output probability"
            )
        elif self._is_scaled:
            return
        elif holds_cells(self._stack):
            yield (
                f"{name}: the values look like numbers of cells, not like probabilities: give the "
                "map that sfseg predict writes"
            )
        elif largest <= self._full / 2:
            full = full_scale(largest) if self._stack.dtype.kind == "u" else largest
            yield (
                f"{name}: the largest value of a few sections is {largest:g}, and {self._full} "
                f"counts as 1: if {full:g} means inside a cell for sure, add --map-max {full:g}"
            )

    def _require_range(self, section: AnyArray, name: str) -> None:
        """Refuse values below 0, and above what means 1."""
        if not self._is_scaled:
            refuse_above_1(section, name)
        if section.dtype.kind != "u" and (lowest := section.min()) < 0:
            raise StackError(
                f"{name}: the values go from {lowest:g} to {section.max():g}, not from 0 to 1",
                hint="give the map that sfseg predict writes",
            )
