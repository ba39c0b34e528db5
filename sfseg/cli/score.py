"""`sfseg score`: the official numbers, as a table or JSON."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from sfseg.cli.checks import require_inputs
from sfseg.cli.cluster import DaskOption, require_dask, share_on
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
from sfseg.cli.score_cells import (
    BorderOption,
    SegmentsOption,
    WorstOption,
    are_for_cells,
    print_cell_scores,
)
from sfseg.cli.score_maps import print_map_scores
from sfseg.cli.score_outputs import ScoreFiles, ScoreOutputs, require_fitting, require_outputs
from sfseg.errors import OptionError

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
    files = ScoreFiles(predictions, truth, ignore, axes, label_axes)
    segments = are_for_cells(
        files, for_maps, segments=segments, border=border, pixel_size=pixel_size, worst=worst
    )
    require_fitting(
        predictions, errors=errors, report=report, image=image, axes=axes, labels=segments
    )
    outputs = ScoreOutputs(errors, report, image, describe_call(ctx), overwrite, worst)
    if segments:
        with share_on(dask, can_resume=False) as share:
            print_cell_scores(
                files, sections, border, pixel_size, outputs, share=share, as_json=as_json
            )
        return
    from sfseg.scoring.score_files import score_files

    judge = functools.partial(
        score_files,
        truth=truth,
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
    )
    with share_on(dask, can_resume=False) as share:
        print_map_scores(files, judge, outputs, share=share, as_json=as_json)
