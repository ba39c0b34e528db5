"""A lock between processes; the system releases it when its process ends, even if it is killed.

Why this is not the package `filelock`, whose lock on Unix is the same ``flock``:

* In a shared cache the lock file of a killed run may belong to another user, and allow reading
  only. ``flock`` needs no more than that, but `filelock` insists on opening the file for writing.
* `filelock` leaves its file in the folder at release. Here the folder of an output holds nothing
  but the output afterwards, so the holder removes the file. That is safe because each new holder
  checks that its locked file is still the one at the path, and tries again if it is not.

Some file systems of clusters have no locks. There the work goes on without one, after a warning.
"""

import contextlib
import errno
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sfseg.errors import OutputExistsError, SfsegWarning
from sfseg.system.files import ensure_parent, explain_errors

NO_LOCKS = {
    errno.ENOSYS,  # Lustre, mounted without the option flock
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOLCK,  # NFS, whose server does not answer about locks
    errno.EBADF,  # NFS locks no file that is open for reading only
}

if sys.platform == "win32":
    import msvcrt
    import time

    def _try_lock(file: BinaryIO) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_for_lock(file: BinaryIO) -> None:
        while not _try_lock(file):
            time.sleep(0.2)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_lock(file: BinaryIO) -> None:
        _flock(file, fcntl.LOCK_EX)

    def _flock(file: BinaryIO, operation: int) -> None:
        """Lock a file; where the file system has no locks, warn."""
        try:
            fcntl.flock(file, operation)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _warn_without_locks()


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time into the block.

    Parameters
    ----------
    path : Path
        The lock file. It exists while the block runs.
    waiting : callable
        Called before each wait for another process. If it raises, nobody waits.

    Raises
    ------
    OutputError
        If the lock file cannot be created; the message names its folder.
    """
    with contextlib.ExitStack() as stack:
        while True:
            with explain_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(_open(path))
                is_free = _try_lock_or_remove(path, file)
            if not is_free:
                waiting()
                _wait_for_lock(file)
            if _is_at(path, file):
                break
        try:
            yield
        finally:
            if sys.platform == "win32":  # an open file cannot be removed
                stack.close()
            _unlink(path)


@contextlib.contextmanager
def only_one(lock: Path, work: str) -> Iterator[None]:
    """Allow one process at a time to do this work in a folder, and refuse every other one.

    Parameters
    ----------
    lock : Path
        The lock file, in the folder. The folder is created if it is missing.
    work : str
        The work, for the message: "training run".

    Raises
    ------
    OutputExistsError
        If another process does this work there.
    OutputError
        If the folder cannot be written to.
    """

    def refuse() -> None:
        raise OutputExistsError(
            f"{lock.parent}: another {work} is running in this folder",
            hint="wait until it ends, or choose another folder with --out",
        )

    with ensure_parent(lock), exclusive(lock, waiting=refuse):
        yield


def _try_lock_or_remove(path: Path, file: BinaryIO) -> bool:
    """Try to lock a file; if the disk fails, leave none behind."""
    try:
        return _try_lock(file)
    except OSError:
        _unlink(path)
        raise


@functools.cache
def _warn_without_locks() -> None:
    """Warn once in a process."""
    warnings.warn(
        "the file system has no locks: nothing stops a second run that writes to the same place",
        SfsegWarning,
        stacklevel=2,
    )


def _open(path: Path) -> BinaryIO:
    """Open a lock file, for reading if it belongs to another user who allows no more."""
    if path.is_symlink():
        raise OutputExistsError(
            f"{path}: this is a link, but sfseg needs a file of its own here",
            hint="remove the link, then start again",
        )
    try:
        return open(path, "ab", opener=_open_no_link)
    except OSError:
        if not path.exists():
            raise
        return open(path, "rb", opener=_open_no_link)


def _open_no_link(path: str, flags: int) -> int:
    """Open a file, but not the one that a link leads to: the folder may be one of many users."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Tell whether the locked file is still at `path`: its last holder may have removed it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _unlink(path: Path) -> None:
    # Fails on Windows while another process waits for the file, and in another user's folder.
    with contextlib.suppress(OSError):
        path.unlink()
