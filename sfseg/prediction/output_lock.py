"""The lock of an output: only one run at a time writes it."""

import contextlib
import functools
from pathlib import Path

from sfseg.errors import OutputExistsError
from sfseg.prediction.destination import lock_path
from sfseg.system.locks import exclusive


def hold(lock: Path, what: str) -> contextlib.AbstractContextManager[None]:
    """Take a lock for a block; refuse a second run.

    Parameters
    ----------
    lock : Path
        The lock file.
    what : str
        What is locked, for the message.

    Raises
    ------
    OutputExistsError
        If another process has it.
    OutputError
        If the folder cannot be written to.
    """
    return exclusive(lock, waiting=functools.partial(refuse_second, what))


def clear_lock(path: Path) -> None:
    """Remove the lock of a run that was killed after its output was complete."""
    lock = lock_path(path)
    if lock.exists():
        with (
            contextlib.suppress(OSError),
            hold(lock, str(path)),
        ):  # a run keeps its lock while it runs
            pass


def refuse_second(what: str) -> None:
    """Refuse a second run; raises OutputExistsError."""
    raise OutputExistsError(
        f"{what}: another run is writing this output",
        hint="wait until that run ends, or give another name",
    )
