"""`sfseg score`: the official numbers, as a table or JSON."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import require_inputs, require_stack_name
from sfseg.cli.cluster import DaskOption, require_dask, share_on
from sfseg.cli.console import print_result, say
from sfseg.cli.help import describe_call
from sfseg.cli.options import (
    INPUT,
    MACHINE,
    OUTPUT,
    AxesOption,
    IgnoreOption,
    JsonOption,
    LabelAxesOption,
    LabelsAreOption,
    MapMaxOption,
    MembraneValueOption,
    OverwriteOption,
    PixelSizeOption,
    ThresholdLabelsOption,
)
from sfseg.cli.progress import ProgressDisplay, progress
from sfseg.cli.score_cells import (
    BorderOption,
    CellFiles,
    CellOutputs,
    SegmentsOption,
    WorstOption,
    are_for_cells,
    print_cell_scores,
)
from sfseg.cli.score_report import format_json, format_tables
from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.system.files import suggest_quotes
from sfseg.types import Progress

if TYPE_CHECKING:
    from sfseg.cli.score_report import Scored

PAGES = (".html", ".htm")

EXAMPLES = """
sfseg score map.tif labels.tif
sfseg score map.tif labels.tif --sections 25-30 --errors errors.tif
sfseg score map.tif labels.tif --report score.html --image stack.tif
sfseg score cells.tif true-cells.tif    numbers of cells, in 3D
"""


def score(
    ctx: typer.Context,
    predictions: Annotated[
        list[str],
        typer.Argument(
            metavar="PREDICTION...",
            help="Interior probability: a TIFF, a folder or a pattern. Several are compared.",
        ),
    ],
    truth: Annotated[
        str,
        typer.Argument(
            metavar="TRUTH", help="Labels, 0 = membrane: a TIFF, a folder or a pattern."
        ),
    ],
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Score only these sections, e.g. 25-30; the first one is 1.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    invert: Annotated[
        bool,
        typer.Option(
            "--invert",
            help="The prediction is high on membranes: invert it.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    invert_labels: Annotated[
        bool,
        typer.Option(
            "--invert-labels",
            help="The labels are high on membranes: invert them.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    map_max: MapMaxOption = None,
    labels_are: LabelsAreOption = "interior",
    membrane_value: MembraneValueOption = None,
    threshold_labels: ThresholdLabelsOption = None,
    ignore: IgnoreOption = None,
    axes: AxesOption = None,
    label_axes: LabelAxesOption = None,
    segments: SegmentsOption = False,
    border: BorderOption = None,
    pixel_size: PixelSizeOption = None,
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write where the prediction is wrong, as a label image (.tif or .zarr): 1 merges, "
            "2 splits, 3 cells merged into a larger one, 4 parts cut off; of cells, 3 and 4.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page for the web browser (.html): scores, curves, and all sections with "
            "the errors drawn in them.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="STACK",
            help="The grey values under the map or the cells, for the page.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    worst: WorstOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "--jobs",
            min=1,
            metavar="N",
            help="Sections that are scored at a time, of maps; the result is the same. Each takes "
            "memory. [default: one for each processor, at most 8]",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    dask: DaskOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a prediction against labels, exactly as the ISBI 2012 challenge does.

    V_Rand and V_Info after border thinning, each the best over the thresholds 0, 0.1 ... 1. In
    both files 1 = inside a cell, 0 = membrane.

    If both files hold the numbers of cells: variation of information and adapted Rand error, in 3D.
    """
    inputs = [*predictions, truth, *([image] if image else [])]
    require_inputs(inputs)
    for_maps = {
        "--invert": invert,
        "--invert-labels": invert_labels,
        "--map-max": map_max is not None,
        "--labels-are": labels_are == "membrane",
        "--membrane-value": membrane_value is not None,
        "--threshold-labels": threshold_labels is not None,
    }
    require_outputs(errors, report, inputs, overwrite=overwrite)
    require_dask(dask)
    if dask is not None and workers is not None:
        raise OptionError(
            "--workers: it does not work with --dask, whose workers have their own threads",
            hint="leave --workers out; dask worker --nthreads sets the threads",
        )
    files = CellFiles(predictions, truth, ignore, axes, label_axes)
    segments = are_for_cells(
        files, for_maps, segments=segments, border=border, pixel_size=pixel_size, worst=worst
    )
    require_fitting(
        predictions, errors=errors, report=report, image=image, axes=axes, labels=segments
    )
    if segments:
        outputs = CellOutputs(errors, report, image, describe_call(ctx), overwrite, worst)
        with share_on(dask, can_resume=False) as share:
            print_cell_scores(
                files, sections, border, pixel_size, outputs, share=share, as_json=as_json
            )
        return
    from sfseg.scoring.score_files import score_files
    from sfseg.system.threads import ordered

    scored: list[Scored] = []
    with share_on(dask, can_resume=False) as share:
        for prediction in predictions:
            say(f"scoring {prediction} against {truth}")
            with progress(f"reading {prediction}") as bar, hint_at_pattern(predictions):

                def told(what: str, bar: ProgressDisplay = bar) -> Progress:
                    return lambda done, total: bar.update(
                        done, total, f"{what}, {done} of {total} sections done"
                    )

                one = score_files(
                    prediction,
                    truth,
                    sections=sections,
                    invert=invert,
                    invert_labels=invert_labels,
                    map_max=map_max,
                    labels_are=labels_are,
                    membrane_value=membrane_value,
                    threshold_labels=threshold_labels,
                    ignore=ignore,
                    axes=axes,
                    label_axes=label_axes,
                    workers=workers,
                    share=share or ordered,
                    progress=told(f"scoring {prediction}"),
                )
                is_searched = errors is not None or report is not None
                found = None
                if is_searched:
                    found = one.find_errors(share=share or ordered, progress=told("finding errors"))
            for warning in one.warnings:
                say(f"warning: {warning}")
            scored.append((one, found))
    if errors is not None and (found := scored[0][1]):
        found.write(errors, overwrite=overwrite)
        say(f"errors drawn in {errors}")
    if report is not None:
        write_page(report, scored, image, axes, describe_call(ctx), overwrite=overwrite)
    print_result(format_json(scored) if as_json else format_tables(scored))


