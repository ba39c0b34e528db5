"""The page of a comparison: its table, its runs, what they cost, and how they learnt."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from sfseg.report.charts import Series, chart
from sfseg.report.page import made_on, write_page
from sfseg.report.status import REFRESH_S, Status

BAR = 0.25
"""Half of the width of the bar at a mean; the networks are 1 apart."""

SPREAD = 0.3
"""Width over which the points of the runs of one network are spread."""

MOST_LINES = 8
"""Lines in a chart; there are no more colours."""


@dataclass(frozen=True)
class Group:
    """One score of one network.

    Attributes
    ----------
    values : sequence of float
        Of its runs.
    mean : float
        Over the runs.
    sd : float or None
        Standard deviation; None for a single run.
    thesis : float or None
        The value of the thesis.
    """

    values: Sequence[float]
    mean: float
    sd: float | None
    thesis: float | None


@dataclass(frozen=True)
class RunLine:
    """One run, as a line of the list.

    Attributes
    ----------
    name : str
        Name of its folder.
    state : str
        Finished, running, waiting or the like.
    page : str
        Address of its own page, from the folder of the comparison; empty if there is none.
    figures : sequence of str
        Its numbers; empty before it is finished.
    """

    name: str
    state: str
    page: str
    figures: Sequence[str]


@dataclass(frozen=True)
class ComparisonFacts:
    """All that the page of a comparison says.

    Attributes
    ----------
    title, budget, protocol : str
        What is compared, with which share of the schedule, and how it is tested.
    notes : sequence of str
        Explanations of the figures.
    status : Status
        How far it is.
    headings : sequence of str
        Of the table.
    rows : sequence of (bool, sequence of str)
        Whether the figures are those of the thesis, and the cells.
    names : sequence of str
        The networks that have a finished run.
    panels : mapping of str to sequence of Group
        For each score that is drawn, a group for each network.
    costs : sequence of (float, float)
        GFLOP of a section and millions of parameters of each network.
    losses : mapping of str to mapping of str to sequence of float
        For each network the loss of each epoch, by the name of the run.
    run_headings : sequence of str
        Of the figures of a run.
    runs : sequence of RunLine
        Every run.
    """

    title: str
    budget: str
    protocol: str
    notes: Sequence[str]
    status: Status
    headings: Sequence[str]
    rows: Sequence[tuple[bool, Sequence[str]]]
    names: Sequence[str]
    panels: Mapping[str, Sequence[Group]]
    costs: Sequence[tuple[float, float]]
    losses: Mapping[str, Mapping[str, Sequence[float]]]
    run_headings: Sequence[str]
    runs: Sequence[RunLine]


def write_compare_page(path: Path, facts: ComparisonFacts) -> None:
    """Write the page of a comparison; an existing file is replaced.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_page(
        path,
        "compare",
        overwrite=True,
        facts=facts,
        scores=[_draw_score(name, facts.names, groups) for name, groups in facts.panels.items()],
        costs=_draw_costs(facts) if facts.names else [],
        losses=[_draw_losses(name, runs) for name, runs in facts.losses.items() if runs],
        refresh_s=REFRESH_S,
        **made_on(facts.status.written_s),
    )


def _draw_score(name: str, networks: Sequence[str], groups: Sequence[Group]) -> Markup:
    """Draw the runs of each network as points, with mean, deviation, and the thesis' value."""
    runs = [(x, y) for place, group in enumerate(groups) for x, y in _spread(place, group.values)]
    printed = [(place, group.thesis) for place, group in enumerate(groups) if group.thesis]
    drawn = [_points("one run", runs), _bars(groups)]
    if printed:
        drawn.append(_points("the thesis", printed, is_diamond=True))
    return chart(drawn, title=f"{name} of the test", x_label="", y_label=name, x_names=networks)


def _spread(place: int, values: Sequence[float]) -> Iterable[tuple[float, float]]:
    """Place the values of a network beside each other, so that equal ones are seen."""
    middle = (len(values) - 1) / 2
    step = SPREAD / max(len(values) - 1, 1)
    return [(place + (number - middle) * step, value) for number, value in enumerate(values)]


def _points(
    name: str, places: Sequence[tuple[float, float]], *, is_diamond: bool = False
) -> Series:
    return Series(
        name,
        [x for x, _ in places],
        [y for _, y in places],
        is_points=True,
        labels=[f"{name}: {y:.4f}" for _, y in places],
        shape="diamond" if is_diamond else "circle",
    )


def _bars(groups: Sequence[Group]) -> Series:
    """Draw a line across at each mean, and one from a deviation below to one above it."""
    x: list[float] = []
    y: list[float] = []
    for place, group in enumerate(groups):
        sd = group.sd or 0.0
        x += [place - BAR, place + BAR, place, place, place, place]
        y += [group.mean, group.mean, math.nan, group.mean - sd, group.mean + sd, math.nan]
    return Series("mean and standard deviation", x, y)


def _draw_costs(facts: ComparisonFacts) -> list[Markup]:
    """Draw the first score over the arithmetic of a section, and over the parameters."""
    score, groups = next(iter(facts.panels.items()))
    units = ("GFLOP for a section", "million parameters")
    return [
        chart(
            [
                Series(name, [cost[which]], [group.mean], is_points=True)
                for name, cost, group in zip(facts.names, facts.costs, groups, strict=True)
            ],
            title=f"Mean {score} over {unit}",
            x_label=unit,
            y_label=score,
            x_range=(0, 1.1 * max(cost[which] for cost in facts.costs)),
        )
        for which, unit in enumerate(units)
    ]


def _draw_losses(name: str, runs: Mapping[str, Sequence[float]]) -> Markup:
    """Draw the loss of the runs of one network over the epochs."""
    lines = [
        Series(run, range(1, len(losses) + 1), losses)
        for run, losses in list(runs.items())[:MOST_LINES]
    ]
    shown = "" if len(runs) <= MOST_LINES else f", the first {MOST_LINES} of {len(runs)} runs"
    return chart(
        lines,
        title=f"Training loss of {name}{shown}",
        x_label="epoch",
        y_label="loss",
        x_is_counted=True,
    )
