"""Numbers of cells: told from maps, masks and classes, and exact."""

import numpy as np

from sfseg.config import LabelFormat
from sfseg.errors import StackError
from sfseg.io.census import Census, sample_windows
from sfseg.io.label_values import explain_labels
from sfseg.io.stack import Stack
from sfseg.types import AnyArray, Number

_FEW = 3
"""So few ids may be classes; of more, the rare ones have even areas, too."""

_EVEN = 0.4
"""More of the pixels of an id have equal neighbours; fewer of those of a grey value of a map."""


def holds_cells(stack: Stack, ignore: Number | None = None) -> bool:
    """Tell whether the values are numbers of cells, not grey values, a mask or classes."""
    census = _look(stack, ignore)
    if ignore is None and (special := _find_special(census, stack.name)) is not None:
        census = _look(stack, special)
    if census is None:
        return False
    form = explain_labels(census, LabelFormat(), stack.name).form
    if form is None or form.kind != "instances":
        return False
    rarest = census.values[np.argsort(census.counts)[:-2]]  # in a map, two values are frequent
    return len(census.values) <= _FEW or census.evenness(rarest) > _EVEN


def require_exact(section: AnyArray, where: str) -> None:
    """Refuse floats so large that two ids may be one number.

    Parameters
    ----------
    section : ndarray
        The ids.
    where : str
        The file and the section, for the message.

    Raises
    ------
    StackError
        If the largest is beyond the whole numbers that the type has without a gap.
    """
    if section.dtype.kind != "f":
        return
    limit = 2 ** (np.finfo(section.dtype).nmant + 1)  # from here on, some whole numbers are missing
    if section.max() >= limit:
        raise StackError(
            f"{where}: the ids are floats and go up to {section.max():.0f}; from {limit} on, "
            "several ids become one number",
            hint="save the ids as whole numbers, for example as uint64",
        )


def find_special(stack: Stack) -> Number | None:
    """Find a number that is perhaps no cell: it is far above the others."""
    return _find_special(_look(stack, None), stack.name)


def _find_special(census: Census | None, name: str) -> Number | None:
    if census is None or census.values[-2] > census.values[-1] / 2:
        return None
    form = explain_labels(census, LabelFormat(), name).form
    largest: Number = census.values[-1].item()
    return largest if form and largest in {form.ignore, form.membrane_value} else None


def _look(stack: Stack, ignore: Number | None) -> Census | None:
    """Count the values in the middle of a few sections; None if these are no ids, or only one.

    A map of floats is refused before its values, which are many, are counted.
    """
    windows: list[AnyArray] = []
    for window in sample_windows(stack):
        if window.dtype.kind == "f" and (window != np.round(window)).any():
            return None
        windows.append(window)
    census = Census.from_sections(windows, ignore)
    has_ids = np.count_nonzero(census.values) > 1 and census.values[0] >= 0
    return census if has_ids else None
