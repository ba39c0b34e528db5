"""Compare architectures: train each with one recipe and several seeds, predict, score, tabulate.

Every run is a folder of `sfseg train` with its score beside the weights. So an interrupted
comparison continues where it stopped.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sfseg import __version__
from sfseg.comparison import markdown, plot, table
from sfseg.comparison.costs import cost_of
from sfseg.comparison.page import ComparisonPage
from sfseg.comparison.protocol import (
    DataSplit,
    TestSet,
    describe_protocol,
    make_splits,
    write_test_set,
)
from sfseg.comparison.results import RunScore, read_score, write_score
from sfseg.comparison.run_folder import refuse_other, refuse_taken, write_config
from sfseg.comparison.run_setup import CompareSetup
from sfseg.comparison.runs import Run, Stage, training_of
from sfseg.comparison.table import Table
from sfseg.config import CompareConfig, PredictConfig
from sfseg.datasets.fetch import fetch
from sfseg.errors import NonFiniteError
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.scoring.score_files import score_files
from sfseg.system import devices, files, locks
from sfseg.training.progress import EpochRecord, StepRecord
from sfseg.training.run_folder import STATE
from sfseg.training.train import Save, TrainResult, train
from sfseg.types import Say, both

MAP_NAME = "map.tif"


@dataclass(frozen=True)
class CompareResult:
    """The result of a comparison.

    Attributes
    ----------
    folder : Path
        With ``table.md``, ``table.json``, ``table.png``, ``report.html``, and a folder for each
        run.
    table : Table or None
        Of the finished runs; None if there is none.
    finished : bool
        False if it was stopped; ``resume`` continues it.
    """

    folder: Path
    table: Table | None
    finished: bool


OnProgress = Callable[[Stage | StepRecord | EpochRecord | RunScore], None]
OnStart = Callable[[Save], None]


def compare(
    config: CompareConfig,
    *,
    report: OnProgress = lambda _: None,
    say: Say = lambda _: None,
    stop: threading.Event | None = None,
    on_start: OnStart = lambda _: None,
) -> CompareResult:
    """Train, predict and score each architecture with each seed, and write the table.

    All architectures are run with one seed before the next seed, so the table is soon complete. It
    is written again after each run. The state of a training run is removed after its test.

    Parameters
    ----------
    config : CompareConfig
        The architectures, the recipe, the dataset, and the folder to write to.
    report : callable
        Called with a `Stage` before each training run and each test, with the records that `train`
        reports, and with a `RunScore` after each run.
    say : callable
        Called with lines of text: the dataset, the training data, and warnings; no line twice.
    stop : threading.Event, optional
        When it is set, the training run saves its state and the comparison returns.
    on_start : callable
        Called before the first step of each training run with the function that saves its state;
        see `sfseg.training.train.train`.

    Returns
    -------
    CompareResult
        The folder, and the table.

    Raises
    ------
    OutputExistsError
        If the folder holds a comparison and ``config.resume`` is False, or another comparison runs
        in it.
    CheckpointError, ResumeError
        If there is nothing to resume, or it was started with other options, which are named.
    SfsegError, OSError
        As fetching, training, predicting and scoring do. Finished runs are kept.
    """
    return compare_prepared(prepare(config), report=report, say=say, stop=stop, on_start=on_start)


def compare_prepared(
    setup: CompareSetup,
    *,
    report: OnProgress,
    say: Say,
    stop: threading.Event | None,
    on_start: OnStart,
) -> CompareResult:
    """Compare with the result of `prepare`; parameters and errors as those of `compare`."""
    config, say = setup.config, _once(say)
    folder = fetch(setup.dataset, to=config.data_dir, say=say)
    splits = make_splits(setup.dataset, folder, config.folds)
    with locks.only_one(config.out / "compare.lock", "comparison"):
        _refuse_folder(setup)  # again: another comparison may have started since
        write_config(config, setup.identity)
        comparison = Comparison(setup, folder, splits)
        page = ComparisonPage(comparison, say)
        with page.kept_up(lambda: comparison.is_finished):
            telling = both(report, page.update)
            finished = comparison.run(telling, say, stop or threading.Event(), on_start)
        return CompareResult(config.out, comparison.table, finished)


def prepare(config: CompareConfig) -> CompareSetup:
    """Resolve a configuration; refuse, before any work, what cannot succeed.

    Raises
    ------
    DeviceError, OptionError, UnknownNameError
        As `CompareSetup.from_config` does.
    OutputExistsError, CheckpointError, ResumeError, OutputError
        As `refuse_taken` and `refuse_other` do.
    """
    setup = CompareSetup.from_config(config)
    _refuse_folder(setup)
    return setup


def _refuse_folder(setup: CompareSetup) -> None:
    """Refuse a folder that holds a comparison, except the one to resume."""
    refuse_taken(setup.config)
    if setup.config.resume:
        refuse_other(setup.config, setup.identity)


def _once(say: Say) -> Say:
    """Say each line only once: else each run would repeat the licence of the dataset."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


