"""Compute V_Rand, V_Info, Dice and Jaccard from counts of pixels; arrays in, arrays out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfseg.scoring.contingency import Tallies
from sfseg.types import AnyArray

Floats = NDArray[np.float64]


class Halves(NamedTuple):
    """A score and its two halves, each an array of the same shape."""

    score: Floats
    split: Floats
    merge: Floats


def v_rand(tallies: Tallies, alpha: float = 0.5) -> Halves:
    """Compute V_Rand from the sums over contingency tables.

    Parameters
    ----------
    tallies : Tallies
        The sums, in arrays of any shape.
    alpha : float
        The weight of the merge half, from 0 to 1; 0.5 is the official score.

    Returns
    -------
    Halves
        The score and its halves, from 0 to 1.

    Notes
    -----
    With p_ij the fraction of pixels in true segment i and predicted segment j, and t_i and s_j its
    sums over j and i: split = sum p_ij^2 / sum t_i^2, merge = sum p_ij^2 / sum s_j^2, and
    V_Rand = sum p_ij^2 / (alpha sum s_j^2 + (1 - alpha) sum t_i^2) [1]_.

    References
    ----------
    .. [1] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142
    """
    joint, predicted, true = tallies[1:4]
    return Halves(rand_score(joint, predicted, true, alpha), joint / true, joint / predicted)


def rand_score(joint: AnyArray, predicted: AnyArray, true: AnyArray, alpha: float = 0.5) -> Floats:
    """Compute V_Rand alone from the sums of squares; see `v_rand`."""
    score: Floats = joint / (true + alpha * (predicted - true))  # so it is exact if both are equal
    return score


def v_info(tallies: Tallies) -> Halves:
    """Compute V_Info from the sums over contingency tables.

    Parameters
    ----------
    tallies : Tallies
        The sums, in arrays of any shape.

    Returns
    -------
    Halves
        The score and its halves, from 0 to 1. With a single segment the entropy is 0; then the
        half, or the score, is 0, as in the reference.

    Notes
    -----
    split = I / H(S), merge = I / H(T), V_Info = 2 I / (H(S) + H(T)), with H(T) and H(S) the
    entropies of the true and the predicted segments and I their mutual information [1]_. The base
    of the logarithm (e) cancels out.

    References
    ----------
    .. [1] I. Arganda-Carreras et al., 2015, doi:10.3389/fnana.2015.00142
    """
    n = tallies.pixels
    joint, predicted, true = (
        # a single segment has the entropy 0; rounding would make it almost 0
        np.where(squares == n * n, 0.0, np.log(n) - logs / n)
        for squares, logs in zip(tallies[1:4], tallies[4:7], strict=True)
    )
    shared = np.clip(predicted + true - joint, 0.0, np.minimum(predicted, true))
    score = _ratio(2 * shared, predicted + true, empty=0.0)
    return Halves(score, _ratio(shared, predicted, empty=0.0), _ratio(shared, true, empty=0.0))


def dice(shared: AnyArray, predicted: AnyArray, true: AnyArray) -> Floats:
    """Compute Dice, 2 TP / (2 TP + FP + FN) [1]_, from counts of pixels.

    Parameters
    ----------
    shared, predicted, true : ndarray of int
        Numbers of pixels of the class: in both images (TP), in the prediction (TP + FP), and in the
        truth (TP + FN).

    Returns
    -------
    ndarray of float64
        From 0 to 1; 1 if neither image has a pixel of the class.

    References
    ----------
    .. [1] L. R. Dice, 1945, doi:10.2307/1932409
    """
    return _ratio(2 * shared, predicted + true, empty=1.0)


def jaccard(shared: AnyArray, predicted: AnyArray, true: AnyArray) -> Floats:
    """Compute Jaccard, TP / (TP + FP + FN), as `dice` does.

    P. Jaccard, 1912, doi:10.1111/j.1469-8137.1912.tb05611.x
    """
    return _ratio(shared, predicted + true - shared, empty=1.0)


def _ratio(part: AnyArray, whole: AnyArray, *, empty: float) -> Floats:
    ratio = np.full(np.shape(whole), empty)
    np.divide(part, whole, out=ratio, where=np.asarray(whole) > 0)
    return ratio
