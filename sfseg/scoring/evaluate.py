"""How good a membrane map is: V_Rand, V_Info, Dice and Jaccard; arrays in, numbers out.

`score` gives the numbers of the evaluation script of the ISBI 2012 challenge, exactly, and those
of the usual overlaps beside them. The halves of a score are called *split* (it falls when a true
cell is cut up) and *merge* (it falls when true cells are joined), never precision and recall: which
of the two is which differs from library to library.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from sfseg.errors import ShapeMismatchError
from sfseg.scoring.contingency import Tallies
from sfseg.scoring.measures import Halves, dice, jaccard, v_info, v_rand
from sfseg.scoring.thresholds import THRESHOLDS, Counts, as_stack, sweep_section
from sfseg.types import AnyArray, Shape

HALF = THRESHOLDS.index(0.5)
ALPHAS = tuple(step / 10 for step in range(1, 11))
"""The weights that `Scores.v_rand_alpha` is the best over."""


@dataclass(frozen=True)
class ThresholdScore:
    """The scores of a stack at one threshold."""

    threshold: float
    v_rand: float
    v_rand_pooled: float
    v_info: float
    dice: float


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


def score(
    prediction: AnyArray,
    labels: AnyArray,
    *,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    numbers: Sequence[int] | None = None,
) -> Scores:
    """Score a membrane map against the truth, as the challenge's script does.

    Parameters
    ----------
    prediction : ndarray of bool, uint8, uint16 or float, shape (Z, Y, X) or (Y, X)
        Interior probability, 1 = inside a cell; integers are divided by their type's maximum.
    labels : ndarray of bool, uint8, uint16 or float, shape as `prediction`
        The truth, 0 = membrane; integers as they are, floats from 0 to 1.
    workers : int, optional
        Threads to use; default is one a core, at most 8.
    names : tuple of str
        What to call the two in messages.
    numbers : sequence of int, optional
        What to call the sections in messages and in `per_section`; default is from 1.

    Returns
    -------
    Scores
        See Notes.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    StackError
        If an array is of another type or not a stack, a float is outside [0, 1], or a section has
        no label above a threshold: there is nothing to score.
    NonFiniteError
        If a float is NaN or infinite.

    Notes
    -----
    At each of `THRESHOLDS` the true segments are the 4-connected components of labels above it, the
    predicted ones those of probability above it after border thinning. `v_rand` and `v_info` are
    the best over thresholds of the mean over sections, each with its halves at its own best
    threshold (the first of equals); `v_rand_pooled` sums the pairs of pixels of all sections
    instead. `v_rand_alpha` is the best over `ALPHAS` of V_alpha at the threshold of `v_rand` (not
    over both: with alpha = 1 it is the merge half, and near 1 at any high threshold).

    The overlaps pool all pixels: `dice` and `jaccard` of the interior and `membrane_dice` at 0.5,
    `dice_best` the best over thresholds, with labels above 0 as the truth. `pixel_f` is the
    script's best pixel F-score: Dice of the interior with labels above the threshold as the truth.
    In `per_section`, V_Rand and V_Info are at the threshold of `v_rand`, Dice is at 0.5.

    References
    ----------
    .. [1] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142
    """
    prediction, labels = (
        as_stack(array, name) for array, name in zip((prediction, labels), names, strict=True)
    )
    if prediction.shape != labels.shape:
        raise ShapeMismatchError(
            f"{names[0]}: expected the shape of {names[1]}, {labels.shape}, "
            f"found {prediction.shape}",
            hint="score a prediction against the labels of the same sections",
        )
    return score_sections(
        list(prediction), list(labels), workers=workers, names=names, numbers=numbers
    )


def score_sections(
    prediction: Sequence[AnyArray],
    labels: Sequence[AnyArray],
    *,
    workers: int | None = None,
    names: tuple[str, str] = ("prediction", "labels"),
    numbers: Sequence[int] | None = None,
) -> Scores:
    """Score sections of any sizes together; of one size it is what `score` does.

    Parameters
    ----------
    prediction, labels : sequence of ndarray, shape (Y, X)
        Interior probability and truth of each section, of the types that `score` takes; those of
        one section are of one shape.
    workers, names, numbers
        As of `score`.

    Returns
    -------
    Scores
        As of `score`; its shape is that of the first section, as often as there are sections.

    Raises
    ------
    ShapeMismatchError
        If the two shapes of a section differ.
    StackError, NonFiniteError
        As `sfseg.scoring.thresholds.sweep_section` does.
    """
    for section, truth in zip(prediction, labels, strict=True):
        if section.shape != truth.shape:
            raise ShapeMismatchError(
                f"{names[0]}: expected a section of shape {truth.shape} as in {names[1]}, "
                f"found {section.shape}",
                hint="score a prediction against the labels of the same sections",
            )
    numbers = numbers or range(1, len(prediction) + 1)
    with ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        sections = list(pool.map(partial(sweep_section, names=names), prediction, labels, numbers))
    columns = zip(*(row for tallies, _ in sections for row in tallies), strict=True)
    tallies = Tallies(*(np.reshape(column, (len(sections), -1)) for column in columns))
    shape = (len(sections), *prediction[0].shape)
    return _summarise(shape, tallies, np.stack([above for _, above in sections]), numbers)


def _summarise(shape: Shape, tallies: Tallies, above: Counts, numbers: Sequence[int]) -> Scores:
    """Turn sums of shape (Z, thresholds) and counts of shape (Z, levels, levels) into scores."""
    rand, info = v_rand(tallies), v_info(tallies)
    mean_rand, mean_info = (Halves(*(half.mean(0) for half in halves)) for halves in (rand, info))
    best, best_info = int(mean_rand.score.argmax()), int(mean_info.score.argmax())
    at_best = Tallies(*(sums[:, best] for sums in tallies))
    pooled = v_rand(Tallies(*(sums.sum(0) for sums in tallies))).score
    total = above.sum(0)
    overlaps = dice(*_interior(total))
    by_threshold = (mean_rand.score, pooled, mean_info.score, overlaps)
    by_section = (rand.score[:, best], info.score[:, best], dice(*_interior(above))[:, HALF])
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
        dice=float(overlaps[HALF]),
        jaccard=float(jaccard(*_interior(total))[HALF]),
        membrane_dice=float(dice(*_membrane(total))[HALF]),
        dice_best=float(overlaps.max()),
        pixel_f=float(dice(total.diagonal()[1:], total[1:, 0], total[0, 1:]).max()),
        per_threshold=tuple(map(ThresholdScore, THRESHOLDS, *map(np.ndarray.tolist, by_threshold))),
        per_section=tuple(map(SectionScore, numbers, *map(np.ndarray.tolist, by_section))),
    )


def _interior(above: Counts) -> tuple[Counts, Counts, Counts]:
    """Count the interior in both images, the predicted, the true, for each threshold."""
    return above[..., 1:, 1], above[..., 1:, 0], above[..., :1, 1]


def _membrane(above: Counts) -> tuple[Counts, Counts, Counts]:
    """Count the membrane in both images, the predicted, the true, for each threshold."""
    pixels = above[..., :1, 0]
    shared, predicted, true = _interior(above)
    return pixels - predicted - true + shared, pixels - predicted, pixels - true
