"""`sfseg train`: a network from a dataset or the user's own stacks."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from sfseg.cli.checks import (
    require_architectures,
    require_data_dir,
    require_dataset,
    require_device_name,
    require_inputs,
    require_weights,
)
from sfseg.cli.console import print_result, say
from sfseg.cli.options import (
    INPUT,
    LEARNING,
    NETWORK,
    OUTPUT,
    AxesOption,
    CompileOption,
    DataDirOption,
    DeviceOption,
    IgnoreOption,
    InvertOption,
    LabelAxesOption,
    LabelsAreOption,
    MembraneValueOption,
    PixelSizeOption,
    RescaleOption,
    ThresholdLabelsOption,
    TrainingPrecisionOption,
    complete_architectures,
    complete_datasets,
    complete_models,
    complete_recipes,
)
from sfseg.cli.progress import progress
from sfseg.cli.resume import is_given, resumed_config
from sfseg.cli.signals import Stop, describe_stop
from sfseg.cli.train_report import describe_kept, describe_run, reporter
from sfseg.config import DEFAULT_DATASET, TrainConfig
from sfseg.recipes import FINETUNE, STUDENT, Augmentation, Recipe, find_recipe
from sfseg.training.command import command_to_resume
from sfseg.training.run_folder import PAGE, refuse_taken
from sfseg.types import parse_pixel_size

DEFAULTS = TrainConfig(out=Path("runs"))

PARAMETERS = {
    "teachers": "teacher",
    "compile": "compile_",
    "save_every_s": "save_every",
    "pixel_size_nm": "pixel_size",
}
"""The parameters of `train` that have another name than their field of `TrainConfig`."""

EXAMPLES = """
sfseg train --dataset isbi2012 --data-dir data
sfseg train --images stack.tif --labels labels.tif -o runs/mine
sfseg train --images stack.tif --labels labels.tif --init sfnet-isbi2012
sfseg train --resume -o runs/mine       continue after an interruption
"""


def train(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Dataset of `sfseg fetch --list`, with its usual split. [default: isbi2012]",
            rich_help_panel=INPUT,
            autocompletion=complete_datasets,
        ),
    ] = None,
    data_dir: DataDirOption = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Your own images: a stack, or a folder or pattern of stacks or images. Needs "
            "--labels.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Labels of --images: a stack, or a folder or pattern with the same names.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    labels_are: LabelsAreOption = DEFAULTS.labels_are,
    membrane_value: MembraneValueOption = None,
    threshold_labels: ThresholdLabelsOption = None,
    ignore: IgnoreOption = None,
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Sections to train on, e.g. 1-24. The numbers of several stacks continue from "
            "one to the next. [default: those of the split, or all]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Sections to hold out of them for validation, or none. [default: the recipe's "
            "share]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    axes: AxesOption = None,
    label_axes: LabelAxesOption = None,
    invert_image: InvertOption = False,
    pixel_size: PixelSizeOption = None,
    rescale: RescaleOption = DEFAULTS.rescale,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Stack without labels for --teacher. [default: that of the dataset]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder of the training run. [default: runs/ARCH-DATA]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the training run in --out, with its own options.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    save_every: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Save the state every N seconds, and after each epoch.",
            rich_help_panel=OUTPUT,
        ),
    ] = DEFAULTS.save_every_s,
    half: Annotated[
        bool,
        typer.Option(
            "--half",
            help="Store the weights as float16: half the file size.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Architecture: sfnet, fusionnet or unet. [default: sfnet, or that of --init]",
            rich_help_panel=NETWORK,
            autocompletion=complete_architectures,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Start from weights: a shipped name, a file, or the folder of a training run. The "
            "recipe is then finetune: six epochs, a quarter of the learning rate. If the first "
            "epochs are worse than the start, lower --learning-rate.",
            rich_help_panel=NETWORK,
            autocompletion=complete_models,
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Learn also from sections without labels, marked by these weights. Repeat the "
            "option for the mean of several. The recipe is then student.",
            rich_help_panel=NETWORK,
            autocompletion=complete_models,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How to train: default, finetune, student, thesis or thesis-piriform (exactly "
            "as in the thesis). [default: default; finetune with --init, student with --teacher]",
            rich_help_panel=LEARNING,
            autocompletion=complete_recipes,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Passes over the training sections. [default: the recipe's]",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Patches in a step. [default: the recipe's]",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            min=32,
            metavar="PIXELS",
            help="Side of the patches. [default: the recipe's]",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="RATE",
            help="Largest rate of the schedule. [default: the recipe's]",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    augmentation: Annotated[
        Augmentation | None,
        typer.Option(
            metavar="KIND",
            help="How patches are varied: none, eightfold (the 8 orientations) or full. "
            "[default: the recipe's]",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Seed of all randomness.", rich_help_panel=LEARNING),
    ] = DEFAULTS.seed,
    device: DeviceOption = DEFAULTS.device,
    precision: TrainingPrecisionOption = DEFAULTS.precision,
    compile_: CompileOption = False,
) -> None:
    """Train a network and print the path of its weights.

    The folder also gets report.html, which shows the run in a browser while it goes on;
    history.csv, curves.png, config.json, and the state for --resume.
    """
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "patch_px": patch,
        "learning_rate": learning_rate,
        "augmentation": augmentation,
    }
    chosen = {
        "arch": arch,
        "dataset": dataset,
        "data_dir": data_dir,
        "images": images,
        "labels": labels,
        "labels_are": labels_are,
        "membrane_value": membrane_value,
        "threshold_labels": threshold_labels,
        "ignore": ignore,
        "sections": sections,
        "validation": validation,
        "axes": axes,
        "label_axes": label_axes,
        "invert_image": invert_image,
        "pixel_size_nm": parse_pixel_size(pixel_size),
        "rescale": rescale,
        "init": init,
        "teachers": tuple(teacher or ()),
        "unlabelled": unlabelled,
        "seed": seed,
        "device": device,
        "precision": precision,
        "compile": compile_,
        "half": half,
        "save_every_s": save_every,
    }
    folder = out or default_folder(arch or DEFAULTS.arch, dataset, images)
    if resume:
        given = {k: v for k, v in chosen.items() if is_given(ctx, PARAMETERS.get(k, k))}
        config = resumed_config(folder, given, recipe, changes)
    else:
        chosen["arch"] = arch or DEFAULTS.arch
        start = find_recipe(recipe) if recipe else default_recipe(init, teacher)
        config = dataclasses.replace(
            TrainConfig(folder),
            **chosen | {"recipe": start.changed(**changes)},
        )
    require_names(config)
    if out or not init:
        refuse_taken(config)
    if init and not arch and not resume:
        config = take_arch(config, out)
    from sfseg.training import train as verb

    setup = verb.prepare(config)
    say(describe_run(setup))
    say(f"to watch it in a browser: {config.out / PAGE}")
    resume_with = command_to_resume("train", config.out)
    stop = Stop(resume_with)
    with stop.listening(), progress("training") as bar:
        result = verb.train_prepared(
            setup, report=reporter(bar), say=say, stop=stop.event, on_start=stop.arm
        )
    for line in describe_kept(result):
        say(line)
    if not result.finished:
        say(describe_stop(result.step, resume_with))
        raise typer.Exit(stop.exit_code)
    print_result(result.weights)


def require_names(config: TrainConfig) -> None:
    """Refuse, before torch is imported, what is not there.

    Raises
    ------
    SfsegError, OSError
        If a name is unknown or a file or folder is missing.
    """
    require_architectures([config.arch])
    require_device_name(config.device)
    require_weights(name for name in (config.init, *config.teachers) if name is not None)
    if config.dataset_name:
        require_dataset(config.dataset_name)
        require_data_dir(config.data_dir)
    require_inputs(source for source in (config.images, config.labels, config.unlabelled) if source)


def default_recipe(init: str | None, teacher: list[str] | None) -> Recipe:
    """Choose the recipe for what a network starts from and learns from."""
    return FINETUNE if init else STUDENT if teacher else DEFAULTS.recipe


def take_arch(config: TrainConfig, out: Path | None) -> TrainConfig:
    """Take the architecture of the weights to start from; it is part of the default folder."""
    from sfseg.models.weights import load_header

    arch = load_header(str(config.init)).arch
    folder = out or default_folder(arch, config.dataset, config.images)
    return dataclasses.replace(config, arch=arch, out=folder)


def default_folder(arch: str, dataset: str | None, images: str | None) -> Path:
    """Name a run by its architecture and its data."""
    if images is None:
        return Path("runs") / f"{arch}-{dataset or DEFAULT_DATASET}"
    source = Path(images)
    name = source.parent.name if any(c in source.name for c in "*?[") else source.stem
    return Path("runs") / f"{arch}-{name or 'own'}"
