"""Charts as SVG that stands in a page: its colours are those of the page, light or dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from sfseg.report.page import render

WIDTH, HEIGHT = 480, 300
"""Of a chart, in its own units; the page scales it."""

LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 44
"""Margins around the axes."""

TICKS = 6
"""At most, on each axis."""

MARGIN = 0.04
"""Share of the range of the values that stays free at both ends."""

DIGITS = 3
"""Of a number at a tick, so that neighbouring ticks differ."""

Range = tuple[float, float]
Shape = Literal["circle", "diamond"]


@dataclass(frozen=True)
class Series:
    """Values that belong together, drawn as a line or as points.

    Attributes
    ----------
    name : str
        What the legend calls it.
    x, y : sequence of float
        As many of both. A line has a gap where y is NaN.
    is_points : bool
        Whether it is drawn as points that no line joins.
    labels : sequence of str
        Of the points, shown under the pointer; none, or as many as points.
    dots : sequence of int
        Indices of the values of a line that are points, too.
    shape : {'circle', 'diamond'}
        Of the points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    is_points: bool = False
    labels: Sequence[str] = ()
    dots: Sequence[int] = ()
    shape: Shape = "circle"


@dataclass(frozen=True)
class Mark:
    """A vertical line at one value of x, with a name."""

    x: float
    name: str


@dataclass(frozen=True)
class _Axis:
    """Maps values to places along an axis, from `start` to `end`."""

    span: Range
    start: float
    end: float
    is_counted: bool = False
    names: Sequence[str] = ()

    def place(self, value: float) -> float:
        low, high = self.span
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return the places of the ticks, and the numbers that stand there."""
        from matplotlib.ticker import MaxNLocator

        if self.names:
            return [(self.place(number), name) for number, name in enumerate(self.names)]
        low, high = self.span
        locator = MaxNLocator(TICKS - 1, integer=self.is_counted)
        steps = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
        width = steps[1] - steps[0] if len(steps) > 1 else 1.0
        return [(self.place(tick), _number(tick, width)) for tick in steps]


def _number(value: float, width: float) -> str:
    """Write a number of a scale whose steps have this width."""
    if max(abs(value), width) >= 1e5 or width < 1e-5:
        return f"{value:.{DIGITS}g}"
    decimals = max(0, -int(np.floor(np.log10(width) + 1e-9)))
    if round(width, decimals) != width and decimals < DIGITS + 2:
        decimals += round(abs(width * 10**decimals) % 1, 6) > 0
    return f"{value:.{decimals}f}"


def chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: Range | None = None,
    y_range: Range | None = None,
    marks: Sequence[Mark] = (),
    x_is_counted: bool = False,
    x_names: Sequence[str] = (),
) -> Markup:
    """Draw a chart.

    Parameters
    ----------
    series : sequence of Series
        What to draw, at most eight; at least one has a value.
    title : str
        For those who do not see the chart, and above it.
    x_label, y_label : str
        Of the axes.
    x_range, y_range : tuple of float, optional
        Ends of the axes; by default all values fit.
    marks : sequence of Mark
        Vertical lines.
    x_is_counted : bool
        Whether only whole numbers stand at the ticks of x, as for epochs.
    x_names : sequence of str
        What stands at 0, 1, 2 ... of x, instead of numbers.

    Returns
    -------
    Markup
        A ``figure``, with its legend.
    """
    if x_names:
        x_range = (-0.5, len(x_names) - 0.5)
    span = x_range or _span([one.x for one in series])
    x = _Axis(span, LEFT, WIDTH - RIGHT, x_is_counted, x_names)
    y = _Axis(y_range or _span([one.y for one in series]), HEIGHT - BOTTOM, TOP)
    drawn = [(one.name, _paths(one, x, y), _points(one, x, y), one.shape) for one in series]
    return Markup(
        render(
            "chart",
            title=title,
            labels=(x_label, y_label),
            size=(WIDTH, HEIGHT),
            box=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
            ticks=(x.ticks, y.ticks),
            series=drawn,
            marks=[(x.place(mark.x), mark.name) for mark in marks],
        )
    )


def _span(values: Sequence[Sequence[float]]) -> Range:
    """Return the ends of an axis on which all values fit, with a margin."""
    finite = np.concatenate([np.asarray(one, float) for one in values])
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = MARGIN * (high - low) or 0.5
    return low - margin, high + margin


def _paths(series: Series, x: _Axis, y: _Axis) -> str:
    """Return the line as the data of an SVG path."""
    if series.is_points:
        return ""
    steps, pen = [], "M"
    for across, up in zip(series.x, series.y, strict=True):
        if np.isfinite(up):
            steps.append(f"{pen}{x.place(across):g} {y.place(up):g}")
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def _points(series: Series, x: _Axis, y: _Axis) -> list[tuple[float, float, str]]:
    """Return the places of single points, and what each says; of a line, those without a line."""
    labels = series.labels or [""] * len(series.x)
    pairs = zip(series.x, series.y, labels, strict=True)
    places = [(x.place(a), y.place(b), label) if np.isfinite(b) else None for a, b, label in pairs]
    dots = {*series.dots, *_alone(series.y)}
    wanted = range(len(places)) if series.is_points else sorted(dots)
    return [place for index in wanted if (place := places[index])]


def _alone(values: Sequence[float]) -> list[int]:
    """Return the indices of values between gaps: no line leads there."""
    is_there = np.isfinite(np.asarray(values, float))
    beside = np.pad(is_there, 1)
    return np.flatnonzero(is_there & ~beside[:-2] & ~beside[2:]).tolist()
