"""`sfseg predict`: membrane maps of stacks of any size."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.console import (
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    ProgressDisplay,
    format_time,
    print_result,
    progress,
    say,
    say_error,
)
from sfseg.cli.options import AxesOption, DeviceOption
from sfseg.config import Averaging, EngineChoice, Output, OutputDtype, Precision, PredictConfig
from sfseg.errors import OptionError
from sfseg.types import same_scale, voxel_as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfseg.models.weights import Header
    from sfseg.prediction.predict import Failure, Model, PredictResult, TileRecord

DEFAULTS = PredictConfig()
SMALLEST_TILE_PX = 16
WORTH_TELLING_S = 30


def predict(
    inputs: Annotated[list[str], typer.Argument(help="Stacks: files, folders or globs.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="A .tif or .zarr: the input, be it a folder of sections, is one stack. Else a "
            "folder: each input file is a stack of its own and keeps its name there.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Name of shipped weights, a weights file, or a run's folder.")
    ] = DEFAULTS.model,
    device: DeviceOption = DEFAULTS.device,
    engine: Annotated[
        EngineChoice,
        typer.Option(help="What runs the network; auto is torch."),
    ] = DEFAULTS.engine,
    precision: Annotated[
        Precision,
        typer.Option(help="Arithmetic; auto is bf16 where it is fast and agrees with float32."),
    ] = DEFAULTS.precision,
    tta: Annotated[
        Averaging,
        typer.Option(
            help="Average over 4 flips or all 8 orientations: better, and as many times slower."
        ),
    ] = DEFAULTS.tta,
    close_gaps: Annotated[
        bool,
        typer.Option(
            "--close-gaps",
            help="Close gaps in membranes that go on to either side of them: fewer cells run into "
            "one. Holds a whole section in memory.",
        ),
    ] = False,
    output: Annotated[
        Output, typer.Option(help="What to write: probability, binary (255/0) or segments (ids).")
    ] = DEFAULTS.output,
    dtype: Annotated[
        OutputDtype | None, typer.Option(help="Type of written probabilities. [default: float32]")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="For binary and segments. [default: 0.5]"),
    ] = None,
    tile: Annotated[
        str,
        typer.Option(
            help="auto: whole sections, or tiles as large as memory allows. Or the side of a tile "
            "in pixels, without its halo.",
        ),
    ] = "auto",
    memory: Annotated[
        float | None,
        typer.Option(
            min=1, help="GiB that may be taken. [default: three quarters of what is available]"
        ),
    ] = DEFAULTS.memory_gib,
    axes: AxesOption = DEFAULTS.axes,
    multiscale: Annotated[
        bool, typer.Option("--multiscale", help="Write a pyramid; for a .zarr.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with an interrupted run; leave alone what is finished."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print facts as JSON, not paths.")
    ] = False,
) -> None:
    """Predict the interior probability of stacks: 1 = inside a cell, 0 = membrane."""
    from sfseg.prediction import predict as verb
    from sfseg.prediction.jobs import make_jobs
    from sfseg.system.files import cache_folder

    if output == "probability" and threshold is not None:
        raise OptionError(
            "--threshold: expected --output binary or segments with it, found probability",
            hint="probabilities are written as they are",
        )
    if output != "probability" and dtype is not None:
        raise OptionError(
            f"--dtype: expected --output probability with it, found {output}",
            hint="binary is uint8 and segments are int32",
        )
    if multiscale and out.suffix.lower() != ".zarr":
        raise OptionError(
            f"--multiscale: expected an output that ends in .zarr, found {out}",
            hint="-o map.zarr",
        )
    config = PredictConfig(
        model=model,
        device=device,
        engine=engine,
        precision=precision,
        tta=tta,
        close_gaps=close_gaps,
        output=output,
        dtype=dtype or DEFAULTS.dtype,
        threshold=DEFAULTS.threshold if threshold is None else threshold,
        tile_px=parse_tile(tile),
        memory_gib=memory,
        axes=axes,
        multiscale=multiscale,
        resume=resume,
        overwrite=overwrite,
    )
    jobs = make_jobs(inputs, out, overwrite=overwrite, resume=resume)
    ready = verb.Model.load(config, memory=cache_folder() / "engines.json")
    say(describe_model(config, ready))
    results: list[PredictResult | Failure] = []
    with progress("predicting") as bar:
        for result in verb.predict_files(jobs, ready, config, report=reporter(bar), say=say):
            results.append(result)
            say_result(result, ready.header)
            if isinstance(result, verb.PredictResult) and not as_json:
                print_result(result.job.output)
    if as_json:
        print_result(json.dumps([as_dict(result) for result in results], indent=2))
    failures = [result for result in results if isinstance(result, verb.Failure)]
    done = len(results) - len(failures)
    if failures:
        if len(results) > 1:
            say(f"{done} done, {len(failures)} failed")
            for failure in failures:
                say(f"  {failure.job.source}: {reason_of(failure)}")
        raise typer.Exit(EXIT_SOME_FAILED if done else EXIT_ERROR)


def parse_tile(text: str) -> int | None:
    """Read ``--tile``: auto, or a number of pixels."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < SMALLEST_TILE_PX:
        raise OptionError(
            f"--tile: expected auto or a number from {SMALLEST_TILE_PX} on, found {text!r}",
            hint="--tile 512",
        )
    return int(text)


