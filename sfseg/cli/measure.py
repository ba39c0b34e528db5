"""`sfseg measure`: tables of what cells measure."""

from pathlib import Path
from typing import Annotated

import typer

from sfseg.cli.checks import require_inputs
from sfseg.cli.console import print_result, say
from sfseg.cli.options import OUTPUT, AxesOption, OverwriteOption, VoxelSizeOption
from sfseg.cli.progress import progress
from sfseg.types import describe_shape, format_count, parse_voxel_size

EXAMPLES = """
sfseg measure cells.tif -o cells.csv
sfseg measure cells.tif -o cells.csv --contacts contacts.csv
sfseg measure labels.png -o cells.csv --voxel-size 50,4,4
"""


def measure(
    cells: Annotated[
        str,
        typer.Argument(
            metavar="CELLS",
            help="Numbers of cells, 0 = membrane, as segment writes them: a file or a folder.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The table to write, with a row for each cell; ends in .csv.",
            rich_help_panel=OUTPUT,
        ),
    ],
    by_section: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a table with a row for each cell in each section, too.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    contacts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a table with a row for each pair of cells that touch, too.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    voxel_size: VoxelSizeOption = None,
    axes: AxesOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure cells: volume, place, area, perimeter and contacts, as CSV.

    The unit stands in the name of each column. Sections count from 1, rows and columns from 0.
    """
    voxel_size_nm = parse_voxel_size(voxel_size)
    require_inputs([cells])
    tables = [path for path in (out, by_section, contacts) if path is not None]
    from sfseg.segmentation.measure import measure_file
    from sfseg.segmentation.table_files import require_tables

    require_tables(tables)
    say(f"measuring {cells}")
    with progress(f"reading {cells}") as bar:
        result = measure_file(
            cells,
            out,
            by_section=by_section,
            contacts=contacts,
            voxel_size_nm=voxel_size_nm,
            axes=axes,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(
                done, total, f"measuring {cells}, {done} of {total} sections done"
            ),
        )
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"{cells}: {format_count(result.cells, 'cell')} in {describe_shape(result.shape)}")
    for path in tables:
        print_result(path)
