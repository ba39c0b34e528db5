"""Score cells against true cells: variation of information and adapted Rand error, in 3D."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from sfseg.errors import OptionError, StackError
from sfseg.io import as_stack_array
from sfseg.io.labels import nothing_ignored
from sfseg.scoring.cell_doubts import find_cell_doubts
from sfseg.scoring.cell_errors import CellError, find_worst
from sfseg.scoring.cell_measures import adapted_rand_error, find_losses
from sfseg.scoring.cell_pairs import CellPair
from sfseg.scoring.cell_table import Table
from sfseg.scoring.cell_tally import Counted, Tally, Tolerance, count_sections
from sfseg.scoring.score import require_same_shape
from sfseg.system.sharing import Share, in_groups
from sfseg.types import (
    AnyArray,
    Number,
    PixelSize,
    Progress,
    Shape,
    as_pixel_size,
    describe_shape,
)

BORDER_NM = 25.0
"""The border tolerance that papers use for CREMI. The pages of the challenge do not name it."""

WORST = 10
"""Splits, and as many merges, that are looked for."""


@dataclass(frozen=True, kw_only=True)
class CellScore:
    """The scores over some pixels; see `score_cells`.

    Attributes
    ----------
    pixels : int
        Pixels that are counted.
    voi_split, voi_merge : float
        The halves of the variation of information, in bits.
    adapted_rand_error : float
        1 - F, from 0 to 1.
    """

    pixels: int
    voi_split: float
    voi_merge: float
    adapted_rand_error: float

    @property
    def voi(self) -> float:
        """Variation of information, in bits."""
        return self.voi_split + self.voi_merge

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, in the order of the JSON output."""
        return {
            "pixels": self.pixels,
            "voi": self.voi,
            "voi_split": self.voi_split,
            "voi_merge": self.voi_merge,
            "adapted_rand_error": self.adapted_rand_error,
        }


@dataclass(frozen=True, kw_only=True)
class SectionCellScore(CellScore):
    """The scores of one section."""

    section: int

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, in the order of the JSON output."""
        return {"section": self.section} | super().as_dict()


@dataclass(frozen=True, kw_only=True)
class CellScores(CellScore):
    """The scores of the cells of a stack; see `score_cells`.

    Attributes
    ----------
    names : tuple of str
        The cells, and the truth.
    shape : tuple of int
        (Z, Y, X).
    true_cells, cells : int
        True ids, and predicted ids on their pixels, without 0.
    without_zero : CellScore or None
        The scores without the pixels that are 0 in the prediction; None if there is none.
    border_nm : float or None
        The border tolerance; None = there is none, or no pixel size is known.
    without_borders : CellScore or None
        The scores without the pixels near a border of true cells; None as for `border_nm`, or if
        no pixel is left.
    section_mean : CellScore
        The mean of `per_section`.
    per_section : tuple of SectionCellScore
        Those of each section with true cells, as if it was the whole stack.
    errors : tuple of CellError
        The worst splits and merges, largest cost first.
    warnings : tuple of str
        What looks wrong.
    overlaps : Table
        The pixels that each true cell shares with each predicted one; only pairs that occur.
    """

    names: tuple[str, str]
    shape: Shape
    true_cells: int
    cells: int
    without_zero: CellScore | None
    border_nm: float | None
    without_borders: CellScore | None
    section_mean: CellScore
    per_section: tuple[SectionCellScore, ...] = field(repr=False)
    errors: tuple[CellError, ...] = field(repr=False)
    warnings: tuple[str, ...] = field(compare=False)
    overlaps: Table = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return (
            f"CellScores({describe_shape(self.shape)}, VOI {self.voi:.6f} bits (split "
            f"{self.voi_split:.6f}, merge {self.voi_merge:.6f}), adapted Rand error "
            f"{self.adapted_rand_error:.6f})"
        )

    def rows(self) -> dict[str, CellScore]:
        """Return the scores of the stack by what they are taken over."""
        rows = {
            "in 3D": self,
            "without 0": self.without_zero,
            f"without {self.border_nm or 0:g} nm borders": self.without_borders,
            "mean of sections": self.section_mean,
        }
        return {name: score for name, score in rows.items() if score is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, in the order of the JSON output."""
        facts: dict[str, Any] = {
            "prediction": self.names[0],
            "truth": self.names[1],
            "shape": list(self.shape),
            "true_cells": self.true_cells,
            "cells": self.cells,
        }
        return (
            facts
            | super().as_dict()
            | {
                "without_zero": self.without_zero and self.without_zero.as_dict(),
                "border_nm": self.border_nm,
                "without_borders": self.without_borders and self.without_borders.as_dict(),
                "section_mean": self.section_mean.as_dict(),
                "per_section": [row.as_dict() for row in self.per_section],
                "errors": [asdict(error) for error in self.errors],
                "warnings": list(self.warnings),
            }
        )


