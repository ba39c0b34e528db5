"""What looks wrong about scores of cells. No warning changes a number."""

from collections.abc import Iterator

import numpy as np

from sfseg.scoring.cell_measures import find_losses
from sfseg.scoring.cell_tally import Tally
from sfseg.types import name_sections

_SELDOM, _FAR_LESS = 0.2, 0.6
"""Ids that continue along z lie above themselves in a larger share of their pixels than the first,
and than this part of the share of the other side."""

_MUCH_ZERO = 0.01
"""The share of pixels in true cells that may be 0 without a word."""


def find_cell_doubts(tally: Tally, names: tuple[str, str]) -> Iterator[str]:
    """Yield a warning for each thing that looks wrong."""
    yield from _broken(tally, names)
    yield from _single(tally, names)
    yield from _zero(tally, names[0])
    if tally.empty:
        sections = name_sections([number - 1 for number in tally.empty])
        them = "them" if len(tally.empty) > 1 else "it"
        yield (
            f"{names[1]}: {sections}: no pixel is in a true cell, so nothing is counted in {them}"
        )


def _broken(tally: Tally, names: tuple[str, str]) -> Iterator[str]:
    """Warn of ids that do not continue along z, as those of segments of single sections."""
    shares = [each.share for each in tally.continuity]
    for name, own, other in zip(names, shares, shares[::-1], strict=True):
        if own < max(_SELDOM, other * _FAR_LESS):
            yield (
                f"{name}: ids do not continue along z: {own:.0%} of the pixels have the id of the "
                f"pixel above them, and {other:.0%} on the other side. If each section has ids of "
                "its own, only the scores of the sections count, not those in 3D"
            )


def _single(tally: Tally, names: tuple[str, str]) -> Iterator[str]:
    """Warn of a single id: one half of the score is 0 whatever the other side is."""
    table = tally.whole()
    ids = np.unique(table.cells), np.unique(table.truth)
    for name, own, half in zip(names, ids, ("split", "merge"), strict=True):
        if own.size == 1:
            yield f"{name}: there is only the id {own[0]}, so nothing can be a {half}"


def _zero(tally: Tally, name: str) -> Iterator[str]:
    """Warn of pixels without an id, which cost much more than their number says."""
    table = tally.whole()
    is_zero = table.cells == 0
    share = table.pixels[is_zero].sum() / table.pixels.sum()
    if share > _MUCH_ZERO and not is_zero.all():
        cost = sum(float(loss[is_zero].sum()) for loss in find_losses(table))
        yield (
            f"{name}: {share:.1%} of the pixels in true cells are 0. For VOI this is one more "
            f"cell, and costs {cost:.2f} bits; `without 0` leaves them out. To fill them: sfseg "
            "segment --fill"
        )
