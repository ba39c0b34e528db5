"""What is drawn on a terminal while work goes on: a bar, what is done, the time left, curves.

It fits the width of the terminal: the bar shrinks first, then the middle of the text goes, where
the name of a file is; a count at its end stays.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_DOTS, _ASCII_DOTS = "…", "..."
_BAR, _SHORTEST_BAR = 10, 4
_MOST_KEPT = 128
"""More values of a curve than a terminal has room for."""


class Curve(NamedTuple):
    """A number that changes while work goes on.

    Attributes
    ----------
    name, now : str
        What it is, and its last value in words.
    values : sequence of float
        How it went so far; may be empty.
    """

    name: str
    now: str
    values: Sequence[float] = ()


class Trace:
    """The course of a number in a few values, however many there were: means of equal parts."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._each = 1
        self._waiting: list[float] = []

    def add(self, value: float) -> None:
        """Add the next value."""
        self._waiting.append(value)
        if len(self._waiting) == self._each:
            self.values.append(_mean(self._waiting))
            self._waiting.clear()
        if len(self.values) == _MOST_KEPT:
            self.values = [_mean(self.values[i : i + 2]) for i in range(0, _MOST_KEPT, 2)]
            self._each *= 2


class Display:
    """The lines that Rich draws again and again; change the attributes at any time."""

    def __init__(self, note: str) -> None:
        self.note, self.left = note, ""
        self.done = 0
        self.total: int | None = None
        self.curves: Sequence[Curve] = ()

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        """Draw the bar, and the curves below it."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width, plain = options.max_width - 1, options.ascii_only
        bar, note = fit(self.note, self.left, width, dots=_ASCII_DOTS if plain else _DOTS)
        grid = Table.grid(padding=(0, 1))
        progress = ProgressBar(self.total, self.done, bar, pulse=self.total is None)
        grid.add_row(progress, Text(note, no_wrap=True), Text(self.left, no_wrap=True))
        yield grid
        if self.curves:
            line = draw_curves(self.curves, width, ASCII_BLOCKS if plain else BLOCKS)
            yield Text(line, no_wrap=True, overflow="crop")


def fit(note: str, left: str, width: int, *, dots: str = _DOTS) -> tuple[int, str]:
    """Choose the length of the bar, and shorten the text, so that all fit in a line.

    Returns
    -------
    bar : int
        Characters of the bar.
    note : str
        The text.
    """
    from rich.cells import cell_len

    room = width - cell_len(left) - 2  # two blanks between
    bar = min(max(room - cell_len(note), _SHORTEST_BAR), _BAR)
    return bar, shorten(note, max(room - bar, 0), dots)


def shorten(text: str, width: int, dots: str = _DOTS) -> str:
    """Take the middle out of a text that is too long, at the same length on both sides."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    room = max(width - len(dots), 0)
    head = set_cell_size(text, room // 2)
    tail = set_cell_size(text[::-1], room - room // 2)[::-1]
    return (head + dots + tail)[:width] if width < len(dots) else head + dots + tail


def draw_curves(curves: Sequence[Curve], width: int, blocks: str = BLOCKS) -> str:
    """Write numbers in a line, each behind the curve of how it went, where there is room."""
    words = sum(len(curve.name) + len(curve.now) + 1 for curve in curves)
    drawn = [curve for curve in curves if len(curve.values) > 1]
    room = width - words - 2 * (len(curves) - 1) - len(drawn)
    lines, left = [], len(drawn)
    for curve in curves:
        line = ""
        if curve in drawn and room >= left:
            line = draw_sparkline(curve.values, room // left, blocks)
            room, left = room - len(line), left - 1
        lines.append(" ".join(filter(None, (curve.name, line, curve.now))))
    return "  ".join(lines)


def draw_sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Draw a curve in characters, from the lowest to the highest of its values.

    Examples
    --------
    >>> draw_sparkline([3, 2, 1, 1], 4)
    '█▅▁▁'
    >>> draw_sparkline([1, 1, 5, 5], 2)
    '▁█'
    """
    count = min(len(values), width)
    cuts = [len(values) * i // count for i in range(count + 1)] if count else [0]
    means = [_mean(values[a:b]) for a, b in pairwise(cuts)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(mean, low, high, blocks) for mean in means)


def _block(value: float, low: float, high: float, blocks: str) -> str:
    """Choose the block of a value; one that is not finite is a blank."""
    if not math.isfinite(value):
        return " "
    share = (value - low) / (high - low) if high > low else 0.0
    return blocks[min(round(share * (len(blocks) - 1)), len(blocks) - 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
