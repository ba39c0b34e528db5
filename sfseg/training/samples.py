"""Small pictures of the held-out sections after some epochs, to see a network learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from sfseg.report.thumbnails import encode_image, encode_probability
from sfseg.training.section import Section
from sfseg.types import INTERIOR, Probability

SIDE = 128
"""Rows and columns of a crop, at most."""

CROPS = 3
MOMENTS = 8
"""Most epochs of which pictures are kept."""

UNKNOWN_GREY = 0.5
"""Of pixels without a label, in pictures of the truth."""


@dataclass(frozen=True)
class Sample:
    """Pictures of the map after one epoch.

    Attributes
    ----------
    epoch : int
        From 1; 0 = before the first step.
    pictures : list of str
        JPEG as base64, one for each crop.
    """

    epoch: int
    pictures: list[str]


@dataclass(frozen=True)
class Crop:
    """A part of a held-out section.

    Attributes
    ----------
    index : int
        Which of the held-out sections, from 0.
    rows, columns : slice
        The part.
    """

    index: int
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def cut(self, maps: Sequence[Probability]) -> str:
        """Draw this part of the maps of all held-out sections."""
        return encode_probability(maps[self.index][self.rows, self.columns])

    def draw_image(self, sections: Sequence[Section]) -> str:
        """Draw this part of the images."""
        return encode_image(sections[self.index].image[self.rows, self.columns])

    def draw_truth(self, sections: Sequence[Section]) -> str:
        """Draw this part of the labels."""
        section, part = sections[self.index], (self.rows, self.columns)
        truth = section.labels[part].astype(np.float32) / np.float32(INTERIOR)
        if section.known is not None:
            truth[~section.known[part]] = UNKNOWN_GREY
        return encode_probability(truth)


def choose_crops(sections: Sequence[Section]) -> tuple[Crop, ...]:
    """Choose typical parts: whole tissue, and as much membrane as in the section.

    Parameters
    ----------
    sections : sequence of Section
        The held-out sections. The parts are of sections far from each other, if there are several.

    Returns
    -------
    tuple of Crop
        At most `CROPS`, none of them twice; the same for the same sections.
    """
    if not sections:
        return ()
    indices = [number * len(sections) // CROPS for number in range(CROPS)]
    ranked = {index: _rank(index, sections[index]) for index in set(indices)}
    chosen = [ranked[i][indices[:n].count(i) :][:1] for n, i in enumerate(indices)]
    return tuple(crop for found in chosen for crop in found)


def _rank(index: int, section: Section) -> list[Crop]:
    """List the parts of a section that do not overlap, the most typical first."""
    rows, columns = (_cuts(length) for length in section.image.shape[:2])
    is_membrane, is_inside = section.membrane, section.inside
    usual = is_membrane.sum() / max(section.known_px, 1)

    def rank(crop: Crop) -> tuple[int, float]:
        part = crop.rows, crop.columns
        membrane = int(is_membrane[part].sum())
        known = membrane + int(is_inside[part].sum())
        return -known, abs(membrane / max(known, 1) - usual)

    return sorted((Crop(index, *part) for part in product(rows, columns)), key=rank)


def _cuts(length: int) -> list[slice]:
    side = min(SIDE, length)
    return [slice(start, start + side) for start in range(0, length - side + 1, side)]


def thin(samples: Sequence[Sample], kept_epoch: int | None) -> list[Sample]:
    """Leave out samples until there are `MOMENTS`; the gaps grow, as a network learns ever less.

    Parameters
    ----------
    samples : sequence of Sample
        In the order of their epochs.
    kept_epoch : int or None
        The epoch whose weights are kept; it stays, and so do the first and the last sample.
    """
    left = list(samples)
    while len(left) > MOMENTS:
        inner = [n for n in range(1, len(left) - 1) if left[n].epoch != kept_epoch]
        del left[min(inner, key=lambda n: (left[n + 1].epoch + 1) / (left[n - 1].epoch + 1))]
    return left
