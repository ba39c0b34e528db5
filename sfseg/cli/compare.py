"""`sfseg compare`: architectures under one recipe, in a table beside the thesis'."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.console import ProgressDisplay, format_time, print_result, progress, say
from sfseg.cli.options import CompileOption, DeviceOption, TrainingPrecisionOption
from sfseg.cli.signals import Stop, command_to_resume
from sfseg.cli.train import describe_step
from sfseg.config import CompareConfig
from sfseg.recipes import Recipe, find_recipe

if TYPE_CHECKING:
    from sfseg.comparison.results import RunScore
    from sfseg.comparison.runs import Stage
    from sfseg.training.progress import EpochRecord, StepRecord

DEFAULTS = CompareConfig(out=Path("runs"))


def compare(
    archs: Annotated[str, typer.Option(help="Architectures, with commas between them.")] = ",".join(
        DEFAULTS.archs
    ),
    recipe: Annotated[
        str, typer.Option(help="default or thesis (for piriform thesis-piriform is taken then).")
    ] = DEFAULTS.recipe.name,
    dataset: Annotated[
        str, typer.Option(help="A dataset of `sfseg fetch --list`.")
    ] = DEFAULTS.dataset,
    seeds: Annotated[
        int, typer.Option(help="Train each with the seeds 0, 1 ... up to so many.")
    ] = DEFAULTS.seeds,
    budget: Annotated[
        float, typer.Option(help="Share of the recipe's epochs; the table says so.")
    ] = DEFAULTS.budget,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Cross-validate by so many blocks of neighbouring sections inside the training "
            "part, and leave the test alone. [default: test on the dataset's test sections]"
        ),
    ] = DEFAULTS.folds,
    device: DeviceOption = DEFAULTS.device,
    precision: TrainingPrecisionOption = DEFAULTS.precision,
    close_gaps: Annotated[
        bool, typer.Option("--close-gaps", help="Predict with --close-gaps; the table says so.")
    ] = False,
    compile_: CompileOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder. [default: runs/compare-RECIPE-DATA]")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with it; architectures and seeds may be added."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of Markdown.")
    ] = False,
) -> None:
    """Compare architectures under one recipe, and print a table beside the thesis'.

    Each is trained on all training sections, without looking at the test; its last weights predict
    the test sections in a single pass, scored as the challenge does. Mean and standard deviation
    over the seeds. The folder has the table as table.md, table.json and table.png, rewritten after
    each run.
    """
    from sfseg.comparison import compare as verb

    chosen = pick_recipe(recipe, dataset)
    config = CompareConfig(
        out=out or default_folder(chosen, dataset, budget, folds, close_gaps=close_gaps),
        archs=tuple(name.strip() for name in archs.split(",") if name.strip()),
        recipe=chosen,
        dataset=dataset,
        seeds=seeds,
        budget=budget,
        folds=folds,
        device=device,
        precision=precision,
        close_gaps=close_gaps,
        compile=compile_,
        resume=resume,
    )
    verb.refuse_unusable(config)
    say(describe_comparison(config))
    stop = Stop()
    try:
        with stop.listening(), progress("comparing") as bar:
            result = verb.compare(
                config, report=reporter(bar, stop), say=say, stop=stop.event, on_start=stop.arm
            )
    except SystemExit:  # a signal in the midst of a test
        say_stopped(config)
        raise
    if not result.finished:
        say_stopped(config)
        raise typer.Exit(stop.exit_code)
    say(f"{config.out}: table.md, table.json, table.png")
    print_result((config.out / ("table.json" if as_json else "table.md")).read_text().rstrip("\n"))


def say_stopped(config: CompareConfig) -> None:
    """Say the command that goes on, if there is anything to go on with."""
    from sfseg.comparison.identity import IDENTITY_NAME

    begun = (config.out / IDENTITY_NAME).is_file()
    say(f"stopped; to go on: {command_to_resume()}" if begun else "stopped")


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
    """Say what is compared, how many trainings that is, and where it goes."""
    runs = len(config.archs) * config.seeds * (config.folds or 1)
    return (
        f"{', '.join(config.archs)}, recipe {config.recipe.name}, on {config.dataset}: {runs} "
        f"trainings of {config.epochs} of {config.recipe.epochs} epochs, into {config.out}"
    )


def reporter(
    bar: ProgressDisplay, stop: Stop
) -> "Callable[[Stage | StepRecord | EpochRecord | RunScore], None]":
    """Show steps on the bar and print a line for each run."""
    from sfseg.comparison.results import RunScore
    from sfseg.comparison.runs import Stage
    from sfseg.training.progress import StepRecord

    where = ""

    def report(record: "Stage | StepRecord | EpochRecord | RunScore") -> None:
        nonlocal where
        if isinstance(record, Stage):
            stop.has_state = False  # until the training begins there is nothing to save
            where = f"{record.number}/{record.total} {record.run}"
            bar.update(0, None, f"{where}: {record.doing}")
        elif isinstance(record, StepRecord):
            note = f"{where}: {describe_step(record)}"
            bar.update(record.step, record.steps, note, record.seconds_left)
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
