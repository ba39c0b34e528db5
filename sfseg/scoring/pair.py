"""A map and its labels as they are scored: read, checked, and paired section by section."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.io.sections import Sections
from sfseg.scoring.score import as_stacks
from sfseg.scoring.thinning import Thinner
from sfseg.scoring.thresholds import as_probability
from sfseg.types import AnyArray, Segments, VoxelSize


class Cut(NamedTuple):
    """A section of a map and its labels, both cut at a threshold as `sfseg.score` does."""

    truth: Segments
    """The true cells from 1, each 4-connected; 0 is membrane or not known."""
    segments: Segments
    """The predicted segments from 1, each 4-connected; 0 is a line between two of them."""
    inside: NDArray[np.bool_]
    """Where the map is above the threshold, and the truth known: segments before thinning."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A map and its labels.

    Attributes
    ----------
    prediction : ndarray or Sections of bool, uint8, uint16 or float, shape (Z, Y, X)
        Interior probability.
    labels : ndarray or Sections of bool, uint8, uint16 or float, shape (Z, Y, X)
        The truth, 0 = membrane or not known.
    known : ndarray or Sections of bool, shape (Z, Y, X), or None
        Where the truth is known; None = everywhere.
    numbers : tuple of int
        Numbers of the sections in the stack of the map.
    depth : int
        Number of all sections of that stack.
    voxel_size_nm : tuple of float or None
        That of the stack.
    """

    prediction: AnyArray | Sections
    labels: AnyArray | Sections
    known: AnyArray | Sections | None
    numbers: tuple[int, ...]
    depth: int
    voxel_size_nm: VoxelSize | None = None

    @classmethod
    def from_arrays(
        cls, prediction: AnyArray, labels: AnyArray, known: AnyArray | None, names: tuple[str, str]
    ) -> "Pair":
        """Pair all sections of two arrays; raises as `sfseg.score` does."""
        prediction, labels = as_stacks(prediction, labels, names)
        known = None if known is None else known.reshape(labels.shape)
        numbers = tuple(range(1, len(labels) + 1))
        return cls(prediction, labels, known, numbers, len(numbers))

    def known_in(self, index: int) -> AnyArray | None:
        """Return where the truth of a section, from 0, is known; None = everywhere."""
        return None if self.known is None else self.known[index]

    def cut(self, index: int, threshold: float) -> Cut:
        """Cut a section, from 0, at a threshold: its true cells and its predicted segments."""
        known, values = self.known_in(index), as_probability(self.prediction[index])
        # the thresholds are float64, too
        true, inside = (
            each.astype(np.float64) > threshold for each in (self.labels[index], values)
        )
        if known is not None:
            true, inside = true & known, inside & known
        cells, segments = (Thinner(each.astype(np.uint8)) for each in (true, inside))
        cells.components(0)
        segments.thinned(0)
        return Cut(np.maximum(cells.section(), 0), segments.section(), inside)  # membrane is < 0
