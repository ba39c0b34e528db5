"""A map and its labels as they are scored: read, checked, and paired section by section."""

from dataclasses import dataclass

import numpy as np

from sfseg.scoring.score import as_stacks
from sfseg.scoring.thinning import Thinner
from sfseg.scoring.thresholds import as_probability
from sfseg.types import AnyArray, Segments, VoxelSize


@dataclass(frozen=True, eq=False)
class Pair:
    """A map and its labels.

    Attributes
    ----------
    prediction : ndarray of bool, uint8, uint16 or float, shape (Z, Y, X)
        Interior probability.
    labels : ndarray of bool, uint8, uint16 or float, shape (Z, Y, X)
        The truth, 0 = membrane or not known.
    known : ndarray of bool, shape (Z, Y, X), or None
        Where the truth is known; None = everywhere.
    numbers : tuple of int
        Numbers of the sections in the stack of the map.
    depth : int
        Number of all sections of that stack.
    voxel_size_nm : tuple of float or None
        That of the stack.
    """

    prediction: AnyArray
    labels: AnyArray
    known: AnyArray | None
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

    def segment(self, index: int, threshold: float) -> tuple[Segments, Segments]:
        """Make the true cells and the predicted segments of a section, as `sfseg.score` does.

        Parameters
        ----------
        index : int
            The section, from 0.
        threshold : float
            Where to cut the map, and the labels.

        Returns
        -------
        truth, segments : ndarray of int32, shape (Y, X)
            From 1; 0 is membrane, or a line between segments, or not known.
        """
        known = self.known_in(index)
        values = self.labels[index], as_probability(self.prediction[index])
        # the thresholds are float64, too
        levels = [(each.astype(np.float64) > threshold).astype(np.uint8) for each in values]
        truth, predicted = (Thinner(each if known is None else each * known) for each in levels)
        truth.components(0)
        predicted.thinned(0)
        cells, segments = np.maximum(truth.section(), 0), predicted.section()
        return cells, segments if known is None else segments * known
