"""Interior and membrane from labels of any polarity."""

import numpy as np
from numpy.typing import NDArray

from sfseg.terms import AnyArray, LabelKind


def interior(section: AnyArray, kind: LabelKind) -> NDArray[np.bool_]:
    """Tell interior from membrane in one section of labels.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        The labels.
    kind : {"interior", "membrane", "instances"}
        What they mark.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        True inside a cell. For instances a pixel is inside if its number is not 0 and its 4
        neighbours in the section, those beyond the edge aside, have the same number.
    """
    inside: NDArray[np.bool_] = section != 0
    if kind == "membrane":
        return ~inside
    if kind == "instances":
        for ids, of_cell in ((section, inside), (section.T, inside.T)):
            differ = ids[1:] != ids[:-1]
            of_cell[1:] &= ~differ
            of_cell[:-1] &= ~differ
    return inside
