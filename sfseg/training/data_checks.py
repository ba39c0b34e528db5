"""Facts about the training data, such as sizes, grey values and classes, and warnings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sfseg.config import LabelFormat
from sfseg.io.label_areas import find_unlabelled
from sfseg.training.section import Section
from sfseg.transforms.normalise import GreyLevels, bands
from sfseg.transforms.pixel_size import UNKNOWN_PIXELS, PixelChoice
from sfseg.types import PLAUSIBLE_INTERIOR, AnyArray, LabelKind, VoxelSize, format_sections

_MEANINGS: dict[LabelKind, str] = {
    "interior": "{0} = membrane, other = inside a cell",
    "membrane": "{0} = inside a cell, other = membrane",
    "instances": "{0} and the borders between numbers = membrane, other = inside a cell",
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
        (z, y, x) of the sections as they are used; None = the file does not say it.
    sections : int
        Number of sections that are used.
    grey : GreyLevels or None
        Of the used sections together; None if none is used.
    known_share : float
        Share of their pixels that is learnt: tissue, with a label.
    interior_share : float
        Share of these pixels that is inside cells.
    contrast : float
        Mean grey value inside cells minus that of membranes; negative if membranes are brighter.
    blank : tuple of int
        The indices of sections without any known pixel; they are left out.
    unlabelled : dict of int to float
        Sections with a large part that is perhaps not labelled, by index, and its share of them.
    pixels : PixelChoice
        Whether its sections are resampled.
    """

    images: str
    labels: str
    description: str
    voxel_size_nm: VoxelSize | None
    sections: int = 0
    grey: GreyLevels | None = None
    known_share: float = 1.0
    interior_share: float = 0.0
    contrast: float = 0.0
    blank: tuple[int, ...] = ()
    unlabelled: Mapping[int, float] = field(default_factory=dict)
    pixels: PixelChoice = UNKNOWN_PIXELS

    def __str__(self) -> str:
        line = f"pair: {Path(self.images).name} - {Path(self.labels).name}, {self.description}"
        if self.grey is None:
            return f"{line}; none of it is used"
        known = "" if self.known_share == 1 else f" of the {self.known_share:.0%} that are learnt"
        return (
            f"{line}; grey values {self.grey.low:g} to {self.grey.high:g}, mean "
            f"{self.grey.mean:.4g}, deviation {self.grey.deviation:.5g}; "
            f"{self.interior_share:.0%}{known} inside cells"
        )


def count_pair(
    images: str,
    labels: str,
    description: str,
    voxel_size_nm: VoxelSize | None,
    sections: Mapping[int, Section],
    pixels: PixelChoice = UNKNOWN_PIXELS,
) -> PairFacts:
    """Measure the sections of a stack that are used.

    Parameters
    ----------
    images, labels, description, voxel_size_nm, pixels
        As in `PairFacts`.
    sections : mapping of int to Section
        The sections, by their index in all training data, from 0.

    Returns
    -------
    PairFacts
        The facts.
    """
    blank = tuple(index for index, section in sections.items() if section.known_px == 0)
    sections = {index: section for index, section in sections.items() if index not in blank}
    if not sections:
        return PairFacts(images, labels, description, voxel_size_nm, blank=blank, pixels=pixels)
    inside = sum(int(np.count_nonzero(section.inside)) for section in sections.values())
    known = sum(section.known_px for section in sections.values())
    return PairFacts(
        images,
        labels,
        description,
        voxel_size_nm,
        sections=len(sections),
        grey=GreyLevels.from_bands(
            _known_grey(section, rows)
            for section in sections.values()
            for rows in bands((section.image.shape[0], section.image.shape[1]))
        ),
        known_share=known / sum(section.labels.size for section in sections.values()),
        interior_share=inside / known,
        contrast=float(np.mean([_contrast(section) for section in sections.values()])),
        blank=blank,
        unlabelled=_measure_unlabelled(sections),
        pixels=pixels,
    )


def _measure_unlabelled(sections: Mapping[int, Section]) -> dict[int, float]:
    """Measure the large parts of sections that are perhaps not labelled."""
    found = {i: find_unlabelled(each.inside, each.membrane) for i, each in sections.items()}
    return {i: float(areas.mean()) for i, areas in found.items() if areas is not None}