def require_outputs(
    errors: Path | None, report: Path | None, inputs: Sequence[str], *, overwrite: bool
) -> None:
    """Refuse outputs that exist, are inputs, or have a name of another kind of file."""
    from sfseg.io.outputs import require_output

    if errors is not None:
        require_stack_name("--errors", errors, "uint8")
        require_output(errors, inputs, overwrite=overwrite)
    if report is not None:
        if report.suffix.lower() not in PAGES:
            raise OptionError(
                f"--report: the name of a page ends in .html, not {report.name}",
                hint=f"--report {report.with_suffix('.html')}",
            )
        require_output(report, inputs, overwrite=overwrite)


def require_fitting(
    predictions: Sequence[str],
    *,
    errors: Path | None,
    report: Path | None,
    image: str | None,
    axes: str | None,
    labels: bool,
) -> None:
    """Refuse options that do not go together, and grey values of another size than the map.

    `labels` says whether the predictions are read as numbers of cells.
    """
    if errors is not None and len(predictions) > 1:
        raise OptionError(
            f"--errors: it draws the errors of one file, not of {len(predictions)}",
            hint="score one file at a time, or write a page: --report score.html",
        )
    if image is None:
        return
    if report is None:
        raise OptionError("--image: the grey values are for a page", hint="add --report score.html")
    from sfseg.io import open_stack

    with (
        open_stack(image, axes=axes) as grey,
        open_stack(predictions[0], axes=axes, labels=labels) as found,
    ):
        if grey.shape[1:] != found.shape[1:]:
            raise ShapeMismatchError(
                f"{image}: the shape {grey.shape} does not match {predictions[0]}, {found.shape}",
                hint="give --image the stack that was predicted from",
            )


@contextlib.contextmanager
def hint_at_pattern(predictions: Sequence[str]) -> Iterator[None]:
    """Where several maps do not fit, a shell may have replaced a pattern by names: say so."""
    try:
        yield
    except ShapeMismatchError as error:
        hint = suggest_quotes(predictions) if len(predictions) > 1 else None
        if hint is None:
            raise
        raise ShapeMismatchError(str(error).splitlines()[0], hint=hint) from error


def write_page(
    path: Path,
    scored: "Sequence[Scored]",
    image: str | None,
    axes: str | None,
    command: str,
    *,
    overwrite: bool,
) -> None:
    """Write the page of the scored maps."""
    from sfseg.io import open_stack
    from sfseg.report.score_page import Judged, write_score_page

    judged = [Judged(one, errors) for one, errors in scored if errors]
    grey = open_stack(image, axes=axes) if image else None
    with progress(f"writing {path}"), grey or contextlib.nullcontext():
        notes = write_score_page(path, judged, image=grey, command=command, overwrite=overwrite)
    say(f"page for the web browser: {path}")
    for note in notes:
        say(note)
