"""Sweep the thresholds over one section: segments and contingency table at each of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import NonFiniteError, StackError
from sfseg.io import as_stack_array
from sfseg.scoring.contingency import Tally, group, tally
from sfseg.scoring.thinning import Thinner
from sfseg.types import AnyArray

Levels = NDArray[np.uint8]
"""For each pixel the number of thresholds below its value."""

Counts = NDArray[np.int64]
"""Element [i, j]: how many pixels have a level of at least i, and a true level of at least j."""


def _thresholds() -> Iterator[float]:
    threshold = 0.0
    while threshold <= 1.0:
        yield threshold
        threshold += 0.1  # rounding errors as in the script: the last one is 0.9999999999999999


THRESHOLDS = tuple(_thresholds())
"""The thresholds of the challenge's script."""


def as_stack(array: object, name: str) -> AnyArray:
    """Check an array to score; turn one section into a stack.

    Parameters
    ----------
    array : array_like of bool, uint8, uint16 or float, shape (Z, Y, X) or (Y, X)
        The array.
    name : str
        Its name, for messages.

    Returns
    -------
    ndarray of the same type, shape (Z, Y, X)
        The same pixels.

    Raises
    ------
    StackError
        If it is a path, has another type or other dimensions, or has no pixels or too many.
    """
    stack = as_stack_array(array, name, hint="use sfseg.score_files for files")
    require_scorable(stack.shape, stack.dtype, name)
    return stack


def require_scorable(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Refuse a stack whose type or size cannot be scored; raises StackError."""
    if dtype.kind == "i" or (dtype.kind == "u" and dtype.itemsize > 2):
        raise StackError(
            f"{name}: {dtype} cannot be scored, only bool, uint8, uint16 and float",
            hint="score probabilities or masks: 0 is membrane, 1 or the type's maximum is inside a "
            "cell; numbers of cells go into sfseg.score_cells, or sfseg score --segments",
        )
    rows, columns = shape[1:]
    if (rows + 2) * (columns + 2) > np.iinfo(np.int32).max:  # the kernels' index of a framed pixel
        raise StackError(
            f"{name}: sections of {rows}x{columns} have too many pixels, 2^31 or more",
            hint="score crops of it",
        )


def sweep_section(
    prediction: AnyArray,
    labels: AnyArray,
    number: int,
    known: NDArray[np.bool_] | None = None,
    *,
    names: tuple[str, str],
) -> tuple[list[Tally], Counts]:
    """Tally a section at every threshold, and count the pixels above pairs of thresholds.

    Parameters
    ----------
    prediction : ndarray of bool, uint8, uint16 or float, shape (Y, X)
        Interior probability; integers are divided by their type's maximum.
    labels : ndarray of bool, uint8, uint16 or float, shape (Y, X)
        The truth, 0 = membrane; integers are not scaled.
    number : int
        Number of the section, from 1, for messages.
    known : ndarray of bool, shape (Y, X), optional
        Where the truth is known. The other pixels are membrane in both images and are not counted.
    names : tuple of str
        Names of prediction and labels, for messages.

    Returns
    -------
    tallies : list of Tally
        One for each of `THRESHOLDS`.
    above : ndarray of int64, shape (levels, levels)
        See `Counts`.

    Raises
    ------
    StackError
        If a float is outside [0, 1], or no label is above all thresholds.
    NonFiniteError
        If a float is NaN or infinite.
    """
    levels = find_levels(as_probability(prediction), f"{names[0]}: section {number}")
    true_levels = find_levels(labels, f"{names[1]}: section {number}")
    if known is None:
        above = count_above(levels, true_levels)
    else:
        levels, true_levels = levels * known, true_levels * known
        above = count_above(levels[known], true_levels[known])
    if above[0, -1] == 0:
        raise StackError(
            f"{names[1]}: section {number}: no label is inside a cell (above every threshold), so "
            "there is nothing to score",
            hint="leave out this section, or check whether the labels are inverted",
        )
    return _tally_section(Thinner(levels), Thinner(true_levels), above), above


def _tally_section(predicted: Thinner, true: Thinner, above: Counts) -> list[Tally]:
    """Tally a section at every threshold; compute again only segments that have changed."""
    rows: list[Tally] = []
    for threshold in range(len(THRESHOLDS)):
        # Pixels above a threshold are a subset of those above the one before: if both have the same
        # number of pixels, they are the same pixels.
        same_truth = threshold > 0 and above[0, threshold] == above[0, threshold + 1]
        same_prediction = threshold > 0 and above[threshold, 0] == above[threshold + 1, 0]
        if not same_truth:
            grouped = group(*true.components(threshold))
        if not same_prediction:
            segments, count = predicted.thinned(threshold)
        rows.append(rows[-1] if same_truth and same_prediction else tally(grouped, segments, count))
    return rows


def as_probability(prediction: AnyArray) -> AnyArray:
    """Divide whole numbers by their type's maximum."""
    if prediction.dtype.kind != "u":
        return prediction
    return prediction.astype(np.float32) / np.float32(np.iinfo(prediction.dtype).max)


def find_levels(values: AnyArray, name: str) -> Levels:
    """Count for each pixel the thresholds below its value.

    Parameters
    ----------
    values : ndarray
        Probabilities or labels.
    name : str
        Their name, for messages.

    Returns
    -------
    ndarray of uint8, shape as values
        From 0 to the number of `THRESHOLDS`.

    Raises
    ------
    StackError, NonFiniteError
        If a float is not from 0 to 1.
    """
    doubles = values.astype(np.float64)  # the thresholds are float64, too
    if values.dtype.kind == "f":
        _check_probability(doubles, name)
    levels = np.zeros(values.shape, np.uint8)
    for threshold in THRESHOLDS:
        levels += doubles > threshold
    return levels


def _check_probability(values: NDArray[np.float64], name: str) -> None:
    if values.min() >= 0 and values.max() <= 1:  # false if there is a NaN
        return
    row, column = np.argwhere(~((values >= 0) & (values <= 1)))[0]
    value = values[row, column]
    what = f"{name}: the pixel in row {row}, column {column} is {value:g}, not from 0 to 1"
    counting = "rows and columns count from 0"
    if not np.isfinite(value):
        raise NonFiniteError(what, hint=f"replace it, for example by 0 for membrane; {counting}")
    raise StackError(what, hint=f"scale the values to [0, 1], or save them as uint8; {counting}")


def count_above(levels: Levels, true_levels: Levels) -> Counts:
    """Count the pixels with a level of at least i and a true level of at least j.

    Parameters
    ----------
    levels, true_levels : ndarray of uint8, of one shape
        See `Levels`.

    Returns
    -------
    ndarray of int64, shape (levels, levels)
        See `Counts`.
    """
    size = len(THRESHOLDS) + 1
    pairs = levels.astype(np.intp) * size + true_levels  # (Y, X): both levels as one number
    counts = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    # sums from the end of both axes turn "exactly i and j" into "at least i and j"
    above: Counts = counts[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1]
    return above