def score_cells(
    cells: AnyArray,
    truth: AnyArray,
    *,
    ignore: Number | None = None,
    border_nm: float | None = None,
    pixel_size_nm: float | PixelSize | None = None,
    worst: int = WORST,
    names: tuple[str, str] = ("cells", "truth"),
    progress: Progress = lambda *_: None,
) -> CellScores:
    """Score cells against true cells, in 3D and section by section.

    Parameters
    ----------
    cells : ndarray of whole numbers, shape (Z, Y, X) or (Y, X)
        The id of the cell that each pixel belongs to; 0 = none.
    truth : ndarray of whole numbers, shape as cells
        The true ids. Pixels of 0 are not counted.
    ignore : int or float, optional
        Another value of the truth that is not counted.
    border_nm : float, optional
        For the score without borders: pixels so near to a border are not counted; 0 = no such
        score. Default is 25 where the size of a pixel is known.
    pixel_size_nm : float or tuple of float, optional
        Size of a pixel, or (y, x).
    worst : int
        How many splits, and how many merges, to look for.
    names : tuple of str
        Names of the two arrays, for messages.
    progress : callable
        Called with the number of sections read and to read, at the start and after each.

    Returns
    -------
    CellScores
        See Notes.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    StackError
        If an array is no stack or holds other values than ids, the truth is a mask, or no pixel
        is in a true cell.
    NonFiniteError
        If a pixel is NaN or infinite.
    OptionError
        If `border_nm` is below 0 or needs the size of a pixel, or this is not above 0.

    Notes
    -----
    Let n_ij be the pixels in true cell i and predicted cell j, t_i and s_j the sums over j and i,
    and N the pixels in true cells. All logarithms have base 2.

    `voi_split` is H(S|T) = sum n_ij/N log(t_i/n_ij): large if true cells are cut up. `voi_merge` is
    H(T|S) = sum n_ij/N log(s_j/n_ij): large if true cells are joined. As in CREMI, the predicted 0
    is a cell like others: one large cell of all that has no id. `without_zero` leaves it out.

    `adapted_rand_error` is that of SNEMI3D and CREMI: 1 - 2 A / (B + C), where A is the sum of
    n_ij^2, B of s_j^2, and C of t_i^2. A and B are without the predicted 0. Both get c/M instead,
    for the c predicted 0 in true cells and M pixels of the stack: less than 1.

    `without_borders` is the border tolerance of CREMI: pixels within `border_nm` of a border
    between true ids in the same section are not counted.

    The cost of a split is what its true cell adds to `voi_split`; of a merge, what its predicted
    cell adds to `voi_merge`. So all costs add up to the score, but for what 0 adds.

    References
    ----------
    .. [1] M. Meila, 2007, doi:10.1016/j.jmva.2006.11.013
    .. [2] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142
    .. [3] https://github.com/cremi/cremi_python, cremi/evaluation

    Examples
    --------
    >>> scores = score_cells([[1, 1, 2, 2]], [[1, 1, 1, 1]])
    >>> scores.voi_split, scores.voi_merge, scores.adapted_rand_error
    (1.0, 0.0, 0.33333333333333337)
    """
    hint = "use sfseg.score_cell_files for files"
    stacks = [
        as_stack_array(each, name, hint=hint)
        for each, name in zip((cells, truth), names, strict=True)
    ]
    require_same_shape(stacks[0].shape, stacks[1].shape, names)
    shape = stacks[1].shape
    pair = CellPair(
        lambda position: (stacks[0][position], stacks[1][position]),
        (shape[0], shape[1], shape[2]),
        tuple(range(1, shape[0] + 1)),
        names,
        ignore,
        as_pixel_size(pixel_size_nm),
    )
    return score_pair(pair, border_nm=border_nm, worst=worst, progress=progress)


