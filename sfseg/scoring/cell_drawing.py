"""Draw the worst splits and merges of cells: which pixels are cut off, or merged into others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sfseg.scoring.cell_errors import CellError
from sfseg.scoring.cell_files import OpenCells
from sfseg.scoring.cell_pairs import Labelled
from sfseg.scoring.cell_table import find_runs
from sfseg.scoring.drawing import CUT_OFF, MERGED, UNKNOWN, Picture, write_drawn


def draw_cell_errors(section: Labelled, errors: Sequence[CellError]) -> Picture:
    """Draw errors where they lie in a section.

    Parameters
    ----------
    section : Labelled
        The section.
    errors : sequence of CellError
        The errors of the stack, largest cost first; the first one lies on top.

    Returns
    -------
    ndarray of uint8, shape (Y, X)
        3: a true cell that is merged into a larger one. 4: a part that is cut off from the rest of
        its true cell. 5: not known. 0: all else. All parts but the largest are drawn, so over all
        sections a single error has `CellError.pixels`.
    """
    runs = find_runs(section.truth, section.cells)
    values = np.zeros(runs.lengths.size, np.uint8)
    for error in reversed(errors):
        if error.kind == "merge":
            merged = (runs.cells == error.whole) & (runs.truth > 0)
            values[merged & (runs.truth != error.parts[0])] = MERGED
        else:
            cut_off = (runs.truth == error.whole) & (runs.cells != error.parts[0])
            values[cut_off] = CUT_OFF
    picture = runs.paint(values, section.truth.shape)
    if section.unknown is not None:
        picture[section.unknown] = UNKNOWN
    return picture


def write_cell_errors(
    path: str | Path, opened: OpenCells, errors: Sequence[CellError], *, overwrite: bool = False
) -> None:
    """Write a picture of the errors, section by section; see `draw_cell_errors`.

    Parameters
    ----------
    path : str or Path
        The file, which ends in .tif or .zarr. Sections that are not scored are 5.
    opened : OpenCells
        The files.
    errors : sequence of CellError
        Largest cost first.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputExistsError, OutputError, StackError, MissingExtraError
        As `sfseg.write_stack` does.
    """
    write_drawn(
        path,
        (draw_cell_errors(section, errors) for section in opened.pair),
        opened.pair.numbers,
        opened.shape,
        voxel_size_nm=opened.voxel_size_nm,
        overwrite=overwrite,
    )
