"""What looks wrong about a score: polarity, scale, labels that are incomplete or a single cell.

No warning changes a number. Each names the option that helps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sfseg.io.label_areas import find_unlabelled
from sfseg.io.probability import full_scale
from sfseg.scoring.contingency import Tallies
from sfseg.scoring.measures import dice
from sfseg.scoring.thresholds import THRESHOLDS, Counts, as_probability, count_above, find_levels
from sfseg.system.sharing import Share
from sfseg.system.threads import ordered
from sfseg.types import PLAUSIBLE_INTERIOR, AnyArray, Number, name_sections

_HALF = 0.5
AT_HALF = THRESHOLDS.index(_HALF)
_INVERTED, _ALIKE = 0.4, 0.6
"""The share of pairs of an inside and a membrane pixel that a map ranks rightly: an inverted map
has less, one of the same polarity more."""

_UNRELATED, _MATCHING = 0.75, 0.8
"""Of the same share: maps that have nothing to do with the labels have less than the first."""

_FAR_BETTER = 0.02
"""At an end of the range of thresholds V_Rand may be better than at 0.5 by this."""

_CELLS_SHOWN, _MEMBRANES_SHOWN = 0.3, 0.1
"""A map that shows more of them in a large area of one value shows what is not labelled there."""


TURNS = ("with --invert", "with --invert-labels")


@dataclass(frozen=True)
class Scored:
    """Two arrays that were scored, and the sums that came of it.

    Attributes
    ----------
    prediction, labels : sequence of ndarray, shape (Y, X)
        The sections.
    known : sequence of ndarray of bool or None
        Where the labels are known; None = everywhere.
    above : ndarray of int64, shape (Z, levels, levels)
        See `sfseg.scoring.thresholds.Counts`.
    tallies : Tallies
        Arrays of shape (Z, thresholds).
    v_rand : sequence of float
        V_Rand at each threshold.
    names : tuple of str
        Names of the two arrays.
    numbers : sequence of int
        Numbers of the sections.
    turns : tuple of str
        How to score with the prediction, and with the labels, turned round.
    """

    prediction: Sequence[AnyArray]
    labels: Sequence[AnyArray]
    known: Sequence[AnyArray | None]
    above: Counts
    tallies: Tallies
    v_rand: Sequence[float]
    names: tuple[str, str]
    numbers: Sequence[int]
    turns: tuple[str, str] = TURNS

    def name(self, indices: Sequence[int], *, of: int = 1) -> str:
        """Name sections of the map (0) or the labels (1)."""
        numbered = name_sections([self.numbers[index] - 1 for index in indices])
        return f"{self.names[of]}: {numbered}"


@dataclass(frozen=True)
class Unlabelled:
    """A large part of a section that is perhaps not labelled.

    Attributes
    ----------
    counts : ndarray of int64, shape (levels, levels)
        Its pixels; see `sfseg.scoring.thresholds.Counts`.
    share : float
        Its share of the section.
    shows_more : bool
        Whether it is not the whole section, and the map shows cells or membranes in it.
    """

    counts: Counts
    share: float
    shows_more: bool


def find_doubts(scored: Scored, workers: int = 1, share: Share = ordered) -> Iterator[str]:
    """Yield a warning for each thing that looks wrong; `workers` sections are read at a time."""
    find = partial(_find_unlabelled, scored.prediction, scored.labels, scored.known, scored.names)
    unlabelled = list(share(find, range(len(scored.labels)), workers))
    constant, scale = list(_constant(scored)), list(_scale(scored))
    polarity = [*_polarity(scored, unlabelled, after_scale=bool(scale)), *_swapped(scored)]
    mirrored = [] if polarity or constant else list(_mirrored(scored))
    yield from (*([] if scale else constant), *scale, *polarity, *mirrored)
    if not (polarity or mirrored):  # which would be the cause of the others
        yield from _single_cells(scored)
        yield from _incomplete(scored, unlabelled)
        if not (scale or constant):
            yield from _ends(scored)


def rank_share(above: Counts) -> float:
    """Return how often a pixel inside is higher than one of membrane; ties count half.

    Parameters
    ----------
    above : ndarray of int64, shape (levels, levels)
        See `sfseg.scoring.thresholds.Counts`.

    Returns
    -------
    float
        The area under the ROC curve; 0.5 if a class is missing.
    """
    inside, every = above[:, 1], above[:, 0]
    counts = [-np.diff(column, append=0) for column in (inside, every - inside)]
    of_inside, of_membrane = (each / max(each.sum(), 1) for each in counts)
    if not (counts[0].any() and counts[1].any()):
        return 0.5
    below = np.cumsum(of_membrane) - of_membrane
    return float((of_inside * (below + of_membrane / 2)).sum())


def _constant(scored: Scored) -> Iterator[str]:
    """Warn of sections where the map never shows two cells, as one of a single value."""
    n, _, squares, true = scored.tallies[:4]  # (Z, thresholds)
    # a single segment has n^2, and n pixels of membrane have 1 each
    single = ((squares == n) | (squares == n * n)).all(1)
    constant = np.flatnonzero(single & (true[:, 0] < n[:, 0] ** 2)).tolist()
    if constant:
        low = min(scored.prediction[index].min() for index in constant)
        high = max(scored.prediction[index].max() for index in constant)
        values = f"is {low:g} everywhere" if low == high else f"goes from {low:g} to {high:g}"
        yield (
            f"{scored.name(constant, of=0)}: the map {values} and shows two cells at no "
            "threshold, so V_Info is 0: check whether it is the right file, and its scale"
        )


def _mirrored(scored: Scored) -> Iterator[str]:
    """Warn of a map and labels that fit once one of them is mirrored, as MRC of some programs."""
    if rank_share(scored.above.sum(0)) > _UNRELATED:
        return
    middle = len(scored.labels) // 2
    prediction = find_levels(as_probability(scored.prediction[middle]), scored.names[0])
    labels = find_levels(scored.labels[middle], scored.names[1])
    ways = {"top and bottom": labels[::-1], "left and right": labels[:, ::-1]}
    if labels.shape[0] == labels.shape[1]:
        ways["rows and columns"] = labels.T
    for what, turned in ways.items():
        if rank_share(count_above(prediction, turned)) > _MATCHING:
            yield (
                f"{scored.names[0]} fits {scored.names[1]} only with {what} exchanged: turn one of "
                "them, for example in Fiji with Image > Transform, and score again"
            )


def _single_cells(scored: Scored) -> Iterator[str]:
    """Warn of sections whose truth is one cell."""
    # at threshold 0: one segment of t pixels has t^2 = n^2
    single = scored.tallies.true_squares[:, 0] == scored.tallies.pixels[:, 0] ** 2
    if single.any():
        yield (
            f"{scored.name(np.flatnonzero(single).tolist())}: the labels are a single cell, so "
            "V_Info is 0 and V_Rand says little; leave them out with --sections"
        )


def _find_unlabelled(
    prediction: Sequence[AnyArray],
    labels: Sequence[AnyArray],
    known: Sequence[AnyArray | None],
    names: tuple[str, str],
    index: int,
) -> Unlabelled | None:
    """Find a large part of a section that is perhaps not labelled."""
    truth, where = labels[index], known[index]
    inside = truth > 0
    areas = find_unlabelled(inside, ~inside if where is None else ~inside & where)
    if areas is None:
        return None
    values = as_probability(prediction[index][areas])
    levels = map(find_levels, (values, truth[areas]), names)
    cells = float((values > _HALF).mean())
    is_inside = bool(inside[areas].any())
    shows = 1 - cells > _MEMBRANES_SHOWN if is_inside else cells > _CELLS_SHOWN
    return Unlabelled(count_above(*levels), float(areas.mean()), shows and not areas.all())


def _polarity(
    scored: Scored, unlabelled: Sequence[Unlabelled | None], *, after_scale: bool
) -> Iterator[str]:
    """Warn of a map and labels of opposite polarity, and of membranes in the majority.

    On a wrong scale, `after_scale`, Dice says nothing.
    """
    total = _sum_labelled(scored, unlabelled)
    share, ranked = float(total[0, 1] / max(total[0, 0], 1)), rank_share(total)
    is_thin = share < PLAUSIBLE_INTERIOR[0]
    if ranked < _INVERTED:
        high, inside = total[AT_HALF + 1, 0], total[0, 1]
        both, pixels = total[AT_HALF + 1, 1], total[0, 0]
        now = float(dice(both, high, inside))
        # of two inverted files the one with fewer high pixels shows membranes, as they are thin;
        # a map on a lower scale has none above 0.5
        is_thin = bool(inside < (high or pixels / 2))
        if is_thin:
            turned = float(dice(high - both, high, pixels - inside))
        else:
            turned = float(dice(inside - both, pixels - high, inside))
        turn = scored.turns[is_thin]
        found = f"Dice is {now:.2f}, and {turned:.2f} {turn}"
        if after_scale:
            found = f"mend the scale, then score {turn}, too"
        yield (
            f"{scored.names[0]} is low where {scored.names[1]} says inside a cell, and high on its "
            f"membranes: {found}"
        )
    elif is_thin:
        yield (
            f"cells fill only {share:.0%} of {scored.names[1]}, membranes the rest: if both files "
            f"are high on membranes, score them {' and '.join(scored.turns)}"
        )


def _sum_labelled(scored: Scored, unlabelled: Sequence[Unlabelled | None]) -> Counts:
    """Sum the counts of all sections, without large parts that are not labelled."""
    total: Counts = scored.above.sum(0)
    for part in unlabelled:
        if part is not None:
            total = total - part.counts
    return total


def _swapped(scored: Scored) -> Iterator[str]:
    """Warn of single sections of the other polarity."""
    ranks = np.array([rank_share(above) for above in scored.above])
    swapped = np.flatnonzero(ranks < _INVERTED).tolist()
    if swapped and np.median(ranks) > _ALIKE:
        yield (
            f"{scored.name(swapped)}: the labels look inverted there, the others do not, as after "
            "an inverting LUT: open them in Fiji, choose Edit > Invert, and save them"
        )


def _scale(scored: Scored) -> Iterator[str]:
    """Warn of a map whose values end far below 1."""
    dtype = scored.prediction[0].dtype
    top = 1 if dtype.kind in "bf" else int(np.iinfo(dtype).max)
    largest: Number = max(section.max() for section in scored.prediction).item()
    if not 0 < largest <= top / 2:
        return
    full = full_scale(largest) if dtype.kind == "u" else largest
    yield (
        f"{scored.names[0]}: the largest value is {largest:g}, and {top} counts as 1: if {full:g} "
        f"means inside a cell for sure, add --map-max {full:g}"
    )


def _incomplete(scored: Scored, unlabelled: Sequence[Unlabelled | None]) -> Iterator[str]:
    """Warn of large parts of one value in the labels where the map shows something else."""
    found = {index: part.share for index, part in enumerate(unlabelled) if part and part.shows_more}
    if found:
        yield (
            f"{scored.name(tuple(found))}: up to {max(found.values()):.0%} of the pixels lie in "
            "large areas of one value, where the map shows more; where nobody has labelled yet, "
            "paint another value, for example 128, and add --ignore 128"
        )


def _ends(scored: Scored) -> Iterator[str]:
    """Warn of a best threshold at an end of the range."""
    best = int(np.argmax(scored.v_rand))
    gain = scored.v_rand[best] - scored.v_rand[AT_HALF]
    if best in (0, len(THRESHOLDS) - 1) and gain > _FAR_BETTER:
        yield (
            f"{scored.names[0]}: V_Rand is best at the threshold {THRESHOLDS[best]:.1f}, an end of "
            f"the range, and lower by {gain:.2f} at 0.5: if the values have another scale, say "
            "with --map-max which of them means 1"
        )
