"""Find out what labels are whose values are not 0 and one other: the cause, and what reads them.

Membranes are thin, and cells are not; masks that were saved as JPEG or resized have no even areas
between their two values; what nobody has labelled yet lies in large areas. These facts decide, not
the numbers alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from sfseg.config import LABEL_OPTIONS, LabelFormat
from sfseg.errors import StackError
from sfseg.io.census import MAX_CLASSES, Census, do_cells_touch, mean_width
from sfseg.types import AnyArray, Number

_TOPS, _GREYS = (255, 32767, 65535), (127, 128)
"""Values that programs use for `no label`, if others are far below or around them."""

_THIN = 0.4
"""Membranes have less than this share of the width of cells; it is 0.3 in the known datasets."""

_PARTS = 3
"""A number of a cell seldom has as many parts in one section; a class has more."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """What labels are, and how to read them.

    Attributes
    ----------
    what : str
        The labels and the cause, as a message.
    form : LabelFormat or None
        What reads them; None = nothing does.
    because : str
        More of the hint, behind the options.
    """

    what: str
    form: LabelFormat | None
    because: str = ""

    @property
    def error(self) -> StackError:
        """The error whose hint names the options."""
        hint = "give the labels as they were painted, saved as TIFF or PNG"
        if self.form is not None:
            hint = f"add {_options(self.form)}{self.because}"
        return StackError(self.what, hint=hint)


def _options(form: LabelFormat) -> str:
    """Write the options of the command line that are not the default."""
    values = ((field, getattr(form, field.name)) for field in fields(form))
    return " ".join(
        f"{LABEL_OPTIONS[field.name]} {_list([value])}"
        for field, value in values
        if value != field.default
    )


def explain_labels(census: Census, form: LabelFormat, name: str) -> Finding:
    """Say why labels cannot be read as they are, and with which options they can.

    Parameters
    ----------
    census : Census
        Their values; more than two, or two without 0.
    form : LabelFormat
        What they were said to be.
    name : str
        The labels, for the message.

    Returns
    -------
    Finding
        The values, the cause, and the format that reads them.
    """
    listed = f"{name}: the labels are {_list(census.values)}"
    if census.is_soft:
        return _explain_soft(census, form, name)
    values = census.values.tolist()
    if any(value != round(value) for value in values) or census.is_scattered:
        return Finding(
            f"{listed}: many values that lie scattered, as in an image or in numbers of cells that "
            "were saved as JPEG",
            None,
        )
    special = _find_special(census)
    if len(special) > 1:
        return Finding(f"{listed}, and {_list(list(special))} are no labels", None)
    explain = (
        _explain_numbers
        if _are_numbers(census, [value for value in values if value not in special])
        else _explain_classes
    )
    return explain(census, special, listed)


def _explain_soft(census: Census, form: LabelFormat, name: str) -> Finding:
    """Explain two values that were blurred."""
    low, high = census.modes
    above = [section > census.middle for section in census.samples]
    is_membrane = form.kind == "membrane" or mean_width(above) < mean_width([~m for m in above])
    high_is, low_is = ("membrane", "cells") if is_membrane else ("cells", "membrane")
    return Finding(
        f"{name}: the labels are near {low:g} and {high:g} with values between them, as in a mask "
        "that was saved as JPEG or resized",
        LabelFormat("membrane" if is_membrane else "interior", threshold="auto"),
        f": values above {census.middle:g} are {high_is}, the others {low_is}",
    )


def _find_special(census: Census) -> dict[Number, str]:
    """Find values that, by their number, mark no label; with the reason."""
    values = census.values.tolist()
    special: dict[Number, str] = {}
    if len(values) > 2 and values[0] < 0:
        special[values.pop(0)] = "it is below 0"
    if len(values) > 2 and values[-1] in {*_TOPS, census.top} and values[-2] <= values[-1] / 2:
        special[values.pop()] = "it is the largest value of its type"
    if len(values) == 3 and values[0] == 0 and values[2] == 255 and values[1] in _GREYS:
        special[values[1]] = "it is grey between black and white"
    return special


def _are_numbers(census: Census, values: Sequence[Number]) -> bool:
    """Tell whether values number cells; if not, each of them is a class with many areas."""
    cells = [value for value in values if value != 0]
    if len(cells) > MAX_CLASSES or len(cells) < 2:
        return len(cells) > 1
    if 0 in values:
        return float(np.median([census.parts(value) for value in cells])) < _PARTS
    widths = [census.thickness(value) for value in cells]
    return min(widths) > _THIN * max(widths)


def _explain_numbers(census: Census, special: dict[Number, str], listed: str) -> Finding:
    """Explain numbers of cells."""
    form, why = LabelFormat("instances"), ""
    has_zero = 0 in census.values
    zero = census.thickness(0) if has_zero else math.inf
    cells = [value for value in census.values.tolist() if value not in special and value != 0]
    typical = float(np.median([census.thickness(value) for value in cells[:MAX_CLASSES]]))
    for value, reason in special.items():
        # 0 is a cell, too, where another value is the thin one
        is_thin = census.thickness(value) < min(typical / 2, zero)
        is_membrane = is_thin or not (has_zero or do_cells_touch(census.samples, [value]))
        form = replace(form, membrane_value=value) if is_membrane else replace(form, ignore=value)
        why += f", but {_list([value])} is no cell: {reason}"
    if special and not do_cells_touch(census.samples, {form.membrane_value or 0, *special}):
        # a mask: as `instances`, the pixels of cells beside membrane would become membrane
        form = replace(form, kind="interior", membrane_value=form.membrane_value or 0)
    return Finding(f"{listed}: numbers of cells, each in one place{why}", form)


def _explain_classes(census: Census, special: dict[Number, str], listed: str) -> Finding:
    """Explain classes of pixels, of which one is membrane."""
    values = [value for value in census.values.tolist() if value not in special]
    if len(values) > 2 and values[0] == 0 and census.is_one_area(0):
        special = special | {0: f"{census.share(0):.0%} of the pixels, most of them in one area"}
        values.pop(0)
    membrane = census.thinnest(values)
    others = [value for value in values if value != membrane]
    ignore = next(iter(special), None)
    is_usual = membrane == 0 and len(others) == 1 and ignore is not None
    form = LabelFormat(membrane_value=None if is_usual else membrane, ignore=ignore)
    unlabelled = "".join(f"; {_list([v])} is perhaps not labelled: {special[v]}" for v in special)
    zero = "" if 0 in census.values else ", and none is 0"
    return Finding(
        f"{listed}{zero}: which of them is membrane is not known{unlabelled}",
        form,
        f", if {_list([membrane])} is membrane, as its areas are the thinnest "
        f"({census.share(membrane):.0%} of the pixels), {_list(others)} the inside of cells",
    )


def _list(values: Sequence[Number | str] | AnyArray) -> str:
    """Write values: 1 and 2; the first few of many."""
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in list(values)]
    if len(words) > _MOST_NAMED:
        return f"{', '.join(words[:_MOST_NAMED])}, ... ({len(words)} values)"
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
