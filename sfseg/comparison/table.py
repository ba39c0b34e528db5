"""The table of a comparison: mean and standard deviation for each network, beside the thesis."""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfseg import __version__
from sfseg.comparison.costs import Cost
from sfseg.comparison.results import RunScore
from sfseg.config import CompareConfig
from sfseg.scoring import thesis
from sfseg.scoring.thesis import Published
from sfseg.types import format_count

SCORES = {
    "v_rand": "V_Rand",
    "v_info": "V_Info",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "membrane_dice": "membrane Dice",
}
"""The scores that have a column, and its heading."""


@dataclass(frozen=True)
class Figure:
    """One figure over the runs of an architecture.

    Attributes
    ----------
    mean : float
        Mean over the runs.
    sd : float or None
        Standard deviation with n - 1; None for a single run.
    values : tuple of float
        The value of each run.
    """

    mean: float
    sd: float | None
    values: tuple[float, ...]

    @classmethod
    def from_values(cls, values: Sequence[float]) -> "Figure":
        """Summarise the values of one run or more."""
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, tuple(values))


@dataclass(frozen=True)
class TableRow:
    """One architecture.

    Attributes
    ----------
    arch : str
        Its name.
    runs : int
        Number of finished runs.
    figures : mapping of str to Figure
        `SCORES`, ``dice_best``, ``jaccard_best``, ``prediction_s`` and ``training_s``.
    cost : Cost
        Parameters and arithmetic.
    thesis : Published or None
        The values of the thesis; None if it has none, or tests on other sections.
    """

    arch: str
    runs: int
    figures: Mapping[str, Figure]
    cost: Cost
    thesis: Published | None


@dataclass(frozen=True)
class Table:
    """The results of a comparison so far.

    Attributes
    ----------
    title, budget, protocol : str
        What is compared, with which share of the recipe's schedule, and how it is tested.
    notes : tuple of str
        Explanations of the figures.
    rows : tuple of TableRow
        In the order of the configuration, for each architecture with a finished run.
    runs : tuple of RunScore
        Every finished run.
    planned : int
        Number of all runs.
    config : CompareConfig
        The configuration.
    """

    title: str
    budget: str
    protocol: str
    notes: tuple[str, ...]
    rows: tuple[TableRow, ...]
    runs: tuple[RunScore, ...]
    planned: int
    config: CompareConfig

    @property
    def progress(self) -> str:
        """How many runs are finished; empty when all are."""
        done = len(self.runs)
        return "" if done == self.planned else f"So far: {done} of {self.planned} runs."


def make_table(
    config: CompareConfig, protocol: str, costs: Mapping[str, Cost], runs: Sequence[RunScore]
) -> Table:
    """Summarise the runs that are finished.

    Parameters
    ----------
    config : CompareConfig
        The configuration.
    protocol : str
        The protocol in words.
    costs : mapping of str to Cost
        By architecture.
    runs : sequence of RunScore
        The finished runs, at least one.

    Returns
    -------
    Table
        With a row for each architecture that has a finished run.
    """
    # The thesis tested on the dataset's test sections; folds are tested on others.
    published = {} if config.folds else thesis.TABLES.get(config.dataset, {})
    by_arch = {arch: [run for run in runs if run.arch == arch] for arch in config.archs}
    rows = tuple(
        _make_row(arch, found, costs[arch], published.get(arch))
        for arch, found in by_arch.items()
        if found
    )
    return Table(
        title=describe_title(config),
        budget=describe_budget(config),
        protocol=protocol,
        notes=tuple(_notes(config, rows, runs)),
        rows=rows,
        runs=tuple(runs),
        planned=len(config.archs) * config.seeds * (config.folds or 1),
        config=config,
    )


def _make_row(
    arch: str, runs: Sequence[RunScore], cost: Cost, published: Published | None
) -> TableRow:
    figures = {
        name: Figure.from_values([run.scores[name] for run in runs])
        for name in (*SCORES, "dice_best")
    }
    figures["jaccard_best"] = Figure.from_values(
        [_jaccard(run.scores["dice_best"]) for run in runs]
    )
    figures["prediction_s"] = Figure.from_values([run.prediction_s for run in runs])
    figures["training_s"] = Figure.from_values([run.training_s for run in runs])
    return TableRow(arch, len(runs), figures, cost, published)


def _jaccard(dice: float) -> float:
    """Turn Dice, 2J / (1 + J), into the Jaccard index J of the same overlap."""
    return dice / (2 - dice)


def describe_title(config: CompareConfig) -> str:
    """Say what is compared, on what."""
    return f"{', '.join(config.archs)} on {config.dataset}, recipe {config.recipe.name}"


def describe_budget(config: CompareConfig) -> str:
    """Say which share of the recipe's schedule was trained."""
    whole, epochs = config.recipe.epochs, config.epochs
    if epochs == whole:
        return f"The whole schedule: {format_count(epochs, 'epoch')}."
    return (
        f"Budget {config.budget:g}: {epochs} of {whole} epochs. "
        "These are not the figures of the whole recipe."
    )


def _notes(config: CompareConfig, rows: Sequence[TableRow], runs: Sequence[RunScore]) -> list[str]:
    over = f"{config.seeds} seeds" if config.seeds > 1 else "1 seed"
    if config.folds:
        over += f" x {config.folds} folds"
    rows_px, columns_px = rows[0].cost.side_px
    trained_with, predicted_with, versions = (
        "; ".join(sorted({getattr(run, name) for run in runs}))
        for name in ("trained_with", "predicted_with", "version")
    )
    notes = [
        f"Mean ± standard deviation (n - 1, none for a single run) over {over}.",
        "V_Rand and V_Info are the official script's, each at its own best threshold of 0, 0.1 "
        "... 1 over the tested sections; Dice, Jaccard and membrane Dice are at threshold 0.5.",
        f"GFLOP: of one section as the network sees it, {rows_px}x{columns_px}, 2 operations for "
        "each multiply-add. Seconds a section: prediction from file to file.",
        f"Trained on {trained_with}; predicted on {predicted_with}; sfseg {versions}.",
    ]
    notes += ["Gaps in the predicted membranes were closed (--close-gaps)."] * config.close_gaps
    return notes + [thesis.NOTE] * any(row.thesis for row in rows)


def as_dict(table: Table) -> dict[str, Any]:
    """Return a table as plain values, not rounded, in the order of the JSON output."""
    config = table.config
    return {
        "version": __version__,
        "title": table.title,
        "budget": {"asked": config.budget, "epochs": config.epochs, "of": config.recipe.epochs},
        "protocol": table.protocol,
        "notes": [table.budget, *table.notes],
        "finished_runs": len(table.runs),
        "planned_runs": table.planned,
        "rows": [dataclasses.asdict(row) for row in table.rows],
        "runs": [dataclasses.asdict(run) for run in table.runs],
        "config": {**dataclasses.asdict(config), "out": str(config.out)},
    }


def to_json(table: Table) -> str:
    """Write a table as JSON; see `as_dict`."""
    return json.dumps(as_dict(table), indent=2, allow_nan=False)
