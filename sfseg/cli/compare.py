"""`sfseg compare`: architectures under one recipe, in a table beside the thesis'."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import (
    require_architectures,
    require_data_dir,
    require_dataset,
    require_device_name,
)
from sfseg.cli.console import print_result, say
from sfseg.cli.options import (
    INPUT,
    LEARNING,
    NETWORK,
    OUTPUT,
    QUALITY,
    CompileOption,
    DataDirOption,
    DeviceOption,
    TrainingPrecisionOption,
    complete_architecture_lists,
    complete_datasets,
    complete_recipes,
)
from sfseg.cli.progress import ProgressDisplay, progress
from sfseg.cli.resume import is_given, read_asked
from sfseg.cli.signals import Stop
from sfseg.cli.train_report import Course
from sfseg.comparison.run_folder import refuse_taken
from sfseg.config import COMPARISON_NAME, CompareConfig
from sfseg.recipes import Recipe, find_recipe
from sfseg.training.command import command_to_resume
from sfseg.training.run_folder import PAGE
from sfseg.types import format_count, format_time

if TYPE_CHECKING:
    from sfseg.comparison.results import RunScore
    from sfseg.comparison.runs import Stage
    from sfseg.training.progress import EpochRecord, StepRecord

DEFAULTS = CompareConfig(out=Path("runs"))

EXAMPLES = """
sfseg compare --dataset isbi2012 --data-dir data -d cuda
sfseg compare --archs unet,sfnet --seeds 1 --budget 0.1    a quick look
sfseg compare --resume -o runs/compare-default-isbi2012    continue
"""


def compare(
    ctx: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Dataset of `sfseg fetch --list`.",
            rich_help_panel=INPUT,
            autocompletion=complete_datasets,
        ),
    ] = DEFAULTS.dataset,
    data_dir: DataDirOption = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Cross-validate inside the training sections, in N blocks of neighbouring "
            "sections; the test sections are not used. [default: test on the test sections]",
            rich_help_panel=INPUT,
        ),
    ] = DEFAULTS.folds,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder of the comparison. [default: runs/compare-RECIPE-DATA]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the comparison in --out, with its own options; architectures and "
            "seeds may be added.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON instead of Markdown.", rich_help_panel=OUTPUT),
    ] = False,
    archs: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Architectures, separated by commas.",
            rich_help_panel=NETWORK,
            autocompletion=complete_architecture_lists,
        ),
    ] = ",".join(DEFAULTS.archs),
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="default or thesis; on piriform, thesis means thesis-piriform.",
            rich_help_panel=LEARNING,
            autocompletion=complete_recipes,
        ),
    ] = DEFAULTS.recipe.name,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Train each architecture N times, with the seeds 0, 1, 2 ...",
            rich_help_panel=LEARNING,
        ),
    ] = DEFAULTS.seeds,
    budget: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Train this share of the recipe's epochs; the table says so.",
            rich_help_panel=LEARNING,
        ),
    ] = DEFAULTS.budget,
    close_gaps: Annotated[
        bool,
        typer.Option(
            "--close-gaps",
            help="Predict with --close-gaps; the table says so.",
            rich_help_panel=QUALITY,
        ),
    ] = False,
    device: DeviceOption = DEFAULTS.device,
    precision: TrainingPrecisionOption = DEFAULTS.precision,
    compile_: CompileOption = False,
) -> None:
    """Compare architectures under one recipe, and print a table beside the thesis'.

    Each is trained on all training sections, without looking at the test. Its last weights predict
    the test sections in a single pass, scored as the challenge does. The table has mean and
    standard deviation over the seeds. It is in the folder as table.md, table.json and table.png,
    updated after each run, and in report.html, which shows the comparison while it runs.
    """
    chosen = pick_recipe(recipe, dataset)
    out = out or default_folder(chosen, dataset, budget, folds, close_gaps=close_gaps)
    options = {
        "archs": tuple(name.strip() for name in archs.split(",") if name.strip()),
        "recipe": chosen,
        "dataset": dataset,
        "data_dir": data_dir,
        "seeds": seeds,
        "budget": budget,
        "folds": folds,
        "device": device,
        "precision": precision,
        "close_gaps": close_gaps,
        "compile": compile_,
    }
    kept = read_asked(out / COMPARISON_NAME, CompareConfig) if resume else None
    if kept is not None:
        names = {"compile": "compile_"}
        options = {k: v for k, v in options.items() if is_given(ctx, names.get(k, k))}
    config = dataclasses.replace(
        kept or CompareConfig(out),
        **options | {"out": out, "resume": resume},  # type: ignore[arg-type]
    )
    require_architectures(config.archs)
    require_device_name(config.device)
    require_dataset(config.dataset)
    require_data_dir(config.data_dir)
    refuse_taken(config)
    from sfseg.comparison import compare as verb

    setup = verb.prepare(config)
    say(describe_comparison(config))
    say(f"to watch it in a browser: {config.out / PAGE}")
    stop = Stop(command_to_resume("compare", config.out))
    try:
        with stop.listening(), progress("comparing") as bar:
            result = verb.compare_prepared(
                setup, report=reporter(bar, stop), say=say, stop=stop.event, on_start=stop.arm
            )
    except SystemExit:  # a signal during a test
        say_stopped(config, stop)
        raise
    if not result.finished:
        say_stopped(config, stop)
        raise typer.Exit(stop.exit_code)
    say(f"{config.out}: {PAGE}, table.md, table.json, table.png")
    table = config.out / ("table.json" if as_json else "table.md")
    print_result(table.read_text(encoding="utf-8").rstrip("\n"))


def say_stopped(config: CompareConfig, stop: Stop) -> None:
    """Say the command that continues, if anything has begun."""
    begun = (config.out / COMPARISON_NAME).is_file()
    say(f"stopped; to continue: {stop.resume_with}" if begun else "stopped")


def pick_recipe(name: str, dataset: str) -> Recipe:
    """Find a recipe; the thesis has another for mouse piriform cortex, without augmentation."""
    is_other = (name, dataset) == ("thesis", "piriform")
    return find_recipe("thesis-piriform" if is_other else name)


def default_folder(
    recipe: Recipe, dataset: str, budget: float, folds: int | None, *, close_gaps: bool
) -> Path:
    """Name a comparison by all that its runs have in common."""
    name = f"compare-{recipe.name}-{dataset}"
    name += f"-budget{budget:g}" if budget != DEFAULTS.budget else ""
    name += f"-folds{folds}" if folds else ""
    return Path("runs") / (name + "-closed" * close_gaps)


def describe_comparison(config: CompareConfig) -> str:
    """Say what is compared, how many training runs that is, and where it goes."""
    count = len(config.archs) * config.seeds * (config.folds or 1)
    runs = format_count(count, "training run")
    return (
        f"comparing {', '.join(config.archs)} on {config.dataset}: {runs} "
        f"of {config.epochs} of {config.recipe.epochs} epochs, "
        f"into {config.out}; recipe {config.recipe.name}"
    )


def reporter(
    bar: ProgressDisplay, stop: Stop
) -> "Callable[[Stage | StepRecord | EpochRecord | RunScore], None]":
    """Show the steps as progress, and print a line for each run."""
    from sfseg.comparison.results import RunScore
    from sfseg.comparison.runs import Stage
    from sfseg.training.progress import EpochRecord, StepRecord

    where, course = "", Course()

    def report(record: "Stage | StepRecord | EpochRecord | RunScore") -> None:
        nonlocal where, course
        if isinstance(record, Stage):
            stop.has_state = False  # until the training begins there is nothing to save
            course = Course()
            where = f"{record.number}/{record.total} {record.run}"
            bar.update(0, None, f"{where}: {record.doing}")
        elif isinstance(record, StepRecord):
            course.show_step(bar, record, f"{where}: ")
        elif isinstance(record, EpochRecord):
            course.add_epoch(record)
        elif isinstance(record, RunScore):
            say(f"{where}: {describe_score(record)}")

    return report


def describe_score(score: "RunScore") -> str:
    """Say in a line how a run ended."""
    found = score.scores
    return (
        f"V_Rand {found['v_rand']:.4f} (threshold {found['v_rand_threshold']:.1f}), "
        f"V_Info {found['v_info']:.4f}, Dice {found['dice']:.4f}, "
        f"trained in {format_time(score.training_s)}"
    )
