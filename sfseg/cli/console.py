"""What every command shares: plain messages on stderr, the product on stdout, times and signals."""

import contextlib
import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

from sfseg.errors import OutputError, SfsegError, SfsegWarning
from sfseg.system.torchrun import is_first

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

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
    try:
        sys.stdout.write(f"{escape_controls(text) if is_terminal(sys.stdout) else text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
    except OSError as error:
        discard_stdout()
        raise OutputError.from_oserror("standard output", error) from error


def discard_stdout() -> None:
    """Send what stdout still holds, and all that follows, to nowhere: Python flushes it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def escape_controls(text: str) -> str:
    """Write out what a terminal would obey: a file's name, or its insides, may hold anything."""
    return _COMMANDS_TO_TERMINALS.sub(lambda found: ascii(found[0])[1:-1], text)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at a stream; a closed one is None."""
    return stream is not None and stream.isatty()


def format_time(seconds: float) -> str:
    """Write a duration as 45 s, 12:03 or 1:02:03."""
    hours, minutes = divmod(round(seconds) // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{round(seconds) % 60:02}"
    return f"{minutes}:{round(seconds) % 60:02}" if minutes else f"{round(seconds)} s"


@contextlib.contextmanager
def on_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle(exit_code)`` on Ctrl-C and on SIGTERM while the block runs."""
    codes = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}

    def handler(number: int, _frame: FrameType | None) -> None:
        handle(codes[signal.Signals(number)])

    previous = {number: signal.signal(number, handler) for number in codes}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def exit_on_terminate(_number: int, _frame: FrameType | None) -> None:
    """Unwind on SIGTERM, so that nothing half-written stays."""
    sys.exit(EXIT_TERMINATED)
