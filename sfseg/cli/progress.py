"""How far long work is: a bar on a terminal, else a line now and then."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TextIO, cast

from sfseg.cli.console import as_line, is_terminal, say
from sfseg.cli.live import Curve, Display
from sfseg.system.torchrun import is_first
from sfseg.types import format_time

LINE_EVERY_S = 60.0
"""A log has at least one line in this time."""

_REFRESHES = 10
"""A bar is drawn as often in a second."""


class ProgressDisplay(Protocol):
    """What a command needs of a progress display."""

    def update(
        self,
        done: int,
        total: int | None,
        note: str,
        seconds_left: float | None = None,
        curves: Sequence[Curve] = (),
    ) -> None:
        """Show that `done` of `total` are done, the time that is left, and how numbers went."""


class ProgressLines:
    """Lines for a log: what is done, how far it is, the time left.

    Parameters
    ----------
    what : str
        What is going on, until the first update says more.
    clock : callable
        Gives the time in seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = self._changed = clock()
        self._state: tuple[int, int | None, str, float | None] = (0, None, what, None)

    def update(
        self,
        done: int,
        total: int | None,
        note: str,
        seconds_left: float | None = None,
        curves: Sequence[Curve] = (),
    ) -> None:
        """Remember how far it is; `line` tells it."""
        note = " ".join([note, *(f"{curve.name} {curve.now}" for curve in curves)])
        now = self._clock()
        if done < self._state[0] or total != self._state[1]:
            self._started = now  # another file or another training run
        self._changed = now
        self._state = (done, total, note, seconds_left)

    def seconds_left(self) -> float | None:
        """Estimate the time left, from what is done if the last update had no estimate."""
        done, total, _note, seconds_left = self._state
        if seconds_left is None and total and done:
            seconds_left = (self._changed - self._started) / done * (total - done)
        if seconds_left is None or not total:
            return None
        return max(seconds_left - (self._clock() - self._changed), 0)

    def line(self) -> str:
        """Say how far it is now."""
        done, total, note, _ = self._state
        seconds_left = self.seconds_left()
        note = as_line(note)
        if seconds_left is None or not total:
            return f"{note}: at work for {format_time(self._clock() - self._started)}"
        return f"{note}: {done / total:.0%}, {format_time(seconds_left)} left"

    def keep_saying(self, wait: Callable[[float], bool]) -> None:
        """Say a line each `LINE_EVERY_S` until ``wait(seconds)`` tells that the work is done."""
        while not wait(LINE_EVERY_S):
            say(self.line())


class _Bar(ProgressLines):
    """A bar with the time left, on a terminal."""

    def __init__(self, display: Display) -> None:
        super().__init__(display.note)
        self._display = display

    def update(
        self,
        done: int,
        total: int | None,
        note: str,
        seconds_left: float | None = None,
        curves: Sequence[Curve] = (),
    ) -> None:
        super().update(done, total, note, seconds_left)
        estimate = self.seconds_left()
        shown = self._display
        shown.left = "" if estimate is None else f"{format_time(estimate)} left"
        shown.done, shown.total, shown.curves = done, total, curves
        shown.note = as_line(note)


@contextlib.contextmanager
def progress(what: str) -> Iterator[ProgressDisplay]:
    """Show how far the block is: a bar on a terminal, else a line each minute."""
    # a dumb terminal, as of Emacs, cannot move its cursor
    is_drawn = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and is_first()
    with _show_bar(what) if is_drawn else _say_lines(what) as display:
        yield display


@contextlib.contextmanager
def _say_lines(what: str) -> Iterator[ProgressDisplay]:
    lines, finished = ProgressLines(what), threading.Event()
    # A thread, since a step, a validation or a compilation may take longer than a minute.
    thread = threading.Thread(target=lines.keep_saying, args=(finished.wait,), daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        finished.set()
        thread.join()


class _Terminal:
    """A stream to a terminal; when that is gone, what is written is lost, and nothing fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _show_bar(what: str) -> Iterator[ProgressDisplay]:
    from rich.console import Console
    from rich.live import Live

    display = Display(as_line(what))
    with Live(
        display,
        console=Console(file=cast(TextIO, _Terminal(sys.stderr))),
        refresh_per_second=_REFRESHES,
        transient=True,
        redirect_stdout=is_terminal(sys.stdout),  # else the product would go to stderr
    ):
        yield _Bar(display)
