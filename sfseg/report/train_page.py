"""The page of a training run: how far it is, what it has learnt, and what it learns from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sfseg.report.charts import Mark, Series, chart
from sfseg.report.page import made_on, write_page
from sfseg.report.status import REFRESH_S, Status

SCORES = {"v_rand": "V_Rand", "v_info": "V_Info", "dice": "Dice"}
"""The scores that are drawn, and their names."""

RATE_UNIT = 0.001
"""Learning rates are drawn in this unit: short numbers at the axis."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rival:
    """Scores beside which those of the run are shown.

    Attributes
    ----------
    name : str
        What has these scores.
    scores : mapping of str to float
        `SCORES` by name.
    """

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Picture:
    """A small picture.

    Attributes
    ----------
    name : str
        What stands below it.
    jpeg : str
        As base64.
    """

    name: str
    jpeg: str


@dataclass(frozen=True)
class Strip:
    """Pictures of one place: image, truth, and maps.

    Attributes
    ----------
    place : str
        Which section, and which part of it.
    pictures : sequence of Picture
        From left to right.
    """

    place: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class TrainingFacts:
    """All that the page of a training run says.

    Attributes
    ----------
    title, data : str
        What is trained, and on what.
    status : Status
        How far it is.
    history : sequence of mapping
        The rows of ``history.csv``; scores are None where no section is held out.
    rates : sequence of float
        The planned learning rate at the end of each epoch, from the first to the last.
    kept_epoch : int or None
        The epoch whose weights are kept; None before the first.
    start : Rival or None
        The weights that it started from; None if they were not scored.
    shipped : Rival or None
        The shipped weights; None if they were not scored.
    shipped_note : str
        What to know about their scores.
    strips : sequence of Strip
        Pictures of held-out sections.
    warnings : sequence of str
        What was warned of.
    settings : mapping of str to mapping of str to str
        Tables of names and values, by their headings.
    """

    title: str
    data: str
    status: Status
    history: Sequence[Row]
    rates: Sequence[float]
    kept_epoch: int | None
    start: Rival | None
    shipped: Rival | None
    shipped_note: str
    strips: Sequence[Strip]
    warnings: Sequence[str]
    settings: Mapping[str, Mapping[str, str]]

    @property
    def kept(self) -> Row | None:
        """The row of the epoch whose weights are kept."""
        return next((row for row in self.history if row["epoch"] == self.kept_epoch), None)


def write_train_page(path: Path, facts: TrainingFacts) -> None:
    """Write the page of a training run; an existing file is replaced.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_page(
        path,
        "train",
        overwrite=True,
        facts=facts,
        charts=draw_charts(facts),
        scores=SCORES,
        rivals=find_rivals(facts),
        verdict=describe_gain(facts),
        refresh_s=REFRESH_S,
        **made_on(facts.status.written_s),
    )


def draw_charts(facts: TrainingFacts) -> list[Markup]:
    """Draw loss, scores and learning rate over the epochs; nothing before the first epoch."""
    history = facts.history
    if not history:
        return []
    epochs = [row["epoch"] for row in history]
    every = range(1, len(facts.rates) + 1)
    loss = chart(
        [Series("loss, mean of the epoch", epochs, [row["loss"] for row in history])],
        title="Training loss",
        x_label="epoch",
        y_label="loss",
        x_is_counted=True,
    )
    done = [row["learning_rate"] / RATE_UNIT for row in history]
    planned = [rate / RATE_UNIT for rate in facts.rates]
    rate = chart(
        [Series("planned", every, planned), Series("so far", epochs, done)],
        title="Learning rate at the end of the epoch",
        x_label="epoch",
        y_label=f"learning rate / {RATE_UNIT:g}",
        x_is_counted=True,
    )
    return [loss, *_draw_scores(facts, epochs), rate]


def _draw_scores(facts: TrainingFacts, epochs: Sequence[int]) -> list[Markup]:
    """Draw the scores of the held-out sections, if any, beside those of the rivals in V_Rand."""
    rows = [{name: _or_gap(row[name]) for name in SCORES} for row in facts.history]
    if all(math.isnan(row["v_rand"]) for row in rows):
        return []
    lines = [Series(label, epochs, [row[name] for row in rows]) for name, label in SCORES.items()]
    ends = epochs[0], max(epochs[-1], epochs[0] + 1)
    lines += [
        Series(f"V_Rand of {rival.name}", ends, [rival.scores["v_rand"]] * 2)
        for rival in (facts.start, facts.shipped)
        if rival
    ]
    marks = [Mark(facts.kept_epoch, "kept")] if facts.kept_epoch else []
    drawn = chart(
        lines,
        title="Scores of the held-out sections",
        x_label="epoch",
        y_label="score",
        x_is_counted=True,
        marks=marks,
    )
    return [drawn]


def _or_gap(value: float | None) -> float:
    return math.nan if value is None else value


def find_rivals(facts: TrainingFacts) -> list[Rival]:
    """List what is compared: where the run began, what it keeps, and the shipped weights."""
    kept, history = facts.kept, facts.history
    if kept is None or kept["v_rand"] is None:
        return []
    first, last = history[0], history[-1]
    found = [facts.start or Rival("epoch 1, the first", first)]
    found.append(Rival(f"epoch {kept['epoch']}, whose weights are kept", kept))
    if last["epoch"] != kept["epoch"]:
        found.append(Rival(f"epoch {last['epoch']}, the last so far", last))
    return [*found, *([facts.shipped] if facts.shipped else [])]


def describe_gain(facts: TrainingFacts) -> str:
    """Say in a sentence whether the training pays; empty if nothing is compared."""
    kept = facts.kept
    rival = facts.shipped or facts.start
    if kept is None or kept["v_rand"] is None or rival is None:
        return ""
    ours, theirs = kept["v_rand"], rival.scores["v_rand"]
    where = "above" if ours > theirs else "not above"
    return (
        f"The kept weights reach V_Rand {ours:.4f} on the held-out sections, {where} "
        f"{rival.name} with {theirs:.4f}."
    )
