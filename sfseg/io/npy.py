"""Read arrays that numpy.save wrote; nothing is ever unpickled."""

import io
import tokenize
import warnings
from pathlib import Path

from numpy.lib import format as npy

from sfseg.errors import StackError
from sfseg.io.flat import FlatSource, Layout
from sfseg.io.guards import translate_errors

MAGIC = npy.MAGIC_PREFIX
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def open_npy(path: Path, name: str, head: bytes) -> FlatSource:
    """Open an array of NumPy; see `sfseg.io.sources.ArraySource`.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file, for messages.
    head : bytes
        Its first bytes.

    Returns
    -------
    FlatSource
        The array, to be closed.

    Raises
    ------
    StackError
        If it is damaged or cut short, or holds anything but numbers.
    """
    with translate_errors(name):
        header = io.BytesIO(head)
        version = npy.read_magic(header)
        if version not in _READERS:  # 3.0 is for names of fields in other scripts
            raise _no_numbers(name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that Python 2 wrote it
                shape, is_fortran, dtype = _READERS[version](header)
        except (MemoryError, tokenize.TokenError) as error:  # brackets without an end
            raise ValueError(f"the header makes no sense: {error}") from error
    if dtype.hasobject or dtype.names is not None:
        raise _no_numbers(name)
    layout = Layout(header.tell(), tuple(shape), dtype, order="F" if is_fortran else "C")
    return FlatSource(path, name, layout)


def _no_numbers(name: str) -> StackError:
    """Make the error for Python objects and records."""
    return StackError(
        f"{name}: the array holds Python objects or records, not numbers",
        hint="save one array of numbers with numpy.save",
    )
