"""`sfseg train`: a network from a dataset or the user's own stacks."""

import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.console import on_signals, progress, say
from sfseg.config import DEFAULT_DATASET, Precision, TrainConfig, find_recipe
from sfseg.terms import LabelKind

if TYPE_CHECKING:
    from sfseg.trainer import EpochRecord, StepRecord

DEFAULTS = TrainConfig(out=Path("runs"))


def train(
    arch: Annotated[str, typer.Option(help="sfnet, fusionnet or unet.")] = DEFAULTS.arch,
    recipe: Annotated[
        str, typer.Option(help="default, or thesis: section 4.1 of the thesis to the letter.")
    ] = DEFAULTS.recipe.name,
    dataset: Annotated[
        str | None,
        typer.Option(help="A dataset of `sfseg fetch --list`, split as usual. [default: isbi2012]"),
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Your own stack instead of a dataset; needs --labels.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Labels of --images.")] = None,
    labels_are: Annotated[
        LabelKind, typer.Option(help="What is not 0 in --labels: cells, membranes, or cell ids.")
    ] = DEFAULTS.labels_are,
    sections: Annotated[
        str | None, typer.Option(help="Sections to train on, as in 1-24. [default: the split's]")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Sections held out of them, or none. [default: the first eighth]"),
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="Axes of files whose metadata are silent, as in ZYX.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="[default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="[default: the recipe's]")] = None,
    patch: Annotated[
        int | None, typer.Option(min=16, help="Side of patches in pixels. [default: the recipe's]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="[default: the recipe's]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = DEFAULTS.seed,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N or mps; never falls back in silence.")
    ] = DEFAULTS.device,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic; auto is bf16 where the hardware has it.")
    ] = DEFAULTS.precision,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Faster steps after a minute; needs a C++ compiler.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Store float16 kernels: half the file.")
    ] = False,
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
    from sfseg import train as verb
    from sfseg.engines import describe_device, pick_device
    from sfseg.trainer import EpochRecord

    overrides: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "patch_px": patch,
        "learning_rate": learning_rate,
    }
    given = {name: value for name, value in overrides.items() if value is not None}
    config = TrainConfig(
        out=out or default_folder(arch, dataset, images),
        arch=arch,
        recipe=dataclasses.replace(find_recipe(recipe), **given),
        dataset=dataset,
        images=images,
        labels=labels,
        labels_are=labels_are,
        sections=sections,
        validation=validation,
        axes=axes,
        seed=seed,
        device=device,
        precision=precision,
        compile=compile_,
        half=half,
        resume=resume,
    )
    say(f"{arch}, recipe {recipe}, on {describe_device(pick_device(device))}, into {config.out}")
    stop, code = threading.Event(), 0

    def stop_soon(exit_code: int) -> None:
        nonlocal code
        if stop.is_set():
            raise KeyboardInterrupt
        code = exit_code
        stop.set()
        say("stopping after this step; once more to stop at once")

    with on_signals(stop_soon), progress("training") as bar:

        def report(record: "StepRecord | EpochRecord") -> None:
            if isinstance(record, EpochRecord):
                say(describe_epoch(record))
            else:
                bar.update(record.step, record.steps, describe_step(record))

        result = verb.train(config, report=report, stop=stop)
    if not result.finished:
        say(f"stopped; --resume --out {config.out} goes on")
        raise typer.Exit(code)
    typer.echo(result.weights)


def default_folder(arch: str, dataset: str | None, images: str | None) -> Path:
    """Name a run by its architecture and its data."""
    data = dataset or (Path(images).stem if images else DEFAULT_DATASET)
    return Path("runs") / f"{arch}-{data}"


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
    return f"{line}, {record.seconds:.0f} s"
