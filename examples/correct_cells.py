"""Correct the cells of a map as a person would, and write the corrections into a file.

A person sees in the images what is wrong. Here the true cells show it::

    python correct_cells.py cells.map.tif truth.tif edits.csv 30

The worst error comes first, and the cells are scored again after each correction. One that makes
them no better is taken back: a superpixel that covers two cells cannot be divided. It prints a line
for each, for example::

    split 2@1,125,164       VOI 1.711 -> 1.421
    split 2@8,63,59         taken back
    merge 27,31             VOI 0.750 -> 0.742
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

import sfseg

Edit = sfseg.Merge | sfseg.Split

BETTER = 0.005
"""Bits that a correction has to gain. A person leaves smaller errors alone, too."""

COLUMNS = ("edit", "cell", "other", "section", "y", "x")


def main(map_name: str, truth_name: str, edits_name: str, most: str) -> None:
    """Try so many corrections at most, and write those that help."""
    edits, tried = correct(read(map_name), read(truth_name), int(most))
    with Path(edits_name).open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *map(as_row, edits)])
    print(f"{edits_name}: {len(edits)} corrections of {tried} that were tried")


def read(name: str) -> np.ndarray:
    """Read a stack as an array (Z, Y, X)."""
    with sfseg.open_stack(name) as stack:
        return stack.read()


def correct(probability: np.ndarray, truth: np.ndarray, most: int) -> tuple[list[Edit], int]:
    """Return the corrections that help, and how many were tried."""
    kept: list[Edit] = []
    tried: set[Edit] = set()
    cells = sfseg.segment(probability)
    scores = sfseg.score_cells(cells, truth)
    while len(tried) < most:
        edit = next((edit for edit in propose(scores, cells, truth) if edit not in tried), None)
        if edit is None:
            break
        tried.add(edit)
        try:
            trial = sfseg.segment(probability, edits=[*kept, edit])
        except sfseg.SfsegError as error:
            print(error.message)
            continue
        after = sfseg.score_cells(trial, truth)
        if scores.voi - after.voi < BETTER:
            print(f"{edit!s:22}  taken back")
            continue
        print(f"{edit!s:22}  VOI {scores.voi:.3f} -> {after.voi:.3f}")
        kept.append(edit)
        cells, scores = trial, after
    return kept, len(tried)


def propose(scores: sfseg.CellScores, cells: np.ndarray, truth: np.ndarray) -> Iterator[Edit]:
    """Propose corrections, those of the worst error first."""
    table = scores.overlaps
    order = np.argsort(table.pixels)  # the largest comes last, and stays in the dictionary
    covered_most = dict(zip(table.cells[order], table.truth[order], strict=True))
    for error in scores.errors:
        if error.kind == "merge":
            for part in error.true_ids[1:3]:
                inside = (cells == error.whole) & (truth == part)
                yield sfseg.Split(error.whole, find_middle(inside))
        else:
            own = [cell for cell in error.ids if cell and covered_most[cell] == error.whole]
            yield from (sfseg.Merge(own[0], other) for other in own[1:3])


def find_middle(part: np.ndarray) -> tuple[int, int, int]:
    """Find where a part is widest: the section from 1, row, column."""
    depths = [ndimage.distance_transform_edt(np.pad(section, 1))[1:-1, 1:-1] for section in part]
    z, y, x = np.unravel_index(np.argmax(depths), part.shape)
    return int(z) + 1, int(y), int(x)


def as_row(edit: Edit) -> tuple[object, ...]:
    """Lay out a correction for `sfseg segment --edits`."""
    if isinstance(edit, sfseg.Merge):
        return "merge", edit.cell, edit.other, "", "", ""
    return "split", edit.cell, "", *edit.place


if __name__ == "__main__":
    main(*sys.argv[1:])
