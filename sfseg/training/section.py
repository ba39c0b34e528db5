"""One section to learn from, with its labels."""

from dataclasses import dataclass

import numpy as np

from sfseg.transforms.normalise import measure_section
from sfseg.types import AnyArray


@dataclass(frozen=True)
class Section:
    """One section and its labels.

    Attributes
    ----------
    image : ndarray, shape (Y, X)
        As on disk.
    labels : ndarray of uint8, shape (Y, X)
        255 = inside a cell, 0 = membrane; values between them are probabilities.
    known : ndarray of bool, shape (Y, X), or None
        False where nothing is learnt and nothing is scored: no tissue, or no label. None = all
        pixels are known.
    """

    image: AnyArray
    labels: AnyArray
    known: AnyArray | None = None

    @classmethod
    def from_pixels(
        cls, image: AnyArray, labels: AnyArray, labelled: AnyArray | None = None
    ) -> "Section":
        """Make a section whose empty areas, and pixels that are not labelled, are not known.

        Parameters
        ----------
        image, labels
            As the attributes.
        labelled : ndarray of bool, shape (Y, X), optional
            False where there is no label.
        """
        empty = measure_section(image).mask(image)
        if empty is not None:
            labelled = ~empty if labelled is None else labelled & ~empty
        return cls(image, labels, labelled)

    @property
    def known_px(self) -> int:
        """Number of known pixels."""
        return self.labels.size if self.known is None else int(np.count_nonzero(self.known))

    @property
    def inside(self) -> AnyArray:
        """Known pixels inside cells: bool, shape (Y, X)."""
        inside: AnyArray = self.labels > 0
        return inside if self.known is None else inside & self.known

    @property
    def membrane(self) -> AnyArray:
        """Known pixels of membrane: bool, shape (Y, X)."""
        membrane: AnyArray = self.labels == 0
        return membrane if self.known is None else membrane & self.known
