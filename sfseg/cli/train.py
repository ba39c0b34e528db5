"""`sfseg train`: a network from a dataset or the user's own stacks."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.console import ProgressDisplay, format_time, print_result, progress, say
from sfseg.cli.options import AxesOption, CompileOption, DeviceOption, TrainingPrecisionOption
from sfseg.cli.signals import Stop, describe_stop
from sfseg.config import DEFAULT_DATASET, TrainConfig
from sfseg.recipes import FINETUNE, STUDENT, Augmentation, Recipe, find_recipe
from sfseg.types import LabelKind

if TYPE_CHECKING:
    from sfseg.training.progress import EpochRecord, StepRecord

DEFAULTS = TrainConfig(out=Path("runs"))


def train(
    arch: Annotated[
        str | None,
        typer.Option(help="sfnet, fusionnet or unet. [default: sfnet, or that of --init]"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="default, finetune, student, thesis or thesis-piriform (the thesis to the "
            "letter). [default: default; finetune with --init, student with --teacher]"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="A dataset of `sfseg fetch --list`, split as usual. [default: isbi2012]"),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Your own data: a stack, or a folder or pattern of stacks or images; "
            "needs --labels."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels of --images: a stack, or a folder or pattern of like names."),
    ] = None,
    labels_are: Annotated[
        LabelKind, typer.Option(help="What is not 0 in --labels: cells, membranes, or cell ids.")
    ] = DEFAULTS.labels_are,
    sections: Annotated[
        str | None,
        typer.Option(
            help="Sections to train on, as in 1-24; numbered through all stacks. "
            "[default: the split's, or all]"
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Sections held out of them, or none. [default: the recipe's share]"),
    ] = None,
    axes: AxesOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from weights: a shipped name, a file, or a training's folder. The recipe "
            "is then finetune: six epochs, a quarter of the learning rate. Lower "
            "--learning-rate further where the first epochs are worse than the start."
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="Learn also from sections without labels, marked by these weights; give it "
            "several times for their mean. The recipe is then student."
        ),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(help="Stack without labels for --teacher. [default: the dataset's]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="[default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="[default: the recipe's]")] = None,
    patch: Annotated[
        int | None, typer.Option(min=32, help="Side of patches in pixels. [default: the recipe's]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="[default: the recipe's]")
    ] = None,
    augmentation: Annotated[
        Augmentation | None, typer.Option(help="[default: the recipe's]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = DEFAULTS.seed,
    device: DeviceOption = DEFAULTS.device,
    precision: TrainingPrecisionOption = DEFAULTS.precision,
    compile_: CompileOption = False,
    half: Annotated[
        bool, typer.Option("--half", help="Store float16 kernels: half the file.")
    ] = False,
    save_every: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Save the state so often, besides after each epoch."
        ),
    ] = DEFAULTS.save_every_s,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder. [default: runs/ARCH-DATA]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training in that folder stopped.")
    ] = False,
) -> None:
    """Train a network and print the path of its weights.

    Beside the weights lie history.csv, curves.png, config.json and the state that --resume needs.
    """
    from sfseg.training import train as verb

    arch = arch or default_arch(init)
    config = TrainConfig(
        out=out or default_folder(arch, dataset, images),
        arch=arch,
        recipe=(find_recipe(recipe) if recipe else default_recipe(init, teacher)).changed(
            epochs=epochs,
            batch_size=batch_size,
            patch_px=patch,
            learning_rate=learning_rate,
            augmentation=augmentation,
        ),
        dataset=dataset,
        images=images,
        labels=labels,
        labels_are=labels_are,
        sections=sections,
        validation=validation,
        axes=axes,
        init=init,
        teachers=tuple(teacher or ()),
        unlabelled=unlabelled,
        seed=seed,
        device=device,
        precision=precision,
        compile=compile_,
        half=half,
        resume=resume,
        save_every_s=save_every,
    )
    verb.prepare(config)
    say(describe_run(config))
    stop = Stop()
    with stop.listening(), progress("training") as bar:
        result = verb.train(
            config, report=reporter(bar), say=say, stop=stop.event, on_start=stop.arm
        )
    if not result.finished:
        say(describe_stop(result.step))
        raise typer.Exit(stop.exit_code)
    print_result(result.weights)


def default_recipe(init: str | None, teacher: list[str] | None) -> Recipe:
    """Choose the recipe for what a network starts from and learns from."""
    return FINETUNE if init else STUDENT if teacher else DEFAULTS.recipe


def describe_run(config: TrainConfig) -> str:
    """Say what is trained, on which device, and where to."""
    from sfseg.system.devices import describe, pick_device, pick_dtype

    device = pick_device(config.device)
    where = describe(device, pick_dtype(config.precision, device))
    origin = f" from {config.init}" if config.init else ""
    return f"{config.arch}{origin}, recipe {config.recipe.name}, on {where}, into {config.out}"


def reporter(bar: ProgressDisplay) -> "Callable[[StepRecord | EpochRecord], None]":
    """Show steps on the bar and print a line for each epoch."""
    from sfseg.training.progress import EpochRecord

    def report(record: "StepRecord | EpochRecord") -> None:
        if isinstance(record, EpochRecord):
            say(describe_epoch(record))
        else:
            bar.update(record.step, record.steps, describe_step(record), record.seconds_left)

    return report


def default_arch(init: str | None) -> str:
    """Take the architecture of the weights to start from."""
    if init is None:
        return DEFAULTS.arch
    from sfseg.models.weights import load_header

    return load_header(init).arch


def default_folder(arch: str, dataset: str | None, images: str | None) -> Path:
    """Name a run by its architecture and its data."""
    if images is None:
        return Path("runs") / f"{arch}-{dataset or DEFAULT_DATASET}"
    source = Path(images)
    name = source.parent.name if any(c in source.name for c in "*?[") else source.stem
    return Path("runs") / f"{arch}-{name or 'own'}"


def describe_step(record: "StepRecord") -> str:
    """Say in a few words how training goes."""
    best = "" if record.best_v_rand is None else f" best V_Rand {record.best_v_rand:.4f}"
    return (
        f"epoch {record.epoch}/{record.epochs} loss {record.loss:.4f} "
        f"lr {record.learning_rate:.1e}{best}"
    )


def describe_epoch(record: "EpochRecord") -> str:
    """Say in a line how an epoch ended."""
    line = f"epoch {record.epoch}: loss {record.loss:.4f}"
    if record.v_rand is not None:
        line += (
            f", V_Rand {record.v_rand:.4f} (threshold {record.v_rand_threshold:.1f}), "
            f"V_Info {record.v_info:.4f}, Dice {record.dice:.4f}"
        )
    return f"{line}, {format_time(record.seconds)}"
