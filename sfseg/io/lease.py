"""A lock in a bucket, where no system releases the lock of a process that was killed.

The holder writes the lock again and again. Another process that finds it waits for that; if nothing
comes, the holder is gone, and the lock changes hands. Each step is a conditional write, so of two
processes one succeeds. No clocks are compared.
"""

import contextlib
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator

from sfseg.errors import RemoteError, SfsegWarning
from sfseg.io.objects import Objects

LEASE_S = 30.0
"""So long a lock that nobody writes again stays taken."""


@contextlib.contextmanager
def lease(objects: Objects, key: str, refuse: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time into the block.

    Parameters
    ----------
    objects : Objects
        Where the lock is.
    key : str
        Its name. It is removed after the block.
    refuse : callable
        Called if another process is in the block; it raises an error.

    Raises
    ------
    RemoteError
        If the server does not answer, or does not permit it.

    Notes
    -----
    A holder that stops for longer than `LEASE_S`, such as a laptop that sleeps, may lose the lock
    without notice. Services without conditional writes do not keep two holders apart.
    """
    token = secrets.token_hex(8)
    tag = objects.create(key, token.encode()) or _take_over(objects, key, token)
    if tag is None:
        refuse()
        return
    ended = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(objects, key, token, tag, ended), name="lease", daemon=True
    )
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(RemoteError):  # it ends by itself
            if _own_tag(objects, key, token):
                objects.remove([key])


def _take_over(objects: Objects, key: str, token: str) -> str | None:
    """Wait for the holder of a lock; take it if nothing comes, else return None."""
    found = objects.read_tagged(key)
    if found is None:
        return objects.create(key, token.encode())
    warnings.warn(
        f"{objects.path}/{key} is the lock of another run; waiting {LEASE_S:.0f} s to see whether "
        "that run is still there",
        SfsegWarning,
        stacklevel=2,
    )
    until = time.monotonic() + LEASE_S
    while time.monotonic() < until:
        time.sleep(LEASE_S / 10)
        now = objects.read_tagged(key)
        if now is None:  # it has ended
            return objects.create(key, token.encode())
        if now != found:
            return None
    return objects.replace(key, token.encode(), found[1])


def _renew(objects: Objects, key: str, token: str, tag: str | None, ended: threading.Event) -> None:
    """Write a lock again until the block ends, or the lock is lost."""
    count = 0
    while tag is not None and not ended.wait(LEASE_S / 3):
        count += 1
        with contextlib.suppress(RemoteError):  # the next time, perhaps
            tag = objects.replace(key, f"{token} {count}".encode(), tag) or _own_tag(
                objects, key, token
            )


def _own_tag(objects: Objects, key: str, token: str) -> str | None:
    """Return the version of a lock that is ours: an answer may be lost, and the write not."""
    found = objects.read_tagged(key)
    return found[1] if found and found[0].startswith(token.encode()) else None
