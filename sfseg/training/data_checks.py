"""Facts about the training data, such as sizes, grey values and classes, and warnings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from sfseg.transforms.normalise import GreyLevels, bands
from sfseg.types import PLAUSIBLE_INTERIOR, AnyArray, LabelKind, VoxelSize, format_sections

_MEANINGS: dict[LabelKind, str] = {
    "interior": "0 = membrane, other = inside a cell",
    "membrane": "0 = inside a cell, other = membrane",
    "instances": "0 and the borders between numbers = membrane, other = inside a cell",
}


@dataclass(frozen=True)
class PairFacts:
    """Facts about a stack, its labels, and the sections that are used.

    Attributes
    ----------
    images, labels : str
        Their paths.
    description : str
        Size, type and voxel size of the stack.
    voxel_size_nm : tuple of float or None
        (z, y, x); None = the file does not say it.
    sections : int
        Number of sections that are used.
    grey : GreyLevels or None
        Of the used sections together; None if none is used.
    interior_share : float
        Share of their pixels that is inside cells.
    contrast : float
        Mean grey value inside cells minus that of membranes; negative if membranes are brighter.
    blank : tuple of int
        The indices of the used sections that have only one grey value.
    """

    images: str
    labels: str
    description: str
    voxel_size_nm: VoxelSize | None
    sections: int = 0
    grey: GreyLevels | None = None
    interior_share: float = 0.0
    contrast: float = 0.0
    blank: tuple[int, ...] = ()

    def __str__(self) -> str:
        line = f"pair: {Path(self.images).name} - {Path(self.labels).name}, {self.description}"
        if self.grey is None:
            return f"{line}; none of it is used"
        return (
            f"{line}; grey values {self.grey.low:g} to {self.grey.high:g}, mean "
            f"{self.grey.mean:.4g}, deviation {self.grey.deviation:.5g}; "
            f"{self.interior_share:.0%} inside cells"
        )


def count_pair(
    images: str,
    labels: str,
    description: str,
    voxel_size_nm: VoxelSize | None,
    sections: Sequence[tuple[int, AnyArray, AnyArray]],
) -> PairFacts:
    """Measure the sections of a stack that are used.

    Parameters
    ----------
    images, labels, description, voxel_size_nm
        As in `PairFacts`.
    sections : sequence of tuple
        For each section: its index, from 0, in all training data; its image as on disk; its
        labels, 255 = inside a cell; both of shape (Y, X).

    Returns
    -------
    PairFacts
        The facts.
    """
    if not sections:
        return PairFacts(images, labels, description, voxel_size_nm)
    inside = sum(int(np.count_nonzero(marks)) for _, _, marks in sections)
    pixels = sum(marks.size for _, _, marks in sections)
    return PairFacts(
        images,
        labels,
        description,
        voxel_size_nm,
        sections=len(sections),
        grey=GreyLevels.from_bands(
            chain.from_iterable(
                (image[rows] for rows in bands((image.shape[0], image.shape[1])))
                for _, image, _ in sections
            )
        ),
        interior_share=inside / pixels,
        contrast=float(np.mean([_contrast(image, marks) for _, image, marks in sections])),
        blank=tuple(index for index, image, _ in sections if image.min() == image.max()),
    )


def _contrast(image: AnyArray, marks: AnyArray) -> float:
    """Return how much brighter the inside of cells is; 0 if a section has only one class."""
    inside = marks > 0
    if inside.all() or not inside.any():
        return 0.0
    return float(image[inside].mean(dtype=np.float64) - image[~inside].mean(dtype=np.float64))


def describe_labels(kind: LabelKind) -> str:
    """Say what the values of the labels mean."""
    return f"labels: {_MEANINGS[kind]}"


def data_warnings(pairs: Sequence[PairFacts], kind: LabelKind) -> Iterator[str]:
    """Warn of training data that look wrong.

    Parameters
    ----------
    pairs : sequence of PairFacts
        The data; pairs without a used section are skipped.
    kind : {'interior', 'membrane', 'instances'}
        How the labels were read.

    Yields
    ------
    str
        One warning.
    """
    other = "interior" if kind == "membrane" else "membrane"
    for pair in pairs:
        if pair.grey is None:
            continue
        if pair.interior_share < PLAUSIBLE_INTERIOR[0]:
            yield (
                f"cells fill only {pair.interior_share:.0%} of {pair.labels}, membranes the rest; "
                f"if it is the other way round, use --labels-are {other}"
            )
        elif pair.interior_share > PLAUSIBLE_INTERIOR[1]:
            yield (
                f"cells fill {pair.interior_share:.1%} of {pair.labels}: "
                "are all membranes labelled?"
            )
        if pair.contrast < 0:
            yield (
                f"membranes are brighter than cells in {pair.images}: "
                "are its labels or its grey values inverted?"
            )
        if pair.blank:
            yield (
                f"{pair.images}: sections {format_sections(pair.blank)} have only one grey value; "
                "leave them out with --sections"
            )
    yield from _scale_warnings(pairs)


def _scale_warnings(pairs: Sequence[PairFacts]) -> Iterator[str]:
    """Warn of the first stack whose pixels differ from those of the first by over a hundredth."""
    known = [(p, p.voxel_size_nm) for p in pairs if p.grey is not None and p.voxel_size_nm]
    for pair, size in known[1:]:
        first, expected = known[0]
        if not np.allclose(size[1:], expected[1:], rtol=0.01):
            yield (
                f"{pair.images} has pixels of {size[2]:g} nm, {first.images} of {expected[2]:g} nm:"
                " resample one of them, or train on one scale at a time"
            )
            return
