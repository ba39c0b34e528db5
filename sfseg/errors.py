"""Every error that sfseg raises on purpose.

::

    SfsegError
    ├── StackError(ValueError)              an image file or array cannot be used
    ├── ShapeMismatchError(ValueError)      two stacks that belong together differ in shape
    ├── UnknownNameError(LookupError)       no dataset, architecture, recipe or model has that name
    ├── OptionError(ValueError)             an option is wrong, or does not fit another or the data
    ├── MissingExtraError(ImportError)      an optional dependency is not installed
    ├── FetchError(OSError)                 no source delivered the dataset
    │   └── ChecksumError                   a file of a dataset has unknown contents
    ├── CheckpointError(ValueError)         weights or a training state cannot be used
    ├── OutputExistsError(FileExistsError)  the output exists and must not be replaced
    ├── OutputError(OSError)                the output cannot be written, e.g. the disk is full
    ├── RemoteError(OSError)                a server does not answer, or does not permit it
    ├── ResumeError(ValueError)             a run that cannot be resumed
    ├── DeviceError(RuntimeError)           the requested device is not there
    ├── ClusterError(RuntimeError)          a cluster cannot be used, or is lost
    │   └── BlocksError                     some blocks failed; the others are finished
    └── NonFiniteError(ArithmeticError)     NaN or infinity where a number is needed

`SfsegWarning` is the only warning.

Each kind also inherits the builtin that a Python user would catch. A message reads
``<file or option>: <what is wrong>``; the optional hint is one action that helps.
"""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

EXTRAS = {
    "cloud": "obstore zarr",
    "dask": "distributed",
    "hdf5": "h5py",
    "neuroglancer": "neuroglancer",
    "openvino": "openvino",
    "zarr": "zarr",
}
"""The package to install for each extra."""

START_AGAIN = "run without --resume to start again"
"""The hint where an interrupted run cannot be resumed."""

_FREE = "free some space, or choose another folder"
_WRITABLE = "choose a folder where you may write"
_GONE = "check whether the folder was removed or renamed"
_ELSEWHERE = "choose another place"

_REASONS = {
    errno.ENOSPC: ("disk full", _FREE),
    errno.EDQUOT: ("disk quota used up", _FREE),
    errno.EFBIG: ("too large for this disk", _FREE),
    errno.EACCES: ("no permission", _WRITABLE),
    errno.EPERM: ("no permission", _WRITABLE),
    errno.EROFS: ("read-only disk", _WRITABLE),
    errno.ENOENT: ("its folder is gone", _GONE),
    errno.ESTALE: ("its folder is gone", _GONE),
    errno.EEXIST: ("a file is in the way", _ELSEWHERE),
    errno.ENOTDIR: ("a file is in the way", _ELSEWHERE),
    errno.ENAMETOOLONG: ("name too long", "choose a shorter name"),
}
"""Why an output cannot be written, and what helps, by the error number of the system."""


class SfsegError(Exception):
    """Root of every error that sfseg raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, and with which file or option.
    hint : str, optional
        One action that helps.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class SfsegWarning(UserWarning):
    """Something that a user should know, and that does not stop the work."""


class StackError(SfsegError, ValueError):
    """An image file or array cannot be used."""


class ShapeMismatchError(SfsegError, ValueError):
    """Two stacks that belong together differ in shape."""


class UnknownNameError(SfsegError, LookupError):
    """No dataset, architecture, recipe or model has that name."""

    @classmethod
    def from_known(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownNameError":
        """Build the error for `name`; its hint suggests the nearest of the `known` names."""
        names = sorted(known)
        nearest = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose one of: {', '.join(names)}"
        return cls(f"{name}: there is no {kind} of that name", hint=hint)


class OptionError(SfsegError, ValueError):
    """An option is wrong, or does not fit another option or the data."""


class MissingExtraError(SfsegError, ImportError):
    """An optional dependency is needed but not installed."""

    @classmethod
    def from_extra(cls, extra: str, purpose: str) -> "MissingExtraError":
        """Build the error for the missing `extra`, and say what needs it."""
        return cls(
            f"{purpose}: the extra {extra!r} is not installed",
            hint=f"pip install {EXTRAS[extra]}, or with pipx: pipx inject sfseg {EXTRAS[extra]}",
        )


class FetchError(SfsegError, OSError):
    """No source delivered the dataset."""


class ChecksumError(FetchError):
    """A file of a dataset has other bytes or pixels than the table of datasets says."""


class CheckpointError(SfsegError, ValueError):
    """Weights or a training state cannot be used."""


class OutputExistsError(SfsegError, FileExistsError):
    """The output exists and must not be replaced."""


class OutputError(SfsegError, OSError):
    """An output cannot be written: the disk is full or fails, or you may not write there."""

    @classmethod
    def from_oserror(cls, path: object, error: OSError) -> "OutputError":
        """Build the error for a `path` from an error of the system."""
        other = (str(error.strerror), "check the disk, or choose another one")
        reason, hint = _REASONS.get(error.errno or 0, other)
        if error.errno == errno.ENOENT and error.filename:
            folder = Path(error.filename).parent
            if folder.exists():  # not gone: as /proc, it takes no files
                reason, hint = f"nothing can be made in {folder}", "choose another folder"
        if str(error.strerror).startswith(reason):  # ours already, with more to say
            reason = str(error.strerror)
        explained = cls(f"{path}: cannot be written: {reason}", hint=hint)
        explained.errno = error.errno
        return explained


class RemoteError(SfsegError, OSError):
    """A server does not answer, or does not permit what was asked; the input may be good.

    Attributes
    ----------
    is_denied : bool
        Whether it does not permit it. Some servers answer so where there is nothing.
    """

    def __init__(self, message: str, *, hint: str | None = None, is_denied: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_denied = is_denied


class ResumeError(SfsegError, ValueError):
    """A run cannot be resumed: its options or inputs differ, or its record is damaged."""


class DeviceError(SfsegError, RuntimeError):
    """The requested device is not there."""


class ClusterError(SfsegError, RuntimeError):
    """A cluster cannot be used, or is lost; finished work is kept."""


class BlocksError(ClusterError):
    """Some blocks failed on the workers of a cluster; the others are finished."""


class NonFiniteError(SfsegError, ArithmeticError):
    """NaN or infinity where a number is needed."""
