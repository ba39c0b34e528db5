"""Corrections by a person: two cells that are one, or a cell that is two.

The cells are found first as they are without corrections. So an id means the cell that the person
saw, and all other cells keep their ids. Corrections are made one after the other.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import OptionError
from sfseg.segmentation.costs import CellCosts
from sfseg.segmentation.edges import Edges
from sfseg.segmentation.graph import Graph
from sfseg.segmentation.multicut import multicut
from sfseg.system import files
from sfseg.types import Shape

STEP, LAST = 0.5, 20.0
"""By how much the logarithm of the prior odds grows until a cell falls apart, and where it ends."""

COLUMNS = ("edit", "cell", "other", "section", "y", "x")
"""Of a file of corrections."""

NEEDED = {"merge": ("cell", "other"), "split": ("cell", "section", "y", "x")}
"""The columns that each correction needs."""

Point = tuple[int, int, int]
"""(section, y, x): the number of the section from 1, row and column from 0."""


@dataclass(frozen=True)
class Merge:
    """Two cells are one, which keeps the id of the first."""

    cell: int
    other: int

    def __str__(self) -> str:
        return f"merge {self.cell},{self.other}"


@dataclass(frozen=True)
class Split:
    """The part of a cell around a place is another cell, which gets a new id.

    It is at most half of the cell.

    Attributes
    ----------
    cell : int
        Its id.
    place : Point
        A pixel of that part.
    """

    cell: int
    place: Point

    def __str__(self) -> str:
        return f"split {self.cell}@{','.join(map(str, self.place))}"


Edit = Merge | Split
NodeAt = Callable[[Point], int]
"""Returns the node at a place, -1 where there is none."""


def parse_merge(text: str) -> Merge:
    """Read ``A,B``: two ids; raises OptionError."""
    if not (found := re.fullmatch(r"(\d+),(\d+)", text)):
        raise OptionError(f"--merge: must be two ids, not {text!r}", hint="--merge 3,7")
    return Merge(int(found[1]), int(found[2]))


def parse_split(text: str) -> Split:
    """Read ``ID@SECTION,Y,X``; raises OptionError."""
    if not (found := re.fullmatch(r"(\d+)@(\d+),(\d+),(\d+)", text)):
        raise OptionError(
            f"--split: must be an id, and a place in the part to cut off, not {text!r}",
            hint="--split 12@4,100,200: cell 12, at section 4, row 100, column 200",
        )
    cell, section, y, x = map(int, found.groups())
    return Split(cell, (section, y, x))


def read_edits(path: Path) -> list[Edit]:
    """Read a CSV file of corrections, with the columns `COLUMNS`.

    The columns are divided by commas, semicolons or tabs, as spreadsheets of some countries do.

    Raises
    ------
    OptionError
        If it is no such file, or a line is no correction.
    OSError
        If it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            heading = file.readline()
            delimiter = next((each for each in ";\t" if each in heading), ",")
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            names = [name.strip().lower() for name in next(rows, [])]
            _require_columns(names, path)
            return [
                _read_row(dict(zip(names, row, strict=False)), f"{path}: line {rows.line_num}")
                for row in rows
                if any(row)
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise OptionError(
            f"{path}: this is no table as text in UTF-8", hint="save it as CSV, in UTF-8"
        ) from error


def write_edits(path: Path, edits: Sequence[Edit], *, overwrite: bool = False) -> None:
    """Write a file of corrections, as `read_edits` reads it.

    Raises
    ------
    OutputExistsError, OutputError
        If it exists and `overwrite` is False, or cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for edit in edits:
        if isinstance(edit, Merge):
            table.writerow(["merge", edit.cell, edit.other, "", "", ""])
        else:
            table.writerow(["split", edit.cell, "", *edit.place])
    files.write_text(path, text.getvalue(), overwrite=overwrite)


def _require_columns(names: Sequence[str], path: Path) -> None:
    if missing := [name for name in COLUMNS if name not in names]:
        raise OptionError(
            f"{path}: the column {missing[0]} is missing",
            hint=f"begin with the line {','.join(COLUMNS)}",
        )


def _read_row(row: Mapping[str, str], where: str) -> Edit:
    edit = row["edit"].strip().lower()
    if edit not in NEEDED:
        raise OptionError(f"{where}: edit is {row['edit']!r}", hint="write merge or split")
    try:
        cell, *others = (_whole_number(row.get(name, "")) for name in NEEDED[edit])
    except ValueError as error:
        raise OptionError(
            f"{where}: a whole number is missing",
            hint="merge needs cell and other; split needs cell, section, y and x",
        ) from error
    if edit == "merge":
        return Merge(cell, others[0])
    section, y, x = others
    return Split(cell, (section, y, x))


def _whole_number(text: str) -> int:
    """Read a whole number; a table of numbers and gaps often has 3.0 for 3."""
    whole, _, rest = text.strip().partition(".")
    if rest.strip("0"):
        raise ValueError(text)
    return int(whole)


def apply_edits(
    cells: NDArray[np.uint32],
    graph: Graph,
    edits: Sequence[Edit],
    costs: CellCosts,
    beta: float,
    node_at: NodeAt,
) -> NDArray[np.uint32]:
    """Correct the cells of the superpixels.

    Parameters
    ----------
    cells : ndarray of uint32, shape (nodes,)
        As found.
    graph : Graph
        The superpixels.
    edits : sequence of Merge or Split
        The corrections, in order.
    costs : CellCosts
        With which the cells were found.
    beta : float
        With which the cells were found.
    node_at : callable
        See `NodeAt`.

    Returns
    -------
    ndarray of uint32, shape (nodes,)
        The corrected ones.

    Raises
    ------
    OptionError
        If a cell is not there, or cannot be divided.
    """
    cells = cells.copy()
    for edit in edits:
        _require_cell(cells, edit.cell, edit)
        if isinstance(edit, Merge):
            _require_other(cells, edit)
            cells[cells == edit.other] = edit.cell
        else:
            node = node_at(edit.place)
            there = cells[node] if node >= 0 else 0
            if there != edit.cell:
                raise OptionError(
                    f"{edit}: at this place is {f'cell {there}' if there else 'a membrane'}",
                    hint="give a place inside of the cell: section, y, x",
                )
            part = _cut_off(cells == edit.cell, node, graph, costs, beta, edit)
            cells[part] = cells.max() + 1
    return cells


def require_places(edits: Sequence[Edit], shape: Shape, name: str) -> None:
    """Refuse places outside of a stack; raises OptionError."""
    depth, height, width = shape
    for edit in edits:
        if isinstance(edit, Split):
            section, y, x = edit.place
            if not (1 <= section <= depth and 0 <= y < height and 0 <= x < width):
                raise OptionError(
                    f"{edit}: section {section}, row {y}, column {x}: outside of {name}",
                    hint=f"sections are 1 to {depth}, rows 0 to {height - 1}, "
                    f"columns 0 to {width - 1}",
                )


def _require_other(cells: NDArray[np.uint32], edit: Merge) -> None:
    _require_cell(cells, edit.other, edit)
    if edit.other == edit.cell:
        raise OptionError(f"{edit}: this is one cell already", hint="name two cells")


def _require_cell(cells: NDArray[np.uint32], cell: int, edit: Edit) -> None:
    if cell == 0 or not (cells == cell).any():
        raise OptionError(
            f"{edit}: there is no cell {cell}",
            hint="take ids of the output of the same command without corrections",
        )


def _cut_off(
    own: NDArray[np.bool_], node: int, graph: Graph, costs: CellCosts, beta: float, edit: Edit
) -> NDArray[np.intp]:
    """Return the nodes around one that leave their cell together, if cuts become likely.

    What else leaves before them stays in the cell: it is another place that is weak.
    """
    nodes = np.flatnonzero(own)
    if len(nodes) < 2:
        raise OptionError(
            f"{edit}: the cell is one superpixel, which cannot be divided",
            hint="draw the membrane in the map, and find the cells again",
        )
    borders, overlaps = (_within(edges, own) for edges in (graph.borders, graph.overlaps))
    numbers = np.cumsum(own) - 1
    pairs = numbers[np.concatenate([borders.pairs, overlaps.pairs]).astype(np.int64)]
    areas = graph.areas[nodes]
    start = np.log(beta / (1 - beta))
    for odds in np.arange(start + STEP, LAST, STEP):
        of_edges = costs.find(borders, overlaps, 1 / (1 + np.exp(-odds)))
        parts = multicut(len(nodes), pairs.astype(np.uint64), of_edges)
        part = parts == parts[numbers[node]]
        if 2 * areas[part].sum() <= areas.sum():
            return np.asarray(nodes[part])
    return np.array([node])


def _within(edges: Edges, own: NDArray[np.bool_]) -> Edges:
    """Keep the edges whose both ends are in a cell."""
    kept = own[edges.pairs.astype(np.int64)].all(axis=1)
    return Edges(edges.pairs[kept], edges.measures[kept], edges.sizes[kept])
