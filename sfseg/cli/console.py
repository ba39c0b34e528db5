"""What every command shares: plain messages on stderr, the product on stdout, times and signals."""

import contextlib
import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TextIO

from sfseg.errors import OutputError, SfsegError, SfsegWarning
from sfseg.system.torchrun import is_first

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

_NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1")
STOPPING = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
"""Signals that stop the work as Ctrl-C does: of a cluster that ends a job (SIGTERM) or warns before
it does (SIGUSR1), and of a connection or a terminal that is lost (SIGHUP). Windows has the first.
"""

Handler = Callable[[int, FrameType | None], None]

CHECK_PATH = "check this path, and who may use it"
"""The hint of an error of the system that names a file."""

DISK_FAILED = "the disk or the network failed: try again, or copy the file to another disk"
"""The hint of an "Input/output error": no path and no permission is wrong."""

_COMMANDS_TO_TERMINALS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tab and newline, and those that turn the direction of a line."""

_show_as_python_does = warnings.showwarning


def say(message: str) -> None:
    """Print plain text to stderr; stdout carries the product only."""
    if is_first():
        write_to_stderr(message)


def say_error(error: SfsegError | OSError) -> None:
    """Print an error as plain text: Rich would read "[uint8]" as markup."""
    text, hint = str(error), ""
    if not isinstance(error, SfsegError) and error.filename is not None:
        advice = DISK_FAILED if error.errno == errno.EIO else CHECK_PATH
        text, hint = f"{error.filename}: {error.strerror}", f"\nhint: {advice}"
    write_to_stderr("\n".join([f"error: {text}", *getattr(error, "__notes__", ())]) + hint)


def write_to_stderr(message: str) -> None:
    """Print to stderr in every process; where that is closed or full, nobody can be told."""
    # Not typer.echo: it goes past the stream that Rich puts in place to print above a bar.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{escape_controls(message)}\n")
        sys.stderr.flush()


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of sfseg as plain text, and one of a package as Python does."""
    if issubclass(category, SfsegWarning):
        say(f"warning: {message}")
    else:
        _show_as_python_does(message, category, filename, lineno, file, line)


def print_result(product: object) -> None:
    """Print the product, or a part of it, to stdout.

    A reader that has left, such as ``head``, wants no more: the work continues without it.

    Raises
    ------
    OutputError
        If stdout cannot be written to.
    """
    if not is_first() or sys.stdout is None:
        return
    text = str(product)  # for a program without changes: a path must lead to its file
    with explain_stdout_errors():
        sys.stdout.write(f"{escape_controls(text) if is_terminal(sys.stdout) else text}\n")
        sys.stdout.flush()


@contextlib.contextmanager
def explain_stdout_errors() -> Iterator[None]:
    """End the block without an error if the reader of stdout has left.

    Raises
    ------
    OutputError
        If stdout cannot be written to.
    """
    try:
        yield
    except BrokenPipeError:
        discard_stdout()
    except OSError as error:
        if isinstance(error, SfsegError) or error.filename is not None:
            raise
        discard_stdout()
        raise OutputError.from_oserror("standard output", error) from error


def encode_as_names(error: UnicodeError) -> tuple[bytes, int]:
    """Encode what the encoding of stdout lacks as a file system does: a path must lead to its file.

    An error handler of `codecs`.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.encode("utf-8", "surrogateescape"), error.end


def discard_stdout() -> None:
    """Send what stdout still holds, and all that follows, to nowhere: Python flushes it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def escape_controls(text: str) -> str:
    """Write out what a terminal would obey: a file's name, or its insides, may hold anything."""
    return _COMMANDS_TO_TERMINALS.sub(lambda found: ascii(found[0])[1:-1], text)


def as_line(text: str) -> str:
    """Keep a text on one line, whatever the name of a file in it holds."""
    return escape_controls(text).replace("\n", "\\n")


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at a stream; a closed one is None."""
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def on_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle(exit_code)`` on Ctrl-C, and on each of `STOPPING`, while the block runs."""

    def handler(number: int, _frame: FrameType | None) -> None:
        handle(exit_code_of(number))

    previous = _take((signal.SIGINT, *STOPPING), handler)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def unwind_on_signals() -> None:
    """From now on, unwind on each of `STOPPING`, so that nothing half-written stays."""

    def handler(number: int, _frame: FrameType | None) -> None:
        sys.exit(exit_code_of(number))

    _take(STOPPING, handler)


def _take(numbers: Iterable[int], handler: Handler) -> dict[int, Any]:
    """Handle signals, but none that was to be ignored, as by ``nohup``; return the old handlers."""
    taken = (n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN)
    return {number: signal.signal(number, handler) for number in taken}


def exit_code_of(number: int) -> int:
    """Return the exit code of a process that a signal stops, as a shell tells it."""
    return 128 + number
