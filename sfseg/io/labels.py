"""Interior, membrane and what is not labelled, from labels of any kind."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sfseg.config import LabelFormat
from sfseg.errors import NonFiniteError, StackError
from sfseg.io.cell_numbers import require_exact
from sfseg.io.census import Census, sample_indices
from sfseg.io.label_areas import find_swapped
from sfseg.io.label_values import explain_labels
from sfseg.io.open import open_stack
from sfseg.io.stack import Stack, require_finite
from sfseg.types import INTERIOR, AnyArray, LabelKind, Number, name_sections


@dataclass(frozen=True)
class LabelStack:
    """Labels that were read.

    Attributes
    ----------
    labels : ndarray of uint8, shape (Z, Y, X)
        255 inside a cell, 0 on membrane and where nothing is known.
    known : ndarray of bool, shape (Z, Y, X), or None
        Where the labels are known; None = everywhere.
    warnings : tuple of str
        What a person should know about them.
    """

    labels: NDArray[np.uint8]
    known: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()


def interior(
    section: AnyArray, form: LabelFormat, known: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Separate interior from membrane in one section of labels.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The labels.
    form : LabelFormat
        What they mean; a threshold is a number here.
    known : ndarray of bool, shape (Y, X), optional
        Where the labels are known.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        True inside a cell. For instances, a pixel is inside if its number is not that of membrane.
        Its 4 neighbours in the section must also have that number, or be unknown.
    """
    if form.threshold is not None:
        inside: NDArray[np.bool_] = section > form.threshold
    else:
        inside = section != (form.membrane_value or 0)
    if form.kind == "membrane" and form.membrane_value is None:
        inside = ~inside
    if form.kind == "instances":
        every = np.ones(section.shape, bool) if known is None else known
        # compare rows, then columns as rows of the transpose: both sides of a change are membrane
        for ids, of_cell, sure in ((section, inside, every), (section.T, inside.T, every.T)):
            differ = (ids[1:] != ids[:-1]) & sure[1:] & sure[:-1]
            of_cell[1:] &= ~differ
            of_cell[:-1] &= ~differ
    return inside if known is None else inside & known


def read_labels(
    source: str | Path,
    kind: LabelKind = "interior",
    *,
    axes: str | None = None,
    membrane_value: Number | None = None,
    threshold: Number | Literal["auto"] | None = None,
    ignore: Number | None = None,
) -> NDArray[np.uint8]:
    """Read labels of any polarity as interior and membrane.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.
    kind : {"interior", "membrane", "instances"}
        What the labels mark. ``interior``: any number but 0 is the inside of a cell, as in the
        challenge. ``membrane``: any number but 0 is membrane. ``instances``: each cell has its
        number; membrane is 0, and every pixel next to (of 4 neighbours) another number.
    axes : str, optional
        As for `open_stack`.
    membrane_value : int or float, optional
        The value of membrane where it is not 0; all other values are the inside of cells.
    threshold : int, float or "auto", optional
        For labels that were saved as JPEG or resized: values above it count as one value, the
        others as 0; auto = the middle between the two values that are most frequent.
    ignore : int or float, optional
        The value of pixels that are not labelled; they become 0.

    Returns
    -------
    ndarray of uint8, shape (Z, Y, X)
        255 inside a cell, 0 on membrane.

    Raises
    ------
    StackError
        If labels of two values hold others, or the result is all interior or all membrane; and
        what `open_stack` raises.
    NonFiniteError
        If a label is NaN or infinite.
    UnknownNameError
        If there is no such kind.
    OptionError
        If the options do not fit each other.
    """
    form = LabelFormat(kind, membrane_value, threshold, ignore)
    return read_label_stack(source, form, axes=axes).labels


def read_label_stack(
    source: str | Path, form: LabelFormat, *, axes: str | None = None
) -> LabelStack:
    """Read labels, and where they are known; parameters and errors as for `read_labels`."""
    with open_stack(source, axes=axes, labels=True) as stack:
        form = resolve_format(stack, form)
        labels = np.empty(stack.shape, np.uint8)
        known = None if form.ignore is None else np.empty(stack.shape, bool)
        values: set[Number] = set()
        for index, section in enumerate(_finite_sections(stack)):
            sure = None
            if known is not None:
                known[index] = sure = section != form.ignore
            used = section if sure is None else section[sure]
            if used.size:
                values |= {used.min().item(), used.max().item()}
            if form.is_plain and not _are_two_values(used, values):
                raise explain_labels(census_of(stack, form.ignore), form, stack.name).error
            labels[index] = np.where(interior(section, form, sure), INTERIOR, np.uint8(0))
    return _checked(LabelStack(labels, known), values, stack.name)


