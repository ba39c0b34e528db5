"""What every command shares: messages on stderr, errors to exit codes, progress on a terminal."""

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

import typer
from typer.core import TyperGroup

from sfseg.errors import OptionError, SfsegError
from sfseg.system.torchrun import is_first

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_COMMANDS_TO_TERMINALS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tab and newline, and those that turn the direction of a line."""


class Commands(TyperGroup):
    """The one place that turns errors into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SfsegError, OSError) as error:
            say_error(error)
            code = EXIT_USAGE if isinstance(error, OptionError) else EXIT_ERROR
            raise typer.Exit(code) from error
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def say(message: str) -> None:
    """Print plain text to stderr; stdout carries the product only."""
    if is_first():
        _write(message)


def escape_controls(text: str) -> str:
    """Write out what a terminal would obey: a file's name, or its insides, may hold anything."""
    return _COMMANDS_TO_TERMINALS.sub(lambda found: ascii(found[0])[1:-1], text)


def _write(message: str) -> None:
    # Not typer.echo: it goes past the stream that Rich puts in place to print above a bar.
    sys.stderr.write(f"{escape_controls(message)}\n")


def print_result(product: object) -> None:
    """Print the product, or a part of it, to stdout."""
    if is_first():
        text = str(product)  # for a program as it is: a path must lead to its file
        sys.stdout.write(f"{escape_controls(text) if sys.stdout.isatty() else text}\n")
        sys.stdout.flush()


def say_error(error: SfsegError | OSError) -> None:
    """Print an error as plain text: Rich would read "[uint8]" as markup."""
    _write("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]))


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


class ProgressDisplay(Protocol):
    """What a command needs of a progress display."""

    def update(
        self, done: int, total: int | None, note: str, seconds_left: float | None = None
    ) -> None:
        """Show that `done` of `total` are done, and the time that is left."""


class _Bar:
    """A bar with the time left, on stderr; shows nothing where stderr is no terminal."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def update(
        self, done: int, total: int | None, note: str, seconds_left: float | None = None
    ) -> None:
        left = "" if seconds_left is None else f"{format_time(seconds_left)} left"
        self._bar.update(
            self._task, completed=done, total=total, description=escape_controls(note), left=left
        )


def format_time(seconds: float) -> str:
    """Write a duration as 45 s, 12:03 or 1:02:03."""
    hours, minutes = divmod(round(seconds) // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{round(seconds) % 60:02}"
    return f"{minutes}:{round(seconds) % 60:02}" if minutes else f"{round(seconds)} s"


@contextlib.contextmanager
def progress(what: str) -> Iterator[ProgressDisplay]:
    """Show a progress bar while the block runs."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    is_terminal = sys.stderr.isatty() and is_first()
    columns = (  # a line of training is 80 characters wide with this bar
        rich.BarColumn(bar_width=10),
        rich.TextColumn("{task.description}", markup=False),
        rich.TextColumn("{task.fields[left]}", markup=False),
    )
    with rich.Progress(
        *columns,
        console=console,
        disable=not is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else the product would go to stderr
        redirect_stderr=is_terminal,
    ) as bar:
        yield _Bar(bar, bar.add_task(what, total=None, left=""))
