"""Every error that sfseg raises on purpose.

::

    SfsegError
    ├── StackError(ValueError)              an image file or array that is not what it should be
    ├── ShapeMismatchError(ValueError)      two stacks that belong together differ in shape
    ├── UnknownNameError(LookupError)       no dataset, architecture, recipe or model of that name
    ├── OptionError(ValueError)             options that do not fit each other or the data
    ├── MissingExtraError(ImportError)      an optional dependency is not installed
    ├── FetchError(OSError)                 no source could deliver a dataset
    │   └── ChecksumError                   something was delivered, but not what is known
    ├── CheckpointError(ValueError)         weights or training state that cannot be used
    ├── OutputExistsError(FileExistsError)  the output exists and may not be replaced
    ├── OutputError(OSError)                an output that cannot be written: the disk is full
    ├── ResumeError(ValueError)             an interrupted run that cannot be gone on with
    ├── DeviceError(RuntimeError)           the asked-for device is not there
    └── NonFiniteError(ArithmeticError)     NaN or infinity where a number is needed

Each kind also inherits the builtin that a Python user would catch. A message reads
``<file or name>: expected <x>, found <y>``; the optional hint is one thing to do about it.
"""

import difflib
import errno
from collections.abc import Iterable

EXTRAS = {"hdf5": "h5py", "openvino": "openvino", "zarr": "zarr"}
"""The package that each optional dependency of the project comes down to."""

_MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or name another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "name a place that you may write to"),
    **dict.fromkeys(
        (errno.ENOENT, errno.ESTALE), "look whether somebody has removed or renamed the folder"
    ),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is in the way: name another place"),
    errno.ENAMETOOLONG: "give a shorter name",
}
"""What mends an output that cannot be written, by what the system says."""


class SfsegError(Exception):
    """Root of every error that sfseg raises on purpose.

    Parameters
    ----------
    message : str
        What was expected and what was found.
    hint : str, optional
        One action that mends it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class StackError(SfsegError, ValueError):
    """An image file or array is not what it should be."""


class ShapeMismatchError(SfsegError, ValueError):
    """Two stacks that belong together differ in shape."""


class UnknownNameError(SfsegError, LookupError):
    """A name that is not in a table."""

    @classmethod
    def from_known(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownNameError":
        """Build the error for `name`, suggesting the nearest of the `known` names."""
        names = sorted(known)
        nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"one of: {', '.join(names)}"
        return cls(f"{name}: expected a known {kind}, found none of that name", hint=hint)


class OptionError(SfsegError, ValueError):
    """Options that do not fit each other or the data."""


class MissingExtraError(SfsegError, ImportError):
    """An optional dependency is needed and not installed."""

    @classmethod
    def from_extra(cls, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for the missing `extra`, saying what it is needed for."""
        return cls(
            f"{purpose}: expected the packages of the extra {extra!r}, found them missing",
            hint=f"pip install {EXTRAS[extra]}, or with pipx: pipx inject sfseg {EXTRAS[extra]}",
        )


class FetchError(SfsegError, OSError):
    """No source could deliver a dataset."""


class ChecksumError(FetchError):
    """Something was delivered, but not the bytes or pixels that are known."""


class CheckpointError(SfsegError, ValueError):
    """Weights or training state that cannot be used."""


class OutputExistsError(SfsegError, FileExistsError):
    """The output exists and may not be replaced."""


class OutputError(SfsegError, OSError):
    """An output cannot be written: the disk is full or fails, or the place is not to be used."""

    @classmethod
    def from_oserror(cls, path: object, error: OSError) -> "OutputError":
        """Build the error for a `path` from what the system said."""
        found = cls(
            f"{path}: expected to write it, found: {error.strerror}",
            hint=_MENDS.get(error.errno or 0, "look whether the disk is sound, or name another"),
        )
        found.errno = error.errno
        return found


class ResumeError(SfsegError, ValueError):
    """An interrupted run cannot be gone on with: it was another one, or its record is damaged."""


class DeviceError(SfsegError, RuntimeError):
    """The asked-for device is not there."""


class NonFiniteError(SfsegError, ArithmeticError):
    """NaN or infinity where a number is needed."""
