"""One section to learn from, with its labels."""

from dataclasses import dataclass

import numpy as np

from sfseg.transforms.normalise import measure_section
from sfseg.transforms.resample import FULL, Resampler
from sfseg.types import INTERIOR, AnyArray

_HALF = 0.5 + 1e-5  # beyond rounding: of a pixel that is half membrane, the membrane wins


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

    def resampled(self, shape: tuple[int, int]) -> "Section":
        """Resample image and labels to another (Y, X); a pixel is inside a cell if most of it is.

        It is known only where all of it is.
        """
        own = (self.image.shape[0], self.image.shape[1])
        image = resample_image(self.image, shape)
        inside = self.labels.astype(np.float32) / np.float32(INTERIOR)
        is_inside = Resampler.linear(own, shape).whole(inside) > _HALF
        labels = np.where(is_inside, np.uint8(INTERIOR), np.uint8(0))
        if self.known is None:
            return Section.from_pixels(image, labels)
        known = Resampler.cover(own, shape).whole(self.known.astype(np.float32))
        return Section.from_pixels(image, labels, known > FULL)

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


def resample_image(image: AnyArray, shape: tuple[int, int]) -> AnyArray:
    """Resample grey values to another (Y, X); they keep their type."""
    own = (image.shape[0], image.shape[1])
    resampled: AnyArray = Resampler.cubic(own, shape).whole(image.astype(np.float32))
    if image.dtype.kind in "ui":
        limits = np.iinfo(image.dtype)
        resampled = np.rint(resampled).clip(limits.min, limits.max)
    return resampled.astype(image.dtype)