def score_pair(
    pair: CellPair,
    *,
    border_nm: float | None = None,
    worst: int = WORST,
    notes: Sequence[str] = (),
    share: Share | None = None,
    progress: Progress = lambda *_: None,
) -> CellScores:
    """Score a pair, in the memory of two sections and the tables; see `score_cells`.

    `share` calls a function for groups of sections, as on a cluster; by default, the sections are
    read here, one after the other.
    """
    tolerance = _find_tolerance(border_nm, pair.pixel_size_nm)
    depth = len(pair.numbers)
    steps = depth * (2 if worst else 1)
    tally, per_section = Tally(), []
    progress(0, steps)
    counted = in_groups(partial(_score_sections, pair, tolerance), pair.shape, share)
    for read, (section, row) in enumerate(counted, 1):
        tally.add(section)
        per_section += [row] if row else []
        progress(read, steps)
    _require_cells(tally, pair.names[1])
    errors = find_worst(
        pair, tally.whole(), worst, lambda read: progress(depth + read, steps), share
    )
    scores = _summarise(pair, tally, per_section, errors)
    if pair.ignore is not None and not tally.has_unknown:
        notes = (*notes, nothing_ignored(pair.names[1]))
    warnings = *notes, *find_cell_doubts(tally, pair.names)
    return replace(scores, border_nm=tolerance and tolerance[0], warnings=warnings)


def _score_sections(
    pair: CellPair, tolerance: Tolerance | None, positions: range
) -> Iterator[tuple[Counted, SectionCellScore | None]]:
    """Count sections in a row, and score each that has true cells."""
    plane = math.prod(pair.shape[1:])
    for found in count_sections(pair, tolerance, positions):
        row = None
        if found.whole.pixels.size:
            row = SectionCellScore(section=found.number, **_measure(found.whole, plane))
        yield found, row


def _find_tolerance(border_nm: float | None, pixel_size_nm: PixelSize | None) -> Tolerance | None:
    """Return the width of borders and the size of a pixel; None = no tolerance."""
    if border_nm is not None and not 0 <= border_nm < math.inf:
        raise OptionError(
            f"border: must be a number of nm from 0, not {border_nm:g}",
            hint=f"write it like {BORDER_NM:g}; 0 is no tolerance",
        )
    if border_nm and pixel_size_nm is None:
        raise OptionError(
            f"border: how many pixels are {border_nm:g} nm is not known",
            hint="give the size of a pixel: --pixel-size, or pixel_size_nm in Python",
        )
    width_nm = BORDER_NM if border_nm is None else border_nm
    return (width_nm, pixel_size_nm) if width_nm and pixel_size_nm else None


def _require_cells(tally: Tally, name: str) -> None:
    """Refuse a truth without ids."""
    if not tally.whole().pixels.size:
        raise StackError(
            f"{name}: no pixel is in a true cell: all are 0 or not labelled",
            hint="give the true ids as the second file",
        )
    if tally.is_mask:
        raise StackError(
            f"{name}: the truth has no ids: all cells are {tally.whole().truth[0]}",
            hint="give a truth where each cell has its number; a mask is the truth of a map",
        )


def _summarise(
    pair: CellPair,
    tally: Tally,
    per_section: Sequence[SectionCellScore],
    errors: tuple[CellError, ...],
) -> CellScores:
    """Make the scores of the stack."""
    table, every = tally.whole(), math.prod(pair.shape)
    named = table.select(table.cells > 0)
    inner = tally.inner()
    has_zero = 0 < named.pixels.size < table.pixels.size
    return CellScores(
        **_measure(table, every),
        names=pair.names,
        shape=pair.shape,
        true_cells=np.unique(table.truth).size,
        cells=np.unique(named.cells).size,
        without_zero=CellScore(**_measure(named, every)) if has_zero else None,
        border_nm=None,
        without_borders=CellScore(**_measure(inner, every)) if inner.pixels.size else None,
        section_mean=_mean(per_section),
        per_section=tuple(per_section),
        errors=errors,
        warnings=(),
        overlaps=table,
    )


def _measure(table: Table, every: int) -> dict[str, Any]:
    """Compute the values of a `CellScore`; `every` are the pixels of all that the table is of."""
    losses = find_losses(table)
    return {
        "pixels": int(table.pixels.sum()),
        "voi_split": float(losses.split.sum()),
        "voi_merge": float(losses.merge.sum()),
        "adapted_rand_error": adapted_rand_error(table, every),
    }


def _mean(rows: Sequence[CellScore]) -> CellScore:
    """Average the scores of sections; add up their pixels."""
    return CellScore(
        pixels=sum(row.pixels for row in rows),
        voi_split=float(np.mean([row.voi_split for row in rows])),
        voi_merge=float(np.mean([row.voi_merge for row in rows])),
        adapted_rand_error=float(np.mean([row.adapted_rand_error for row in rows])),
    )