def resolve_format(stack: Stack, form: LabelFormat) -> LabelFormat:
    """Find the threshold that is `auto`; refuse instances that are a picture.

    Returns
    -------
    LabelFormat
        The threshold is a number or None.

    Raises
    ------
    StackError
        If the numbers of cells are blurred, as in a JPEG, below 0, or too large for a float.
    """
    if form.threshold == "auto":
        return replace(form, threshold=census_of(stack, form.ignore).middle)
    if form.kind == "instances":
        samples = [stack.section(index) for index in sample_indices(len(stack))]
        census = Census.from_sections(samples, form.ignore)
        if census.is_soft or census.is_scattered:
            raise explain_labels(census, form, stack.name).error
        for sample in samples:
            require_exact(sample, stack.name)
        _refuse_below_0(census, form, stack.name)
    return form


def _refuse_below_0(census: Census, form: LabelFormat, name: str) -> None:
    """Refuse a number below 0 that no option explains: it is no cell."""
    below = [value for value in census.values.tolist() if value < 0]
    if any(value != form.membrane_value for value in below):
        raise StackError(
            f"{name}: {below[0]:g} is no number of a cell",
            hint=f"add --ignore {below[0]:g} if it means not labelled, or --membrane-value "
            f"{below[0]:g} if it means membrane",
        )


def census_of(stack: Stack, ignore: Number | None) -> Census:
    """Count the values of all sections."""
    return Census.from_sections(_finite_sections(stack), ignore, sample_indices(len(stack)))


def _finite_sections(stack: Stack) -> Iterator[AnyArray]:
    """Read the sections; refuse NaN and infinity."""
    for number, section in enumerate(stack, start=1):
        require_numbers(section, stack.name, number)
        yield section


def require_numbers(section: AnyArray, name: str, number: int) -> None:
    """Refuse labels with NaN, as it may mean membrane or not labelled; as `require_finite`."""
    try:
        require_finite(section, name, number)
    except NonFiniteError as error:
        raise NonFiniteError(
            str(error).splitlines()[0],
            hint="if NaN means not labelled, store it as another number, for example -1, and add "
            "--ignore -1",
        ) from error


def _checked(found: LabelStack, values: set[Number], name: str) -> LabelStack:
    """Refuse labels without an interior or without membrane; drop a mask that hides nothing."""
    labels, known = found.labels, found.known
    has_membrane = not labels.all() if known is None else bool((known & (labels == 0)).any())
    if not (labels.any() and has_membrane):
        raise StackError(
            f"{name}: interior or membrane is missing, "
            f"the labels are only {', '.join(map(str, sorted(values)))}",
            hint="give the labels, not the images or a mask",
        )
    warnings = tuple(_swap_warnings(labels, name))
    if known is not None and known.all():
        return LabelStack(labels, None, (*warnings, nothing_ignored(name)))
    return LabelStack(labels, known, warnings)


def nothing_ignored(name: str) -> str:
    """Say that no label has the value to ignore."""
    return f"{name}: no pixel has the value of --ignore, so nothing is left out: is it the value?"


def _swap_warnings(labels: NDArray[np.uint8], name: str) -> Iterator[str]:
    """Warn of single sections that are inverted."""
    if swapped := find_swapped([section > 0 for section in labels]):
        yield (
            f"{name}: the labels of {name_sections(swapped)} look inverted, the others do not, as "
            "after an inverting LUT: open them in Fiji, choose Edit > Invert, and save them"
        )


def _are_two_values(section: AnyArray, values: set[Number]) -> bool:
    """Tell whether labels hold only 0 and one other number; `values` are those found so far."""
    allowed = values | ({0} if len(values) > 1 else set())
    return len(allowed) < 3 and bool(np.isin(section, list(allowed)).all())
