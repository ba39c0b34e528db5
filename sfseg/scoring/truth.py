"""The truth of a score: understand the values of labels, and refuse those that would be misread."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from sfseg.config import LabelFormat
from sfseg.errors import OptionError, StackError
from sfseg.io.census import Census, do_cells_touch, sample_indices
from sfseg.io.label_values import explain_labels
from sfseg.io.labels import interior
from sfseg.io.sections import Sections
from sfseg.types import INTERIOR, AnyArray, LabelKind, Number


def check_format(
    kind: LabelKind,
    membrane_value: Number | None,
    threshold: Number | Literal["auto"] | None,
    ignore: Number | None,
    invert: bool,
) -> LabelFormat:
    """Check the options of the labels."""
    form = LabelFormat(kind, membrane_value, threshold, ignore)
    if invert and replace(form, ignore=None) != LabelFormat():
        raise OptionError(
            "--invert-labels: it does not work with another option that says what labels are",
            hint="leave it out, and add --labels-are membrane if the labels mark the membrane",
        )
    return form


def understand_labels(
    labels: Sections, form: LabelFormat, name: str
) -> tuple[Sections, Sections | None]:
    """Read labels as their format says; refuse those that would be misread.

    Returns
    -------
    labels : Sections
        As they are where any number but 0 is the inside of cells; else 255 inside a cell.
    known : Sections of bool, or None
        Where they are known; None = everywhere.
    """
    ignore = form.ignore
    known = None if ignore is None else labels.map(lambda section: section != ignore, np.bool_)
    if replace(form, ignore=None) == LabelFormat():
        return _understand_plain(labels, form, name), known

    def separate(section: AnyArray) -> AnyArray:
        inside = interior(section, form, None if ignore is None else section != ignore)
        return np.where(inside, INTERIOR, np.uint8(0))

    found = labels.map(separate, np.uint8)
    used = found if known is None else map(np.ndarray.__getitem__, found, known)
    _refuse_one_value({value for section in used for value in np.unique(section).tolist()}, name)
    return found, known


def _understand_plain(labels: Sections, form: LabelFormat, name: str) -> Sections:
    """Read labels where any number but 0, or that of pixels to ignore, is the inside of cells."""
    census = Census.from_sections(labels, form.ignore, sample_indices(len(labels)))
    _refuse_one_value(census.values.tolist(), name)
    if _is_mask_of_numbers(labels, census, form, name):
        return labels.map(
            lambda section: (section != 0) & (form.ignore is None or section != form.ignore),
            np.bool_,
        )
    if form.ignore is not None:
        dtype = labels.dtype
        labels = labels.map(
            lambda section: np.where(section != form.ignore, section, 0).astype(dtype)
        )
    is_short = labels.dtype.kind == "i" and census.values[0] >= 0
    if is_short and census.values[-1] <= np.iinfo(np.uint16).max:  # a type that can be scored
        return labels.map(lambda section: section.astype(np.uint16), np.uint16)
    return labels


def _is_mask_of_numbers(labels: Sections, census: Census, form: LabelFormat, name: str) -> bool:
    """Tell whether labels of many or large numbers are a mask: any number but 0 is inside a cell.

    Numbers of cells that do not touch are as good as a mask. Floats from 0 to 1 are probabilities,
    which `score` cuts at each threshold.

    Raises
    ------
    StackError
        If a number other than 0 may be something else, or 0 is not membrane.
    """
    is_float, values = labels.dtype.kind == "f", census.values
    if is_float and values[0] >= 0 and values[-1] <= 1:
        return False
    if len(values) == 2 and values[0] == 0 and not is_float:
        return labels.dtype.itemsize > 2
    finding = explain_labels(census, LabelFormat(), name)
    is_numbers = finding.form == LabelFormat("instances") and values[0] == 0
    if is_numbers and not do_cells_touch(labels, {0} if form.ignore is None else {0, form.ignore}):
        return True
    if finding.form != LabelFormat(membrane_value=0):
        raise finding.error
    return True


def soft_notes(labels: Sections, form: LabelFormat, name: str) -> Iterator[str]:
    """Warn of a mask from 0 to 1 that was resized; others are refused."""
    if labels.dtype.kind != "f" or replace(form, ignore=None) != LabelFormat():
        return
    if Census.from_sections(labels, form.ignore, sample_indices(len(labels))).is_soft:
        yield (
            f"{name}: the labels have values between 0 and 1, as in a mask that was resized: "
            "V_Rand cuts them at each threshold, and for Dice every value above 0 is inside a "
            "cell; --threshold-labels auto cuts them in the middle"
        )


def _refuse_one_value(values: Collection[Number], name: str) -> None:
    if len(values) < 2:
        value = next(iter(values), "ignored")
        raise StackError(
            f"{name}: interior or membrane is missing, all labels are {value}",
            hint="give the labels as the second file, not the images or a mask",
        )
