"""Score a membrane map with V_Rand, V_Info, Dice and Jaccard; arrays in, numbers out.

`score` gives exactly the numbers of the evaluation script of the ISBI 2012 challenge, and the usual
overlap scores. The halves of a score are called *split* (low if true cells are split) and *merge*
(low if true cells are merged). They are not called precision and recall, because libraries differ
in which is which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sfseg.errors import ShapeMismatchError
from sfseg.io import as_stack_array
from sfseg.io.sections import Sections
from sfseg.scoring.contingency import Tallies, Tally
from sfseg.scoring.doubts import AT_HALF, TURNS, Scored, find_doubts
from sfseg.scoring.measures import Halves, dice, jaccard, v_info, v_rand
from sfseg.scoring.thresholds import (
    THRESHOLDS,
    Counts,
    as_stack,
    require_scorable,
    sweep_section,
)
from sfseg.system.limits import usable_processors
from sfseg.system.sharing import Share
from sfseg.system.threads import ordered
from sfseg.types import AnyArray, Number, Progress, Shape, describe_shape

MOST_WORKERS = 8
"""Sections that are scored at once; each takes memory."""
ALPHAS = tuple(step / 10 for step in range(1, 11))
"""The weights of the merge half that `Scores.v_rand_alpha` tries."""


@dataclass(frozen=True)
class ThresholdScore:
    """The scores of a stack at one threshold, and the halves of V_Rand and V_Info."""

    threshold: float
    v_rand: float
    v_rand_pooled: float
    v_info: float
    dice: float
    v_rand_split: float
    v_rand_merge: float
    v_info_split: float
    v_info_merge: float


@dataclass(frozen=True)
class SectionScore:
    """V_Rand and V_Info of one section at the stack's best threshold, and its Dice at 0.5."""

    section: int
    v_rand: float
    v_info: float
    dice: float


