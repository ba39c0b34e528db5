"""Checks between a broken or hostile file and the libraries that read it."""

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from sfseg.errors import SfsegError, StackError

_FOREIGN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,  # what ElementTree raises for bad XML
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What the libraries that decode images raise on bad bytes."""

_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "EREMOTEIO", "ESTALE", "ETIMEDOUT", "EINTR", "EAGAIN", "EBUSY", "EDEADLK"),
        *("ENOMEM", "ENOBUFS", "EMFILE", "ENFILE", "ENOLCK", "ENODEV"),
        *("ENOTCONN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "ESHUTDOWN"),
        *("ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)  # Windows has fewer
)
"""Errors of a disk, a network or memory, for now: the file itself may be good."""

_TRUST = "SFSEG_TRUST_INPUT"
"""The environment variable that lifts the limits. Damaged files stay refused."""

MAX_RATIO = 10_000
"""Most decoded bytes for one encoded: deflate reaches 1032, zstd on real images far less."""

_MAX_CHUNK_BYTES = 2**30
SMALL_BYTES = 2**26
"""Images under 64 MiB are never refused: a constant image compresses to almost nothing."""


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn what a library raises on bad bytes into a StackError.

    Parameters
    ----------
    what : str
        The file, perhaps with the page, for the message.

    Raises
    ------
    StackError
        For an error of a library in the block, unless the file may be good.
    PermissionError
        Unchanged.
    OSError
        If the system fails: a disk, a network, or memory. It names the file.
    """
    try:
        yield
    except (SfsegError, PermissionError):
        raise
    except MemoryError as error:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), what) from error
    except _FOREIGN as error:
        if is_transient(error):
            error.filename = error.filename or what  # a read that fails names no file
            raise
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise StackError(
            f"{what}: the pixels cannot be read: {reason:.200}",
            hint="copy or download the file again; it may be damaged",
        ) from error


def is_transient(error: BaseException) -> TypeGuard[OSError]:
    """Tell whether the system fails for now, so that the file may be good."""
    return isinstance(error, OSError) and error.errno in _PASSING


def refuse_bomb(what: str, *, decoded_bytes: int, encoded_bytes: int, chunk_bytes: int) -> None:
    """Refuse compressed pixels that would fill the memory, before anything is allocated.

    Parameters
    ----------
    what : str
        The file, perhaps with the page, for the message.
    decoded_bytes, encoded_bytes : int
        Size of the pixels in memory and in the file.
    chunk_bytes : int
        Size in memory of the largest strip, tile or chunk, or of a picture: it is decoded at once.

    Raises
    ------
    StackError
        If the ratio is over 10,000 for more than 64 MiB, or one chunk is over 1 GiB.
    """
    if decoded_bytes > max(SMALL_BYTES, MAX_RATIO * encoded_bytes):
        refuse_untrusted(
            what,
            f"{encoded_bytes} bytes decode to {decoded_bytes}, over {MAX_RATIO} times as many",
        )
    if chunk_bytes > _MAX_CHUNK_BYTES:
        refuse_untrusted(
            what, f"one strip, tile, chunk or picture has {chunk_bytes} bytes, over 1 GiB"
        )


def require_member(what: str, path: Path, store: Path) -> None:
    """Refuse an entry of a store that is not a file in it: a pipe, or a link that leads out.

    Parameters
    ----------
    what : str
        The store, for the message.
    path : Path
        The entry.
    store : Path
        The folder.

    Raises
    ------
    StackError
        If it is not a file, or lies outside the folder.
    """
    if not path.is_file() or not path.resolve().is_relative_to(store.resolve()):
        raise StackError(
            f"{what}: {path} is not a file of this store",
            hint="copy the array into one store",
        )


def refuse_untrusted(what: str, problem: str) -> None:
    """Refuse a file that may fill the memory or take hours, unless the person trusts it.

    Parameters
    ----------
    what : str
        The file, for the message.
    problem : str
        What is wrong with it, for the message.

    Raises
    ------
    StackError
        Unless the environment variable ``SFSEG_TRUST_INPUT`` is 1.
    """
    if os.environ.get(_TRUST) != "1":
        raise StackError(
            f"{what}: {problem}",
            hint=f"set {_TRUST}=1 if you trust the file and know that it fits in memory",
        )
