"""Score cells on disk against true cells on disk; tell cells from maps and masks."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sfseg.errors import SfsegError
from sfseg.io import Stack, as_path, open_stack
from sfseg.io.cell_numbers import find_special, holds_cells
from sfseg.scoring.cell_pairs import CellPair
from sfseg.scoring.cells import WORST, CellScores, score_pair
from sfseg.scoring.section_pairs import pair_sections
from sfseg.system.sharing import Share
from sfseg.types import Number, PixelSize, Progress, Shape, VoxelSize, as_pixel_size


@dataclass(frozen=True, eq=False)
class OpenCells:
    """Two files of cells that are open.

    Attributes
    ----------
    pair : CellPair
        The sections that are scored.
    shape : tuple of int
        (Z, Y, X) of the whole stack of the cells.
    voxel_size_nm : tuple of float or None
        That of the cells, or else of the truth.
    notes : tuple of str
        What a person should know about the files.
    """

    pair: CellPair
    shape: Shape
    voxel_size_nm: VoxelSize | None
    notes: tuple[str, ...]

    def score(
        self,
        *,
        border_nm: float | None = None,
        worst: int = WORST,
        share: Share | None = None,
        progress: Progress = lambda *_: None,
    ) -> CellScores:
        """Score the cells; parameters and errors as for `sfseg.score_cell_files`."""
        return score_pair(
            self.pair,
            border_nm=border_nm,
            worst=worst,
            notes=self.notes,
            share=share,
            progress=progress,
        )


def score_cell_files(
    cells: str | Path,
    truth: str | Path,
    *,
    sections: str | None = None,
    ignore: Number | None = None,
    border_nm: float | None = None,
    pixel_size_nm: float | PixelSize | None = None,
    worst: int = WORST,
    axes: str | None = None,
    label_axes: str | None = None,
    share: Share | None = None,
    progress: Progress = lambda *_: None,
) -> CellScores:
    """Score cells against true cells, section by section, in bounded memory.

    Parameters
    ----------
    cells, truth : str or Path
        Stacks of ids, 0 = no cell.
    sections : str, optional
        Sections to score, as in ``"25-30"``; default is all.
    ignore, border_nm, worst, progress
        As for `sfseg.score_cells`.
    pixel_size_nm : float or tuple of float, optional
        Default is that of the truth, or else that of the cells.
    axes : str, optional
        Order of the axes, for files that do not say it; see `sfseg.open_stack`.
    label_axes : str, optional
        Order of the axes of the truth; default is `axes`.
    share : Share, optional
        What reads and counts the sections, as the workers of a cluster; default is this thread.
        The result does not depend on it.

    Returns
    -------
    CellScores
        As of `sfseg.score_cells`. Sections keep their numbers in the files. Two folders are paired
        by the numbers in the names of their files, where both have them.

    Raises
    ------
    ShapeMismatchError, StackError, NonFiniteError
        As `sfseg.score_cells` and `sfseg.open_stack` do.
    OptionError
        If `sections` names none, or one outside the stacks; and as `sfseg.score_cells`.
    """
    hint = "sfseg.score_cells takes arrays"
    paths = [as_path(each, "score_cell_files", hint=hint) for each in (cells, truth)]
    with open_cells(
        *paths,
        sections=sections,
        ignore=ignore,
        pixel_size_nm=as_pixel_size(pixel_size_nm),
        axes=axes,
        label_axes=label_axes,
    ) as opened:
        return opened.score(border_nm=border_nm, worst=worst, share=share, progress=progress)


@contextlib.contextmanager
def open_cells(
    cells: str | Path,
    truth: str | Path,
    *,
    sections: str | None = None,
    ignore: Number | None = None,
    pixel_size_nm: PixelSize | None = None,
    axes: str | None = None,
    label_axes: str | None = None,
) -> Iterator[OpenCells]:
    """Open cells and their truth; they are closed after the block.

    Parameters and errors are those of `score_cell_files`.
    """
    with (
        open_stack(cells, axes=axes, labels=True) as found,
        open_stack(truth, axes=label_axes or axes, labels=True) as true,
    ):
        partners, notes = pair_sections(found, true, sections)
        indices = tuple(partners)
        pair = CellPair(
            lambda position: (
                found.section(indices[position]),
                true.section(partners[indices[position]]),
            ),
            (len(indices), *found.shape[1:]),
            tuple(index + 1 for index in indices),
            (str(cells), str(truth)),
            ignore,
            pixel_size_nm or _pixel_size(true) or _pixel_size(found),
        )
        doubts = (*notes, *_special_notes(true, ignore))
        yield OpenCells(pair, found.shape, found.voxel_size_nm or true.voxel_size_nm, doubts)


def _pixel_size(stack: Stack) -> PixelSize | None:
    """Return the size of a pixel, if it is known."""
    size = stack.voxel_size_nm[1:] if stack.voxel_size_nm else None
    return size if size and all(math.isfinite(length) for length in size) else None


def _special_notes(truth: Stack, ignore: Number | None) -> Iterator[str]:
    """Warn of a number in the truth that other programs use for `not labelled`."""
    special = None if ignore is not None else find_special(truth)
    if special is not None:
        yield (
            f"{truth.name}: {special} is perhaps no cell, as it is much larger than the others: "
            f"--ignore {special} leaves it out"
        )


def are_cells(
    cells: str | Path,
    truth: str | Path,
    *,
    ignore: Number | None = None,
    axes: str | None = None,
    label_axes: str | None = None,
) -> bool:
    """Tell whether both files number cells, by a few sections; parameters as `score_cell_files`.

    Returns
    -------
    bool
        False as well if a file cannot be read, or too few cells are there to tell.
    """
    try:
        # the truth first: it is a mask most of the time
        for source, order, unknown in ((truth, label_axes or axes, ignore), (cells, axes, None)):
            with open_stack(source, axes=order, labels=True) as stack:
                if not holds_cells(stack, unknown):
                    return False
    except SfsegError:  # whoever scores the files says what is wrong
        return False
    return True