class Comparison:
    """A running comparison: its runs, and the scores of the finished ones.

    Parameters
    ----------
    setup : CompareSetup
        The resolved configuration.
    folder : Path
        The folder of the dataset.
    splits : sequence of DataSplit
        The sections to train on and to test on.
    """

    def __init__(self, setup: CompareSetup, folder: Path, splits: Sequence[DataSplit]) -> None:
        self.setup = setup
        self.config = config = setup.config
        self.protocol = describe_protocol(setup.dataset, splits)
        self.test_sets = {
            split: write_test_set(split, setup.dataset, folder, config.out) for split in splits
        }
        shape = self.test_sets[splits[0]].shape
        self.costs = {arch: cost_of(arch, config.recipe, shape) for arch in config.archs}
        order = product(range(config.seeds), splits, config.archs)
        self.runs = [Run(arch, seed, split) for seed, split, arch in order]
        found = {run: read_score(config.out / run.name) for run in self.runs}
        self.scores = {run: score for run, score in found.items() if score is not None}

    @property
    def is_finished(self) -> bool:
        """Whether all runs are done."""
        return all(run in self.scores for run in self.runs)

    @property
    def table(self) -> Table | None:
        """The table so far; None if no run is finished."""
        finished = [self.scores[run] for run in self.runs if run in self.scores]
        if not finished:
            return None
        return table.make_table(self.config, self.protocol, self.costs, finished)

    def run(self, report: OnProgress, say: Say, stop: threading.Event, on_start: OnStart) -> bool:
        """Do the runs that are left; return whether all are done.

        Raises
        ------
        NonFiniteError
            If a run diverged; the others are done first.
        """
        self.write_table()
        diverged: NonFiniteError | None = None
        for number, run in enumerate(self.runs, start=1):
            if run in self.scores:
                files.remove(self.config.out / run.name / STATE)  # a kill may have left it there
                continue
            report(Stage(run.name, number, len(self.runs), "train"))
            try:
                trained = self.train_run(run, report, say, stop, on_start)
            except NonFiniteError as error:
                say(f"warning: {run.name}: {error.message}")
                diverged = error
                continue
            if not trained.finished or stop.is_set():
                return False
            report(Stage(run.name, number, len(self.runs), "test"))
            self.scores[run] = self.score_run(run, trained)
            report(self.scores[run])
            self.write_table()
        if diverged:
            raise diverged
        return True

    def train_run(
        self, run: Run, report: OnProgress, say: Say, stop: threading.Event, on_start: OnStart
    ) -> TrainResult:
        """Train the network of a run, or continue its training."""
        out = self.config.out / run.name
        begun = (out / STATE).is_file()
        if not begun:
            files.remove(out)  # a run without a state cannot be continued
        options = training_of(run, self.config, resume=begun)
        return train(options, report=report, say=say, stop=stop, on_start=on_start)

    def score_run(self, run: Run, trained: TrainResult) -> RunScore:
        """Predict and score the test sections of a run, and write the score."""
        config, out, test_set = self.config, self.config.out / run.name, self.test_sets[run.split]
        options = PredictConfig(
            model=str(trained.weights),
            rescale="none",  # the test sections have the pixels of the dataset
            device=config.device,
            precision=config.precision,
            close_gaps=config.close_gaps,
            overwrite=True,
        )
        model = Model.load(options)
        predicted = predict_job(Job(str(test_set.volume), out / MAP_NAME), model, options)
        score = RunScore(
            arch=run.arch,
            seed=run.seed,
            fold=run.split.fold,
            trained_on=model.header.data,
            tested_on=test_set.sections,
            version=__version__,
            epochs=config.epochs,
            training_s=trained.history[-1].seconds,
            prediction_s=predicted.seconds / len(test_set.sections),
            trained_with=devices.describe(self.setup.device, self.setup.dtype),
            predicted_with=devices.describe(
                self.setup.device, model.engine.dtype, model.engine.name
            ),
            scores=_scores(out / MAP_NAME, test_set),
        )
        write_score(out, score)
        files.remove(out / STATE)  # FusionNet's is over 1 GB
        return score

    def write_table(self) -> None:
        """Write ``table.md``, ``table.json`` and ``table.png``, if a run is finished."""
        made, out = self.table, self.config.out
        if made is not None:
            files.write_text(out / "table.md", markdown.to_markdown(made) + "\n", overwrite=True)
            files.write_text(out / "table.json", table.to_json(made) + "\n", overwrite=True)
            plot.write_picture(out / "table.png", made)


def _scores(prediction: Path, test_set: TestSet) -> dict[str, Any]:
    """Score as `sfseg score` does, with the section numbers of the dataset."""
    scores = score_files(prediction, test_set.labels).as_dict()
    numbered = zip(scores["per_section"], test_set.sections, strict=True)
    scores["per_section"] = [{**row, "section": section} for row, section in numbered]
    return scores
