"""Paths and arrays as a Python user gives them, checked at the door."""

import os
from pathlib import Path

import numpy as np

from sfseg.errors import StackError
from sfseg.system.remote import as_location
from sfseg.types import AnyArray, kind_of


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
        return as_location(value if isinstance(value, Path) else os.fspath(value))
    kind = "an array" if hasattr(value, "__array__") else kind_of(value)
    raise StackError(
        f"{function}: the path of a file is needed here, not {kind}",
        hint=hint or "pass a str or a pathlib.Path",
    )


def as_stack_array(value: object, function: str, *, hint: str | None = None) -> AnyArray:
    """Turn an array of one section or a stack into one of shape (Z, Y, X).

    Parameters
    ----------
    value : array_like, shape (Z, Y, X) or (Y, X)
        The pixels. An array of Zarr, Dask or HDF5 is loaded as a whole.
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
        If it is a path, has other dimensions or no pixels, does not hold numbers, cannot be
        loaded, or does not fit in memory.
    """
    if isinstance(value, str | os.PathLike):
        raise StackError(
            f"{function}: an array is needed here, not the path {os.fspath(value)!r}",
            hint=hint or f"read the file first: sfseg.open_stack({os.fspath(value)!r}).read()",
        )
    array = _load(value, function)
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


def _load(value: object, function: str) -> AnyArray:
    """Turn anything that holds an array into one in memory."""
    if hasattr(value, "keys") and not hasattr(value, "__array__"):  # a group of Zarr or HDF5
        raise StackError(
            f"{function}: this is {kind_of(value)} of named arrays, not an array",
            hint="pass one of its arrays",
        )
    try:
        return np.asarray(value)
    except MemoryError as error:
        raise StackError(
            f"{function}: the array does not fit in memory",
            hint="pass fewer sections at a time",
        ) from error
    # uneven lists, tensors on a GPU, damaged chunks, a computation of Dask that fails
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise StackError(
            f"{function}: NumPy cannot make an array of it: {type(error).__name__}: {error}",
            hint="pass a NumPy array, or check the file that the pixels come from",
        ) from error
