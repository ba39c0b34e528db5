"""Interior and membrane from labels of any polarity."""

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import StackError, UnknownNameError
from sfseg.io.open import open_stack
from sfseg.io.stack import require_finite
from sfseg.types import INTERIOR, AnyArray, LabelKind


def interior(section: AnyArray, kind: LabelKind) -> NDArray[np.bool_]:
    """Separate interior from membrane in one section of labels.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The labels.
    kind : {"interior", "membrane", "instances"}
        What they mark.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        True inside a cell. For instances, a pixel is inside if its number is not 0. Its 4
        neighbours in the section must also have that number.
    """
    inside: NDArray[np.bool_] = section != 0
    if kind == "membrane":
        return ~inside
    if kind == "instances":
        # compare rows, then columns as rows of the transpose: both sides of a change are membrane
        for ids, of_cell in ((section, inside), (section.T, inside.T)):
            differ = ids[1:] != ids[:-1]
            of_cell[1:] &= ~differ
            of_cell[:-1] &= ~differ
    return inside


def read_labels(
    source: str | Path, kind: LabelKind = "interior", *, axes: str | None = None
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
    """
    if kind not in get_args(LabelKind):
        raise UnknownNameError.from_known("kind of labels", kind, get_args(LabelKind))
    with open_stack(source, axes=axes, labels=True) as stack:
        labels = np.empty(stack.shape, np.uint8)
        values: set[int | float] = set()
        for number, section in enumerate(stack, start=1):
            require_finite(section, stack.name, number)
            values |= {section.min().item(), section.max().item()}
            if kind != "instances":
                _require_two_values(section, values, stack.name, number)
            labels[number - 1] = np.where(interior(section, kind), INTERIOR, np.uint8(0))
    if labels.min() == labels.max():
        raise StackError(
            f"{stack.name}: interior or membrane is missing, "
            f"the labels are only {', '.join(map(str, sorted(values)))}",
            hint="give the labels, not the images or a mask",
        )
    return labels


def _require_two_values(
    section: AnyArray, values: set[int | float], name: str, number: int
) -> None:
    """Refuse labels that hold more than 0 and one other number."""
    allowed = values | ({0} if len(values) > 1 else set())
    if len(allowed) > 2 or not np.isin(section, list(allowed)).all():
        found = sorted(values.union(np.unique(section).tolist()))
        raise StackError(
            f"{name}: section {number}: labels must be 0 and one other value, not "
            f"{', '.join(map(str, found[:5]))}{', ...' if len(found) > 5 else ''}",
            hint="if these are the numbers of cells, give --labels-are instances, or in Python "
            'kind="instances"',
        )