def describe_model(config: PredictConfig, model: "Model") -> str:
    """Say which network runs on which device, by which engine and in which arithmetic."""
    from sfseg.system.devices import describe

    engine = model.engine
    where = describe(engine.device, engine.dtype, engine.name)
    notice = f"\nwarning: {model.choice.notice}" if model.choice.notice else ""
    return f"{config.model} ({model.header.arch}) on {where}{notice}"


def reporter(bar: ProgressDisplay) -> "Callable[[TileRecord], None]":
    """Say what is going to be done, show it on the bar, and once how long it may take."""
    first = 0

    def report(record: "TileRecord") -> None:
        nonlocal first
        if record.seconds_left is None:
            first = record.done + 1
            say(f"{record.source}: {record.description}")
            say(str(record.plan))
            if record.done:
                say(f"going on after {record.done} of {record.total} tiles")
        elif record.done == first and record.seconds_left > WORTH_TELLING_S:
            say(f"about {format_time(record.seconds_left)}")
        note = f"{Path(record.source).name} {record.done}/{record.total}"
        bar.update(record.done, record.total, note, record.seconds_left)

    return report


def say_result(result: "PredictResult | Failure", header: "Header") -> None:
    """Tell on stderr how one input went."""
    from sfseg.prediction.predict import Failure

    if isinstance(result, Failure):
        say_error(result.error)
        return
    if result.resumed == result.tiles:
        say(f"{result.job.output}: was done before")
    else:
        say(f"{result.job.output}: done in {result.seconds:.1f} s")
    if result.voxel_size_nm is None:
        say("no voxel size in the file: none written")
    elif header.voxel_size_nm and not same_scale(result.voxel_size_nm, header.voxel_size_nm):
        say(
            f"warning: pixels of {result.voxel_size_nm[2]:g} nm, but the network was trained on "
            f"{header.voxel_size_nm[2]:g} nm: resample the input for a better result"
        )
    if result.blank_sections:
        say(f"warning: blank (one grey value throughout): {result.blank_sections} of its sections")
    if not 0.01 < result.interior_share < 0.99:
        say(
            f"warning: {result.interior_share:.1%} of it is predicted as interior: "
            "is the input an EM image with dark membranes?"
        )


def reason_of(failure: "Failure") -> str:
    """Say in a line why an input could not be predicted."""
    text = str(failure.error).partition("\nhint: ")[0]
    return " ".join(text.removeprefix(f"{failure.job.source}: ").split())


def as_dict(result: "PredictResult | Failure") -> dict[str, Any]:
    """Turn a result into JSON."""
    from sfseg.prediction.predict import Failure

    job = {"input": result.job.source, "output": str(result.job.output)}
    if isinstance(result, Failure):
        return {**job, "error": str(result.error)}
    return {
        **job,
        "shape": result.shape,
        "voxel_size_nm": voxel_as_json(result.voxel_size_nm),
        "interior_share": result.interior_share,
        "blank_sections": result.blank_sections,
        "seconds": result.seconds,
        "stages": result.stages,
        "pieces": result.tiles,
        "resumed": result.resumed,
    }