def _known_grey(section: Section, rows: slice) -> AnyArray:
    """Return the grey values of the known pixels in some rows."""
    image = section.image[rows]
    return image if section.known is None else image[section.known[rows]]


def _contrast(section: Section) -> float:
    """Return how much brighter the inside of cells is; 0 if a section has only one class."""
    inside, membrane = section.image[section.inside], section.image[section.membrane]
    if not (inside.size and membrane.size):
        return 0.0
    return float(inside.mean(dtype=np.float64) - membrane.mean(dtype=np.float64))


def describe_labels(form: LabelFormat) -> str:
    """Say what the values of the labels mean."""
    if form.threshold is not None:
        where = "the middle" if form.threshold == "auto" else f"{form.threshold:g}"
        inside, membrane = ("low", "high") if form.kind == "membrane" else ("high", "low")
        meaning = f"cut at {where}, {inside} = inside a cell, {membrane} = membrane"
    elif form.membrane_value is not None and form.kind != "instances":
        meaning = _MEANINGS["interior"].format(form.membrane_value)
    else:
        meaning = _MEANINGS[form.kind].format(form.membrane_value or 0)
    return f"labels: {meaning}" + (f", {form.ignore} = not labelled" * (form.ignore is not None))


def data_warnings(
    pairs: Sequence[PairFacts], kind: LabelKind, *, inverted: bool = False
) -> Iterator[str]:
    """Warn of training data that look wrong.

    Parameters
    ----------
    pairs : sequence of PairFacts
        The data; pairs without a used section are skipped.
    kind : {'interior', 'membrane', 'instances'}
        How the labels were read.
    inverted : bool
        Whether ``--invert-image`` has swapped dark and bright in all images.

    Yields
    ------
    str
        One warning.
    """
    used = [pair for pair in pairs if pair.grey is not None]
    usual = np.median([pair.interior_share for pair in used] or [0])
    for pair in pairs:
        if pair.blank:
            yield (
                f"{pair.images}: sections {format_sections(pair.blank)} are left out: "
                "they hold no tissue, or no labels"
            )
        if pair.grey is None:
            continue
        yield from _share_warnings(pair, kind, alone=usual < PLAUSIBLE_INTERIOR[0])
    yield from _contrast_warnings(pairs, inverted=inverted)


def _contrast_warnings(pairs: Sequence[PairFacts], *, inverted: bool) -> Iterator[str]:
    """Warn of stacks with bright membranes. Where the labels look inverted, that is the cause."""
    used = [p for p in pairs if p.grey is not None and p.interior_share >= PLAUSIBLE_INTERIOR[0]]
    dark = next((pair.images for pair in used if pair.contrast > 0), None)
    remedy = "leave --invert-image out" if inverted else "try --invert-image"
    for pair in used:
        if pair.contrast < 0:
            yield f"membranes are brighter than cells in {pair.images}" + (
                f", but not in {dark}: invert the images of one of them" if dark else f": {remedy}"
            )


def _share_warnings(pair: PairFacts, kind: LabelKind, *, alone: bool) -> Iterator[str]:
    """Warn of labels with much membrane or little; `alone` if other pairs are no better."""
    if pair.interior_share > PLAUSIBLE_INTERIOR[1]:
        yield f"cells fill {pair.interior_share:.1%} of {pair.labels}: are all membranes labelled?"
    elif pair.unlabelled:
        yield (
            f"{pair.labels}: sections {format_sections(tuple(pair.unlabelled))}: up to "
            f"{max(pair.unlabelled.values()):.0%} of the pixels lie in large areas of one value; "
            "where nobody has labelled yet, paint another value, for example 128, and add "
            "--ignore 128"
        )
    elif pair.interior_share < PLAUSIBLE_INTERIOR[0]:
        other = "interior" if kind == "membrane" else "membrane"
        yield (
            f"cells fill only {pair.interior_share:.0%} of {pair.labels}, membranes the rest; "
            + (
                f"if it is the other way round, use --labels-are {other}"
                if alone
                else "in the other labels cells fill more: if it is the other way round here only, "
                "as after an inverting LUT, open it in Fiji, choose Edit > Invert, and save it"
            )
        )
