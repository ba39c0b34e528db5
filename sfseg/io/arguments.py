"""Paths and arrays as a Python user gives them, checked at the door."""

import os
from pathlib import Path

import numpy as np

from sfseg.errors import StackError
from sfseg.types import AnyArray


def as_path(value: object, function: str, *, hint: str | None = None) -> Path:
    """Turn a path into a `Path`, and refuse anything else.

    Parameters
    ----------
    value : str or path-like
        The path.
    function : str
        The function that was called, for the message.
    hint : str, optional
        What to do instead, for the message.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    StackError
        If it is an array or anything else but a path.
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    kind = "an array" if hasattr(value, "__array__") else f"a {type(value).__name__}"
    raise StackError(
        f"{function}: the path of a file is needed here, not {kind}",
        hint=hint or "pass a str or a pathlib.Path",
    )


def as_stack_array(value: object, function: str, *, hint: str | None = None) -> AnyArray:
    """Turn an array of one section or a stack into one of shape (Z, Y, X).

    Parameters
    ----------
    value : array_like, shape (Z, Y, X) or (Y, X)
        The pixels.
    function : str
        The function that was called, for the message.
    hint : str, optional
        What to do with a path instead, for the message.

    Returns
    -------
    ndarray, shape (Z, Y, X)
        A view of the same pixels; one section gets Z = 1.

    Raises
    ------
    StackError
        If it is a path, has other dimensions or no pixels, or does not hold numbers.
    """
    if isinstance(value, str | os.PathLike):
        raise StackError(
            f"{function}: an array is needed here, not the path {os.fspath(value)!r}",
            hint=hint or f"read the file first: sfseg.open_stack({os.fspath(value)!r}).read()",
        )
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # uneven lists, tensors on a GPU
        raise StackError(
            f"{function}: NumPy cannot make an array of it: {error}", hint="pass a NumPy array"
        ) from error
    if array.dtype.kind not in "buif":
        raise StackError(
            f"{function}: the array holds no real numbers, but {array.dtype}",
            hint="pass an array of numbers, for example of uint8 or float32",
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise StackError(
            f"{function}: an array of shape {array.shape} is no stack",
            hint="pass one section (Y, X) or a stack (Z, Y, X) with at least one pixel",
        )
    return array if array.ndim == 3 else array[np.newaxis]