@dataclass(frozen=True)
class Scores:
    """The scores of a stack; see `score`."""

    shape: Shape
    v_rand: float
    v_rand_split: float
    v_rand_merge: float
    v_rand_threshold: float
    v_rand_pooled: float
    v_rand_alpha: float
    v_info: float
    v_info_split: float
    v_info_merge: float
    v_info_threshold: float
    dice: float
    jaccard: float
    membrane_dice: float
    dice_best: float
    pixel_f: float
    per_threshold: tuple[ThresholdScore, ...]
    per_section: tuple[SectionScore, ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return (
            f"Scores({describe_shape(self.shape)}, "
            f"V_Rand {self.v_rand:.6f} at threshold {self.v_rand_threshold:.1f}, "
            f"V_Info {self.v_info:.6f} at threshold {self.v_info_threshold:.1f}, "
            f"Dice {self.dice:.6f})"
        )


def score(
    prediction: AnyArray,
    labels: AnyArray,
    *,
    ignore: Number | None = None,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    numbers: Sequence[int] | None = None,
    progress: Progress = lambda *_: None,
) -> Scores:
    """Score a membrane map against the truth, like the script of the challenge.

    Parameters
    ----------
    prediction : ndarray of bool, uint8, uint16 or float, shape (Z, Y, X) or (Y, X)
        Interior probability, 1 = inside a cell; integers are divided by their type's maximum.
    labels : ndarray of bool, uint8, uint16 or float, shape as prediction
        The truth, 0 = membrane; integers are not scaled, floats are from 0 to 1.
    ignore : int or float, optional
        The value of labels that are not known: these pixels take no part in any score.
    workers : int, optional
        Number of threads; default is one per core, at most 8.
    names : tuple of str
        Names of the two arrays, for messages.
    numbers : sequence of int, optional
        Numbers of the sections, for messages and `per_section`; default is from 1.
    progress : callable
        Called with the number of sections scored and that of all, at the start and after each.

    Returns
    -------
    Scores
        See Notes.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    StackError
        If an array has another type or is not a stack; if a float is outside [0, 1]; or if a
        section has no label inside a cell, so that there is nothing to score.
    NonFiniteError
        If a float is NaN or infinite.

    Notes
    -----
    At each of `THRESHOLDS` the true segments are the 4-connected components of the labels above it.
    The predicted segments are those of the probability above it, after border thinning.

    `v_rand` and `v_info` are means over sections, at the threshold where this mean is best (the
    first, if several are equal). Their halves are at the same threshold. `v_rand_pooled` counts the
    pairs of pixels of all sections together instead. `v_rand_alpha` is the best of V_alpha over
    `ALPHAS`, at the threshold of `v_rand`. It is not the best over thresholds too: with alpha = 1
    it is the merge half, which is near 1 at any high threshold.

    The overlap scores pool the pixels of all sections. `dice` and `jaccard` of the interior and
    `membrane_dice` are at 0.5; `dice_best` is the best over thresholds; the truth is labels above
    0. `pixel_f` is the best pixel F-score of the script: Dice of the interior, with labels above
    the threshold as the truth. In `per_section`, V_Rand and V_Info are at the threshold of
    `v_rand`, and Dice is at 0.5.

    Where the truth is not known, both arrays count as membrane, and no pixel is counted. So a cell
    that such pixels cut is two cells, in the truth and in the prediction alike.

    `warnings` says what looks wrong, such as a map and labels of opposite polarity, and what to do.
    It does not count when two `Scores` are compared.

    References
    ----------
    .. [1] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142
    """
    labels, known = split_ignored(labels, ignore, names[1])
    return score_known(
        prediction, labels, known, workers=workers, names=names, numbers=numbers, progress=progress
    )


def split_ignored(
    labels: AnyArray, ignore: Number | None, name: str
) -> tuple[AnyArray, AnyArray | None]:
    """Split labels into those where unknown pixels are membrane, and a mask of the known pixels."""
    if ignore is None:
        return labels, None
    labels = as_stack_array(labels, name, hint="use sfseg.score_files for files")
    known = labels != ignore
    return without_sign(np.where(known, labels, 0).astype(labels.dtype)), known


def without_sign(labels: AnyArray) -> AnyArray:
    """Store whole numbers of up to 16 bits in a type that can be scored."""
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() <= np.iinfo(np.uint16).max:
        return labels.astype(np.uint16) if labels.dtype.kind == "i" else labels
    return labels


def score_known(
    prediction: AnyArray | Sections,
    labels: AnyArray | Sections,
    known: AnyArray | Sections | None,
    *,
    turns: tuple[str, str] = TURNS,
    workers: int | None = None,
    share: Share = ordered,
    names: tuple[str, str] = ("prediction", "labels"),
    numbers: Sequence[int] | None = None,
    progress: Progress = lambda *_: None,
) -> Scores:
    """Score a map where the truth is known, and find what looks wrong; see `score`.

    Parameters
    ----------
    known : ndarray or Sections of bool, shape as labels, or None
        Where the truth is known; None = everywhere.
    turns : tuple of str
        How to score with the prediction, and with the labels, turned round; for warnings.
    share : Share
        What scores each section.
    prediction, labels, workers, names, numbers, progress
        As for `score`; of `Sections`, only those that are scored at a time are in memory.
    """
    pair = _as_sections(prediction, names[0]), _as_sections(labels, names[1])
    shape = pair[0].shape
    require_same_shape(shape, pair[1].shape, names)
    numbers = numbers or range(1, len(pair[0]) + 1)
    masks: Sequence[AnyArray | None] = [None] * len(pair[0])
    if known is not None:
        masks = known if isinstance(known, Sections) else list(known.reshape(shape))
    tallies, above = _sweep(*pair, masks, workers, names, numbers, progress, share)
    scores = _summarise(shape, tallies, above, numbers)
    v_rands = [row.v_rand for row in scores.per_threshold]
    scored = Scored(*pair, masks, above, tallies, v_rands, names, numbers, turns)
    return replace(scores, warnings=tuple(find_doubts(scored, choose_workers(workers), share)))


def _as_sections(array: AnyArray | Sections, name: str) -> Sections:
    """Check a stack to score; see `sfseg.scoring.thresholds.as_stack`."""
    if not isinstance(array, Sections):
        return Sections.from_array(as_stack(array, name))
    require_scorable(array.shape, array.dtype, name)
    return array


def as_stacks(
    prediction: AnyArray, labels: AnyArray, names: tuple[str, str]
) -> tuple[AnyArray, AnyArray]:
    """Check two arrays to score; see `sfseg.scoring.thresholds.as_stack`."""
    stacks = as_stack(prediction, names[0]), as_stack(labels, names[1])
    require_same_shape(stacks[0].shape, stacks[1].shape, names)
    return stacks


def score_sections(
    prediction: Sequence[AnyArray],
    labels: Sequence[AnyArray],
    *,
    known: Sequence[AnyArray | None] | None = None,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    numbers: Sequence[int] | None = None,
    progress: Progress = lambda *_: None,
) -> Scores:
    """Score sections together that may differ in size; see `score`.

    Parameters
    ----------
    prediction, labels : sequence of ndarray, shape (Y, X)
        Interior probability and truth of each section, of the types that `score` takes. The two
        arrays of one section have the same shape.
    known : sequence of ndarray of bool, shape (Y, X), or None, optional
        Where the truth of each section is known; None = everywhere. The other pixels are membrane
        in both arrays and are not counted.
    workers, names, numbers, progress
        As for `score`.

    Returns
    -------
    Scores
        As for `score`; ``shape`` is the number of sections and the shape of the first one.

    Raises
    ------
    ShapeMismatchError
        If the two arrays of a section differ in shape.
    StackError, NonFiniteError
        As `sfseg.scoring.thresholds.sweep_section` does.
    """
    numbers = numbers or range(1, len(prediction) + 1)
    for number, section, truth in zip(numbers, prediction, labels, strict=True):
        named = f"{names[0]}: section {number}", names[1]
        require_same_shape(section.shape, truth.shape, named)
    masks = known or [None] * len(prediction)
    tallies, above = _sweep(prediction, labels, masks, workers, names, numbers, progress)
    return _summarise((len(prediction), *prediction[0].shape), tallies, above, numbers)


def _sweep(
    prediction: Sequence[AnyArray],
    labels: Sequence[AnyArray],
    known: Sequence[AnyArray | None],
    workers: int | None,
    names: tuple[str, str],
    numbers: Sequence[int],
    progress: Progress,
    share: Share = ordered,
) -> tuple[Tallies, Counts]:
    """Sum over the sections: (Z, thresholds), and counts (Z, levels, levels)."""
    sections = []
    progress(0, len(prediction))
    sweep = partial(_sweep_section, prediction, labels, known, numbers, names)
    for swept in share(sweep, range(len(prediction)), choose_workers(workers)):
        sections.append(swept)
        progress(len(sections), len(prediction))
    # a row for each section and threshold; each column becomes an array (Z, thresholds)
    columns = zip(*(row for tallies, _ in sections for row in tallies), strict=True)
    tallies = Tallies(*(np.reshape(column, (len(sections), -1)) for column in columns))
    return tallies, np.stack([above for _, above in sections])


def _sweep_section(
    prediction: Sequence[AnyArray],
    labels: Sequence[AnyArray],
    known: Sequence[AnyArray | None],
    numbers: Sequence[int],
    names: tuple[str, str],
    index: int,
) -> tuple[list[Tally], Counts]:
    """Read a section, and sweep the thresholds over it."""
    pair = prediction[index], labels[index]
    return sweep_section(*pair, numbers[index], known[index], names=names)


def choose_workers(workers: int | None) -> int:
    """Return the number of threads; by default one per core, at most 8."""
    return workers or min(usable_processors(), MOST_WORKERS)


def require_same_shape(
    prediction: tuple[int, ...], labels: tuple[int, ...], names: tuple[str, str]
) -> None:
    """Refuse a prediction and labels that differ in shape.

    Parameters
    ----------
    prediction, labels : tuple of int
        Their shapes.
    names : tuple of str
        Their names, for the message.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    """
    if prediction != labels:
        raise ShapeMismatchError(
            f"{names[0]}: the shape {prediction} does not match {names[1]}, {labels}",
            hint="score a prediction against the labels of the same sections",
        )


def _summarise(shape: Shape, tallies: Tallies, above: Counts, numbers: Sequence[int]) -> Scores:
    """Turn sums of shape (Z, thresholds) and counts of shape (Z, levels, levels) into scores."""
    rand, info = v_rand(tallies), v_info(tallies)  # arrays of shape (Z, thresholds)
    mean_rand, mean_info = (Halves(*(half.mean(0) for half in halves)) for halves in (rand, info))
    best, best_info = int(mean_rand.score.argmax()), int(mean_info.score.argmax())
    at_best = Tallies(*(sums[:, best] for sums in tallies))  # (Z,)
    pooled = v_rand(Tallies(*(sums.sum(0) for sums in tallies))).score  # (thresholds,)
    total = above.sum(0)  # (levels, levels)
    overlaps = dice(*_interior(total))
    halves = (mean_rand.split, mean_rand.merge, mean_info.split, mean_info.merge)
    by_threshold = (mean_rand.score, pooled, mean_info.score, overlaps, *halves)
    by_section = (rand.score[:, best], info.score[:, best], dice(*_interior(above))[:, AT_HALF])
    return Scores(
        shape=shape,
        v_rand=float(mean_rand.score[best]),
        v_rand_split=float(mean_rand.split[best]),
        v_rand_merge=float(mean_rand.merge[best]),
        v_rand_threshold=THRESHOLDS[best],
        v_rand_pooled=float(pooled.max()),
        v_rand_alpha=max(float(v_rand(at_best, alpha).score.mean()) for alpha in ALPHAS),
        v_info=float(mean_info.score[best_info]),
        v_info_split=float(mean_info.split[best_info]),
        v_info_merge=float(mean_info.merge[best_info]),
        v_info_threshold=THRESHOLDS[best_info],
        dice=float(overlaps[AT_HALF]),
        jaccard=float(jaccard(*_interior(total))[AT_HALF]),
        membrane_dice=float(dice(*_membrane(total))[AT_HALF]),
        dice_best=float(overlaps.max()),
        # The diagonal has the same threshold in both images; level 0, all pixels, is left out.
        pixel_f=float(dice(total.diagonal()[1:], total[1:, 0], total[0, 1:]).max()),
        per_threshold=tuple(map(ThresholdScore, THRESHOLDS, *map(np.ndarray.tolist, by_threshold))),
        per_section=tuple(map(SectionScore, numbers, *map(np.ndarray.tolist, by_section))),
    )


def _interior(above: Counts) -> tuple[Counts, Counts, Counts]:
    """Count the pixels inside cells: in both images, predicted, true; for each threshold."""
    # [i, 0] is the prediction above i thresholds with any label, [i, 1] with a label above 0
    return above[..., 1:, 1], above[..., 1:, 0], above[..., :1, 1]


def _membrane(above: Counts) -> tuple[Counts, Counts, Counts]:
    """Count the pixels of membrane: in both images, predicted, true; for each threshold."""
    pixels = above[..., :1, 0]
    shared, predicted, true = _interior(above)
    return pixels - predicted - true + shared, pixels - predicted, pixels - true
