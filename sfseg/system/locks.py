"""A lock between processes; it is gone with the process that held it, however that ended."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sfseg.errors import OutputExistsError
from sfseg.system.files import ensure_parent, explain_errors

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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time into the block.

    Parameters
    ----------
    path : Path
        The lock file. It is there while the block runs.
    waiting : callable
        Is called once if another process is in the block.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        while True:
            with explain_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(_open(path))
                is_free = _try_lock(file)
            if not is_free:
                waiting()
                _wait_for_lock(file)
            if _is_at(path, file):
                break
        try:
            yield
        finally:
            if sys.platform == "win32":  # keeps a file that is open
                stack.close()
            _unlink(path)


@contextlib.contextmanager
def only_one(lock: Path, work: str) -> Iterator[None]:
    """Keep others from the same work in a folder, which is made.

    Parameters
    ----------
    lock : Path
        The lock file, in the folder.
    work : str
        What is done there, to be told: "training".

    Raises
    ------
    OutputExistsError
        If another process is at that work there.
    OutputError
        If the folder cannot be written to.
    """

    def refuse() -> None:
        raise OutputExistsError(
            f"{lock.parent}: expected no other {work} at work there, found one",
            hint="let that one end, or name another folder with --out",
        )

    with ensure_parent(lock), exclusive(lock, waiting=refuse):
        yield


def _open(path: Path) -> BinaryIO:
    """Open a lock file; one that a killed run of another user has left may be for reading only."""
    try:
        return path.open("ab")
    except OSError:
        if not path.exists():
            raise
        return path.open("rb")


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether the locked file is still the one at `path`: its last holder has removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _unlink(path: Path) -> None:
    # Windows keeps a file that somebody waits for, and a folder one that another user owns.
    with contextlib.suppress(OSError):
        path.unlink()
