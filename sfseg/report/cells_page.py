"""The page of `sfseg score` of cells: the numbers, and where cells are cut or run into one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.io import Stack
from sfseg.report.browser import Browser, Fault, Layer, Words, make_browser
from sfseg.report.colours import CELLS, Indices, colour_errors
from sfseg.report.paint import CELL_OPACITY, number_colours
from sfseg.report.together import Files, ImageReader, write_together
from sfseg.scoring.cell_drawing import draw_cell_errors
from sfseg.scoring.cell_errors import CellError
from sfseg.scoring.cell_files import OpenCells
from sfseg.scoring.cell_pairs import Labelled
from sfseg.scoring.cell_table import Ids, Table, find_runs
from sfseg.scoring.cells import CellScores
from sfseg.types import AnyArray, describe_shape

WORDS = Words("cells", "VOI", "bits")

ALONE_OPACITY = 0.25
"""Of cells without grey values: errors stand out from them."""


@dataclass(frozen=True)
class JudgedCells:
    """Cells that are open, and their scores.

    Attributes
    ----------
    opened : OpenCells
        The files, which the page reads section by section.
    scores : CellScores
        The scores and the worst errors.
    """

    opened: OpenCells
    scores: CellScores


def write_cells_page(
    path: Path,
    judged: Sequence[JudgedCells],
    *,
    image: Stack | None = None,
    command: str = "",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write the page of the cells of one or several files of the same sections.

    Parameters, result and errors are those of `sfseg.report.score_page.write_score_page`.
    """
    files = Files.gather(
        [one.scores.names[0] for one in judged],
        [one.opened.pair.numbers for one in judged],
        judged[0].scores.names[1],
        image,
    )
    return write_together(
        path,
        "cells",
        files,
        make_cells_browser(judged, files.names, image),
        command=command,
        overwrite=overwrite,
        warnings=[warning for one in judged for warning in one.scores.warnings],
        scored=[one.scores for one in judged],
        has_unknown=judged[0].opened.pair.ignore is not None,
        shape=describe_shape(judged[0].scores.shape),
        columns=["VOI", "split", "merge", "Rand error"],
        rows=list_sections([one.scores for one in judged]),
    )


# ---- the browser


def make_cells_browser(
    judged: Sequence[JudgedCells], names: Sequence[str], image: Stack | None
) -> Browser:
    """Put grey values, truth, cells and errors into a browser of sections."""
    opened, files = judged[0].opened, range(len(judged))
    numbers = opened.pair.numbers
    grey = ImageReader(image, numbers, opened.shape) if image else None
    layers = [Layer("raw", "grey")] if grey else []
    layers += [Layer("truth", "colours", is_shown=False, opacity=CELL_OPACITY)]
    opacity = CELL_OPACITY if grey else ALONE_OPACITY
    layers += [Layer("cells", "colours", i, is_shown=not grey, opacity=opacity) for i in files]
    layers += [Layer("errors", "colours", i) for i in files]
    colours = [CellColours(one.scores.overlaps) for one in judged]

    def read(index: int) -> list[AnyArray]:
        found = [one.opened.pair.section(index) for one in judged]
        drawn = (
            draw_cell_errors(section, one.scores.errors)
            for section, one in zip(found, judged, strict=True)
        )
        return [
            *([grey.read(index)] if grey else []),
            number_colours(found[0].truth),
            *(own.draw(section) for own, section in zip(colours, found, strict=True)),
            *map(colour_errors, drawn),
        ]

    return make_browser(
        layers,
        read,
        (opened.shape[1], opened.shape[2]),
        numbers,
        voxel_size_nm=opened.voxel_size_nm or (image.voxel_size_nm if image else None),
        ranking=rank_sections([one.scores for one in judged], numbers),
        faults=[
            _as_fault(error, prediction)
            for prediction, one in enumerate(judged)
            for error in one.scores.errors
        ],
        predictions=names,
        words=WORDS,
    )


def _as_fault(error: CellError, prediction: int) -> Fault:
    """Say where the page shows an error, which may be in many sections: at its place."""
    box = error.y, error.x, error.y + 1, error.x + 1
    place = error.y, error.x
    return Fault(error.id, error.kind, error.section, error.cost, place, box, prediction)


def rank_sections(scored: Sequence[CellScores], numbers: Sequence[int]) -> list[int]:
    """Return the indices of all sections: first those with the places of the worst errors.

    The others follow, the largest VOI of any file first.
    """
    errors = sorted((error.id, error.section) for scores in scored for error in scores.errors)
    rows = [row for scores in scored for row in scores.per_section]
    rows.sort(key=lambda row: -row.voi)
    order = *(section for _, section in errors), *(row.section for row in rows), *numbers
    index_of = {number: index for index, number in enumerate(numbers)}
    return [index_of[number] for number in dict.fromkeys(order)]


class CellColours:
    """Colours of predicted cells, the same in all sections.

    A cell has the colour of the true cell that it covers most, if it is the largest of those. The
    other parts of a split cell have another colour, and so do cells outside all true ones.

    Parameters
    ----------
    overlaps : Table
        The pixels that each true cell shares with each predicted one, in the whole stack.
    """

    def __init__(self, overlaps: Table) -> None:
        cells, best = _largest_of(overlaps.cells, overlaps)
        truth, main = _largest_of(overlaps.truth[best], overlaps.select(best))
        wanted, own = number_colours(overlaps.truth[best]), number_colours(cells)
        self._colours = np.where(own == wanted, own % CELLS + np.uint8(1), own)
        self._colours[main] = number_colours(truth)
        self._colours[cells == 0] = 0
        self._cells = cells

    def draw(self, section: Labelled) -> Indices:
        """Draw the cells of a section, shape (Y, X)."""
        runs = find_runs(section.truth, section.cells)
        return runs.paint(self._find(runs.cells), section.cells.shape)

    def _find(self, cells: Ids) -> Indices:
        positions = np.searchsorted(self._cells, cells).clip(max=self._cells.size - 1)
        is_known = self._cells[positions] == cells
        return np.where(is_known, self._colours[positions], number_colours(cells))


def _largest_of(groups: Ids, pairs: Table) -> tuple[Ids, AnyArray]:
    """Return each group of pairs, ascending, and the index of its pair with most pixels."""
    order = np.lexsort((-pairs.pixels, groups))
    found, first = np.unique(groups[order], return_index=True)
    return found, order[first]


# ---- tables


def list_sections(scored: Sequence[CellScores]) -> list[dict[str, Any]]:
    """Return the rows of the table by section; a section without true cells has none."""
    return [
        {
            "number": rows[0].section,
            "cells": [
                value
                for row in rows
                for value in (row.voi, row.voi_split, row.voi_merge, row.adapted_rand_error)
            ],
        }
        for rows in zip(*(scores.per_section for scores in scored), strict=True)
    ]
