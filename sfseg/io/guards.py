"""What stands between a broken or hostile file and the libraries that read it."""

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
"""What the libraries that decode images raise when bytes are not what they should be."""

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
"""What the system says when it cannot read just now: a disk, a network or memory fails, no file."""

_TRUST = "SFSEG_TRUST_INPUT"
"""The environment variable that lifts the limits; what is seen to be damaged stays refused."""

MAX_RATIO = 10_000
"""Most decoded bytes for one encoded: deflate reaches 1032, zstd on real images far less."""

_MAX_SEGMENT_BYTES = 2**30
SMALL_BYTES = 2**26
"""An image under 64 MiB is no bomb, however well it is compressed: a constant one may be."""


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
        For a foreign error in the block, unless the file may be good.
    PermissionError
        As it is.
    OSError
        Where it is the system that fails, a disk, a network, or memory; it names the file.
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
            f"{what}: expected readable pixels, found {reason:.200}",
            hint="copy or download the file again; it may be damaged",
        ) from error


def is_transient(error: BaseException) -> TypeGuard[OSError]:
    """Tell whether it is the system that cannot read just now, and the file may be good."""
    return isinstance(error, OSError) and error.errno in _PASSING


def refuse_bomb(what: str, *, decoded_bytes: int, encoded_bytes: int, segment_bytes: int) -> None:
    """Refuse compressed pixels that would fill the memory, before anything is allocated.

    Parameters
    ----------
    what : str
        The file, perhaps with the page, for the message.
    decoded_bytes, encoded_bytes : int
        Size of the pixels in memory and in the file.
    segment_bytes : int
        Decoded size of what is decoded at once: the largest strip, tile or chunk, or a picture.

    Raises
    ------
    StackError
        If the ratio is over 10,000 for more than 64 MiB, or a segment is over 1 GiB.
    """
    if decoded_bytes > max(SMALL_BYTES, MAX_RATIO * encoded_bytes):
        refuse_untrusted(
            what,
            f"at most {MAX_RATIO} decoded bytes for one in the file",
            f"{decoded_bytes} for {encoded_bytes}",
        )
    if segment_bytes > _MAX_SEGMENT_BYTES:
        refuse_untrusted(
            what,
            "strips, tiles, chunks or pictures of at most 1 GiB",
            f"{segment_bytes} bytes in one",
        )


def require_member(what: str, path: Path, store: Path) -> None:
    """Refuse what is in the folder of a store and no file of it, but a pipe or a link out of it.

    Parameters
    ----------
    what : str
        The store, for the message.
    path : Path
        What is there.
    store : Path
        The folder.

    Raises
    ------
    StackError
        If it is no file, or one elsewhere.
    """
    if not path.is_file() or not path.resolve().is_relative_to(store.resolve()):
        raise StackError(
            f"{what}: expected all pixels in this store, found {path} elsewhere",
            hint="copy the array into one store",
        )


def refuse_untrusted(what: str, expected: str, found: str) -> None:
    """Refuse what may fill the memory or take hours, unless the person trusts it.

    Parameters
    ----------
    what, expected, found : str
        For the message.

    Raises
    ------
    StackError
        Unless the environment variable ``SFSEG_TRUST_INPUT`` is 1.
    """
    if os.environ.get(_TRUST) != "1":
        raise StackError(
            f"{what}: expected {expected}, found {found}",
            hint=f"set {_TRUST}=1 if you know where it comes from and that it fits in memory",
        )
