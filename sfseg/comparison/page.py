"""``report.html`` in the folder of a comparison, written again and again while it runs."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfseg.comparison.markdown import HEADINGS, measured_cells, printed_cells
from sfseg.comparison.results import RunScore
from sfseg.comparison.runs import Run, Stage
from sfseg.comparison.table import SCORES, TableRow, describe_budget, describe_title
from sfseg.report.compare_page import ComparisonFacts, Group, RunLine, write_compare_page
from sfseg.report.status import Outcome, Status
from sfseg.training.command import command_to_resume
from sfseg.training.live_page import LivePage
from sfseg.training.progress import EpochRecord, StepRecord
from sfseg.training.run_folder import HISTORY, PAGE
from sfseg.types import Say, format_time

if TYPE_CHECKING:
    from sfseg.comparison.compare import Comparison

DRAWN = ("v_rand", "dice")
"""The scores of which the thesis has a value, too."""


class ComparisonPage(LivePage):
    """The page of a comparison.

    Parameters
    ----------
    comparison : Comparison
        The comparison.
    say : callable
        Called with a warning, once, if the page cannot be written.
    """

    def __init__(self, comparison: "Comparison", say: Say) -> None:
        super().__init__(say)
        self._comparison = comparison
        self._stage: Stage | None = None
        self._step: StepRecord | None = None

    def update(self, record: Stage | StepRecord | EpochRecord | RunScore) -> None:
        """Write the page when a run begins, is tested or is done, or when it is time to."""
        if isinstance(record, Stage):
            self._stage, self._step = record, None
        if isinstance(record, StepRecord):
            self._step = record
        self.write_if_due(is_news=isinstance(record, Stage | RunScore))

    def write_page(self, outcome: Outcome, error: str) -> None:
        """Write the page."""
        comparison = self._comparison
        facts = collect_facts(comparison, self._status(outcome, error), self._states(outcome))
        write_compare_page(comparison.config.out / PAGE, facts)

    def _status(self, outcome: Outcome, error: str) -> Status:
        comparison = self._comparison
        done, total = len(comparison.scores), len(comparison.runs)
        text = f"{done} of {total} runs are done."
        if outcome == "running" and self._stage:
            text += f" Now {self._stage.run}: {self._describe_stage(self._stage)}."
        if error:
            text += f" It ended with: {error}"
        resume_with = command_to_resume("compare", comparison.config.out)
        return Status(outcome, text, done, total, resume_with, time.time())

    def _describe_stage(self, stage: Stage) -> str:
        """Say what the running run does."""
        if stage.doing == "test":
            return "it predicts the test sections"
        if self._step is None:
            return "its training begins"
        step = self._step
        left = format_time(step.seconds_left)
        return f"epoch {step.epoch} of {step.epochs}, about {left} of its training left"

    def _states(self, outcome: Outcome) -> dict[str, str]:
        """Say of the run that has begun last what it does."""
        if self._stage is None or outcome == "finished":
            return {}
        return {self._stage.run: self._stage.doing if outcome == "running" else outcome}


def collect_facts(
    comparison: "Comparison", status: Status, states: Mapping[str, str]
) -> ComparisonFacts:
    """Collect all that the page says.

    Parameters
    ----------
    comparison : Comparison
        The comparison.
    status : Status
        How far it is.
    states : mapping of str to str
        What runs that are not finished do, by name.
    """
    table, config = comparison.table, comparison.config
    rows = table.rows if table else ()
    return ComparisonFacts(
        title=describe_title(config),
        budget=describe_budget(config),
        protocol=comparison.protocol,
        notes=table.notes if table else (),
        status=status,
        headings=HEADINGS,
        rows=[row for each in rows for row in _cells(each)],
        names=[row.arch for row in rows],
        panels={SCORES[name]: [_group(row, name) for row in rows] for name in DRAWN if rows},
        costs=[(row.cost.flop / 1e9, row.cost.parameters / 1e6) for row in rows],
        losses=_read_losses(config.out, config.archs, comparison.runs),
        run_headings=(*SCORES.values(), "training, min"),
        runs=[
            _run_line(config.out, run, comparison.scores.get(run), states)
            for run in comparison.runs
        ],
    )


def _cells(row: TableRow) -> list[tuple[bool, Sequence[str]]]:
    """Return the lines of the table for one network, and whether they are of the thesis."""
    cells: list[tuple[bool, Sequence[str]]] = [(False, measured_cells(row))]
    if row.thesis:
        cells.append((True, printed_cells(row.arch, row.thesis)))
    return cells


def _group(row: TableRow, name: str) -> Group:
    figure = row.figures[name]
    thesis = {"v_rand": row.thesis.v_rand, "dice": row.thesis.dice}[name] if row.thesis else None
    return Group(figure.values, figure.mean, figure.sd, thesis)


def _read_losses(
    out: Path, archs: Sequence[str], runs: Sequence[Run]
) -> dict[str, dict[str, list[float]]]:
    """Read the losses of all runs that have begun, by architecture and run."""
    losses: dict[str, dict[str, list[float]]] = {arch: {} for arch in archs}
    for run in runs:
        path = out / run.name / HISTORY
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                found = [float(row["loss"]) for row in csv.DictReader(file)]
            if found:
                losses[run.arch][run.name] = found
    return losses


def _run_line(out: Path, run: Run, score: RunScore | None, states: Mapping[str, str]) -> RunLine:
    """Describe one run, and where its own page is."""
    page = f"{run.name}/{PAGE}" if (out / run.name / PAGE).is_file() else ""
    if score is None:
        return RunLine(run.name, states.get(run.name, "not done"), page, ())
    figures = [f"{score.scores[name]:.4f}" for name in SCORES]
    return RunLine(run.name, "finished", page, [*figures, f"{score.training_s / 60:.2f}"])
