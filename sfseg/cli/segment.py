"""`sfseg segment`: cells that continue from section to section, out of a membrane map."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import require_inputs, require_stack_name
from sfseg.cli.cluster import DaskOption, require_dask, share_on
from sfseg.cli.console import print_result, say
from sfseg.cli.options import MACHINE, OUTPUT, QUALITY, AxesOption, MapMaxOption, OverwriteOption
from sfseg.cli.progress import progress
from sfseg.config import LinkMethod, SegmentConfig, SegmentMethod

if TYPE_CHECKING:
    from sfseg.segmentation.costs import CellCosts

DEFAULTS = SegmentConfig()
CORRECTIONS = "Corrections"

EXAMPLES = """
sfseg segment map.tif -o cells.tif
sfseg segment map.tif -o cells.zarr --beta 0.6    more and smaller cells
sfseg segment map.tif -o cells.tif --learn-from known_map.tif known_cells.tif
sfseg segment map.tif -o corrected.tif --merge 3,7 --split 12@4,100,200
"""


def segment(
    probability: Annotated[
        str,
        typer.Argument(
            metavar="MAP", help="Interior probability, as predict writes it: a file or a folder."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write; ends in .tif or .zarr.",
            rich_help_panel=OUTPUT,
        ),
    ],
    method: Annotated[
        SegmentMethod,
        typer.Option(
            help="multicut joins small parts where the membrane between them is weak; components "
            "takes all that is connected above the threshold.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.method,
    link: Annotated[
        LinkMethod,
        typer.Option(
            help="graph continues cells from section to section; none does not.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.link,
    beta: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="For multicut: above 0.5 there are more and smaller cells, below it fewer and "
            "larger ones.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.beta,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Pixels with a higher interior probability belong to a cell.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.threshold,
    min_size: Annotated[
        int,
        typer.Option(
            metavar="VOXELS",
            help="Join smaller cells with a neighbour.",
            rich_help_panel=QUALITY,
        ),
    ] = DEFAULTS.min_size,
    fill: Annotated[
        bool,
        typer.Option(
            "--fill", help="Grow cells over the membranes between them.", rich_help_panel=OUTPUT
        ),
    ] = DEFAULTS.fill,
    learn_from: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="MAP CELLS",
            help="Learn which parts are one cell from another map, and the true ids of its cells.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Cells A and B of the output are one; repeat the option for more.",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID@SECTION,Y,X",
            help="The part of cell ID around this place is another cell; repeat the option for "
            "more.",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="A file of corrections with the columns edit, cell, other, section, y, x.",
            rich_help_panel=CORRECTIONS,
        ),
    ] = None,
    map_max: MapMaxOption = None,
    axes: AxesOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads; the result is the same. [default: one for each processor]",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    dask: DaskOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=OUTPUT),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print facts as JSON instead of the name.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Find the cells in a membrane map, and follow them through the stack.

    Writes an id for each pixel: 0 = membrane, else the number of its cell, the same in all
    sections.
    """
    config = SegmentConfig(
        method=method,
        link=link,
        threshold=threshold,
        beta=beta,
        min_size=min_size,
        fill=fill,
        map_max=map_max,
        axes=axes,
        workers=workers,
        resume=resume,
        overwrite=overwrite,
    )
    require_inputs([probability, *(learn_from or ())])
    require_stack_name("-o", out, "uint32")
    require_dask(dask)
    from sfseg.io.outputs import require_output

    require_output(out, [probability, *(learn_from or ())], overwrite=overwrite)
    from sfseg.segmentation.edits import Edit, parse_merge, parse_split, read_edits

    corrections: list[Edit] = read_edits(edits) if edits else []
    corrections += [*map(parse_merge, merge or []), *map(parse_split, split or [])]
    say(f"segmenting {probability}")
    from sfseg.segmentation.segment import segment_file

    costs = _learn(learn_from, config) if learn_from else None
    with progress(f"reading {probability}") as bar, share_on(dask, can_resume=True) as share:
        result = segment_file(
            probability,
            out,
            config,
            edits=corrections,
            costs=costs,
            share=share,
            progress=bar.update,
            say=say,
        )
    say(f"{out}: {result.describe()}")
    if as_json:
        facts = {"output": str(out), "cells": result.cells, "superpixels": result.superpixels}
        print_result(json.dumps({**facts, "shape": result.shape}, indent=2))
    else:
        print_result(out)


def _learn(learn_from: tuple[str, str], config: SegmentConfig) -> "CellCosts":
    from sfseg.segmentation.learn import learn_cost_files

    with progress(f"learning from {learn_from[1]}") as bar:
        return learn_cost_files(
            *learn_from,
            axes=config.axes,
            map_max=config.map_max,
            say=say,
            progress=lambda done, total: bar.update(done, total, f"dividing {learn_from[0]}"),
        )
