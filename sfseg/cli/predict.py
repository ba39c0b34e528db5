"""`sfseg predict`: membrane maps of stacks of any size."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import require_device_name, require_inputs, require_weights
from sfseg.cli.console import (
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    print_result,
    say,
)
from sfseg.cli.options import (
    MACHINE,
    NETWORK,
    OUTPUT,
    QUALITY,
    AxesOption,
    DevicesOption,
    InvertOption,
    OverwriteOption,
    PixelSizeOption,
    RescaleOption,
    complete_models,
)
from sfseg.cli.predict_report import (
    as_dict,
    describe_estimate,
    describe_jobs,
    describe_model,
    estimate_as_dict,
    reason_of,
    reporter,
    say_result,
)
from sfseg.cli.previews import make_preview, plan_previews, suggest_view
from sfseg.cli.progress import progress
from sfseg.config import (
    EngineChoice,
    OutputDtype,
    OutputKind,
    PredictConfig,
    PredictPrecision,
    TestTimeAugmentation,
)
from sfseg.errors import BlocksError, OptionError
from sfseg.system.remote import as_location
from sfseg.types import parse_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfseg.prediction.backend import Backend
    from sfseg.prediction.jobs import Job
    from sfseg.prediction.predict import Failure
    from sfseg.prediction.run import PredictResult

DEFAULTS = PredictConfig()
SMALLEST_TILE_PX = 16
PARTS = "In parts, for an array job"
PLANNING = "Before a large stack"

EXAMPLES = """
sfseg predict stack.tif -o map.tif
sfseg predict sections/ -o map.zarr --tta d4    best quality, 8 times slower
sfseg predict fib.tif -o map.tif --planes       voxels as thick as wide
sfseg predict *.tif -o maps/ -m runs/mine       many stacks, your own network
"""


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUTS...", help="Stacks: files, folders or patterns."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="NAME.tif, NAME.mrc or NAME.zarr: all sections become one stack. A folder: one "
            "output for each input file, under the same name.",
            rich_help_panel=OUTPUT,
        ),
    ],
    output: Annotated[
        OutputKind,
        typer.Option(
            metavar="KIND",
            help="What to write: probability; binary (255 and 0); segments (a number for each "
            "cell of a section); or cells (numbers that continue through the stack).",
            rich_help_panel=OUTPUT,
        ),
    ] = DEFAULTS.output,
    dtype: Annotated[
        OutputDtype | None,
        typer.Option(
            metavar="TYPE",
            help="Type of the probabilities in the file: float32, uint16 or uint8. "
            "[default: float32]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="P",
            help="Pixels above this probability are inside a cell, for binary and segments. "
            "[default: 0.5]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    multiscale: Annotated[
        bool,
        typer.Option(
            "--multiscale",
            help="Write smaller copies as well, for fast viewing; for a .zarr.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write a picture of some sections as well: NAME.png, or a folder for several "
            "outputs.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an interrupted run; keep finished outputs.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Make only these sections of a .zarr, e.g. 1-500, while other processes make the "
            "others.",
            rich_help_panel=PARTS,
        ),
    ] = None,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Check that all sections are there, and give the .zarr its name.",
            rich_help_panel=PARTS,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing. Say what the work will take, after a trial of some seconds: "
            "bytes, and hours for 1, 10 and 100 machines like this one.",
            rich_help_panel=PLANNING,
        ),
    ] = False,
    price: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="MONEY",
            help="Price of an hour of such a machine: --dry-run then names the cost.",
            rich_help_panel=PLANNING,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print facts as JSON instead of paths.", rich_help_panel=OUTPUT
        ),
    ] = False,
    axes: AxesOption = DEFAULTS.axes,
    invert_image: InvertOption = DEFAULTS.invert_image,
    pixel_size: PixelSizeOption = None,
    rescale: RescaleOption = DEFAULTS.rescale,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Shipped weights by name, a weights file, or the folder of a training run.",
            rich_help_panel=NETWORK,
            autocompletion=complete_models,
        ),
    ] = DEFAULTS.model,
    tta: Annotated[
        TestTimeAugmentation,
        typer.Option(
            metavar="KIND",
            help="Average over orientations: none, flips (4) or d4 (8 orientations). More "
            "accurate, 4 or 8 times slower.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.tta,
    planes: Annotated[
        bool,
        typer.Option(
            "--planes",
            help="Average the maps of the planes along z, y and x, for voxels as thick as wide "
            "(FIB-SEM). More accurate, 3 times slower.",
            rich_help_panel=QUALITY,
        ),
    ] = False,
    close_gaps: Annotated[
        bool,
        typer.Option(
            "--close-gaps",
            help="Close short gaps in membranes, so that fewer cells merge. Holds a whole section "
            "in memory.",
            rich_help_panel=QUALITY,
        ),
    ] = False,
    device: DevicesOption = DEFAULTS.device,
    engine: Annotated[
        EngineChoice,
        typer.Option(
            metavar="NAME",
            help="Library that runs the network: auto, torch, compile or openvino; auto is torch.",
            rich_help_panel=MACHINE,
        ),
    ] = DEFAULTS.engine,
    precision: Annotated[
        PredictPrecision,
        typer.Option(
            metavar="TYPE",
            help="Arithmetic: float32, bf16, fp16 (GPUs), or auto for the fastest that agrees with "
            "float32. int8 is faster on CPUs with VNNI or AMX; calibrated on the first sections.",
            rich_help_panel=MACHINE,
        ),
    ] = DEFAULTS.precision,
    tile: Annotated[
        str,
        typer.Option(
            metavar="PIXELS",
            help="Side of a tile without its margin, or auto: whole sections, or tiles as large "
            "as memory allows.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto",
    memory: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="GIB",
            help="Memory to use at most. [default: three quarters of the free memory]",
            rich_help_panel=MACHINE,
        ),
    ] = DEFAULTS.memory_gib,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Predict on a Dask cluster: the address of its scheduler, tcp://host:8786, or "
            "local: a worker for each core or GPU of this machine. Writes a .zarr.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
) -> None:
    """Predict membrane maps of stacks: 1 = inside a cell, 0 = membrane."""
    out = as_location(out)
    if output in ("probability", "cells") and threshold is not None:
        other = "use sfseg segment" if output == "cells" else "add --output binary"
        raise OptionError(
            "--threshold only works with --output binary or segments",
            hint=f"leave --threshold out, or {other}",
        )
    if output not in ("probability", "cells") and dtype is not None:
        raise OptionError(
            f"--dtype only works with --output probability, not {output}",
            hint="leave --dtype out: binary is uint8, segments are int32",
        )
    if multiscale and out.suffix.lower() != ".zarr":
        raise OptionError(
            f"--multiscale only works with an output that ends in .zarr, not {out.name}",
            hint="-o map.zarr",
        )
    config = PredictConfig(
        model=model,
        device=device,
        engine=engine,
        precision=precision,
        tta=tta,
        planes=planes,
        close_gaps=close_gaps,
        output=output,
        dtype=dtype or DEFAULTS.dtype,
        threshold=DEFAULTS.threshold if threshold is None else threshold,
        tile_px=parse_tile(tile),
        memory_gib=memory,
        axes=axes,
        invert_image=invert_image,
        pixel_size_nm=parse_pixel_size(pixel_size),
        rescale=rescale,
        multiscale=multiscale,
        sections=sections,
        finish=finish,
        resume=resume,
        overwrite=overwrite,
    )
    if sections and preview:
        raise OptionError(
            "--preview: a part of the sections has no picture", hint="add --preview to --finish"
        )
    require_device_name(device, several=True)
    require_weights([model])
    require_inputs(inputs)
    from sfseg.prediction.jobs import make_jobs

    jobs = make_jobs(inputs, out, overwrite=overwrite, resume=resume)
    if dask is not None:
        from sfseg.cluster.checks import require_address, require_possible

        require_address(dask)
        require_possible(jobs, config)
    pictures = {}
    if preview is not None:
        pictures = plan_previews(jobs, preview, overwrite=overwrite or resume)
    if config.is_in_parts:
        from sfseg.prediction.parts_checks import require_parts

        require_parts(out, config)
    if dry_run or price is not None:
        if dask is not None:
            say("the trial runs on this machine, not on the workers of --dask")
        plan_work(jobs, config, price, dry_run=dry_run, as_json=as_json)
        return
    say(describe_jobs(jobs, config))
    from sfseg.prediction.predict import Failure

    results: list[PredictResult | Failure] = []
    for result in _results(jobs, config, dask):
        results.append(result)
        say_result(result)
        if isinstance(result, Failure):
            continue
        if pictures:
            make_preview(result.job, pictures[result.job.output], config)
        if not (as_json or sections):  # a part is no output yet
            print_result(result.job.output)
    if as_json:
        print_result(json.dumps([as_dict(result) for result in results], indent=2))
    failures = [result for result in results if isinstance(result, Failure)]
    done = len(results) - len(failures)
    if done and preview is None and not sections:
        job = next(result.job for result in results if not isinstance(result, Failure))
        say(f"to look at it: {suggest_view(job, config)}")
    if failures:
        if len(results) > 1:
            say(f"{done} done, {len(failures)} failed")
            for failure in failures:
                say(f"  {failure.job.source}: {reason_of(failure)}")
        in_part = any(isinstance(failure.error, BlocksError) for failure in failures)
        raise typer.Exit(EXIT_SOME_FAILED if done or in_part else EXIT_ERROR)


@contextlib.contextmanager
def load_backend(config: PredictConfig, dask: str | None) -> "Iterator[Backend]":
    """Load the network in this process, or on the workers of a cluster, and say so."""
    if dask is None:
        from sfseg.prediction.model import Model

        model = Model.load(config)
        say(describe_model(config, model))
        yield model
        return
    from sfseg.cluster.connect import connect

    with connect(dask, device=config.device) as cluster:
        from sfseg.cluster.predict import ClusterModel

        loaded = ClusterModel.load(cluster, config, say=say)
        say(f"{config.model} ({loaded.header.arch}) on {cluster.describe()}")
        yield loaded


def _results(
    jobs: "Sequence[Job]", config: PredictConfig, dask: str | None
) -> "Iterator[PredictResult | Failure]":
    """Predict the stacks, or make one of its parts; show the progress."""
    if config.finish:
        from sfseg.prediction.parts import finish_job

        yield from (finish_job(job, config, say=say) for job in jobs)
        return
    from sfseg.prediction.predict import predict_files

    with progress(f"loading {config.model}") as bar, load_backend(config, dask) as model:
        yield from predict_files(jobs, model, config, report=reporter(bar), say=say)


def plan_work(
    jobs: "Sequence[Job]",
    config: PredictConfig,
    price: float | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Print what the work will take."""
    if not dry_run:
        raise OptionError("--price: it is for a plan", hint="add --dry-run")
    if config.finish:
        raise OptionError("--dry-run: it does not work with --finish", hint="leave one of them out")
    from sfseg.prediction.estimate import estimate_job
    from sfseg.prediction.model import Model

    with progress(f"loading {config.model}"):
        model = Model.load(config)
        say(describe_model(config, model))
        found = []
        for job in jobs:
            say(f"trying {job.source}")
            found.append(estimate_job(job, model, config, say=say))
    if as_json:
        print_result(json.dumps([estimate_as_dict(each, price) for each in found], indent=2))
    else:
        print_result("\n".join(describe_estimate(each, price) for each in found))


def parse_tile(text: str) -> int | None:
    """Read ``--tile``: auto, or a number of pixels."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < SMALLEST_TILE_PX:
        raise OptionError(
            f"--tile: must be auto or a number from {SMALLEST_TILE_PX} up, not {text!r}",
            hint="--tile 512",
        )
    return int(text)
