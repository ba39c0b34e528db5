"""Close gaps in the membranes of a map, where the membrane continues on both sides.

One weak membrane pixel is enough for a threshold to merge two cells, however strong the rest of
their membrane is. Here the mean of the whole border decides:

1. The map is cut into basins, one for each summit of interior probability.
2. Neighbouring basins are joined, pair after pair: first the pair with the highest mean border.
3. Along the border of each pair the map is lowered to the mean at which the two were joined.

Then a threshold separates the basins that were joined at a lower mean, along their whole border
(ultrametric contour map: Arbelaez et al. 2011, doi:10.1109/TPAMI.2010.161).
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from sfseg.types import Probability

SMOOTHING_PX = 1.0
"""Standard deviation of the Gaussian before basins are found."""

SHALLOWEST = 0.1
"""Two summits are two basins if the valley between them is deeper than this, in probability.

So a wide gap that is hardly darker than the cells beside it stays open.
"""


def close_gaps(probability: Probability) -> Probability:
    """Lower a section's interior probability where basins meet, to the mean of their border.

    Parameters
    ----------
    probability : ndarray of float32, shape (Y, X)
        Interior probability in [0, 1] of a whole section.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        The same, but lower on lines of one or two pixels between basins.
    """
    basins, flat = _basins(probability), probability.reshape(-1)  # (Y, X) and (Y * X,)
    here, there = _contacts(basins)  # (N,): indices into `flat`
    # (2, N): the basins of each contact, the lower number first, so that a-b and b-a are one border
    pairs = np.sort(basins.reshape(-1)[np.stack([here, there])].astype(np.int64), axis=0)
    # each pair as one number, because `unique` is much faster on numbers than on pairs
    count = pairs.max(initial=0) + 1
    borders, which = np.unique(pairs[0] * count + pairs[1], return_inverse=True)  # (M,) and (N,)
    weaker = np.where(flat[here] <= flat[there], here, there)  # (N,): the darker pixel of a contact
    sums, pixels = np.bincount(which, flat[weaker]).tolist(), np.bincount(which).tolist()
    heights = _join(
        list(zip(*(side.tolist() for side in np.divmod(borders, count)), strict=True)),
        [_Border(*each, [i]) for i, each in enumerate(zip(sums, pixels, strict=True))],
    )
    closed = flat.copy()
    # `minimum.at`, because a pixel may lie on several borders: the lowest counts
    np.minimum.at(closed, weaker, heights[which].astype(np.float32))
    return closed.reshape(probability.shape)


def _basins(probability: Probability) -> NDArray[np.int32]:
    """Give each pixel the number of its basin, from 1; all are 0 if the map has no summit."""
    smooth = gaussian_filter(probability, SMOOTHING_PX)
    # Extended maxima: a plateau for each dome. `h_maxima` would give two if its tops are equal.
    domes = local_maxima(reconstruction(smooth - SHALLOWEST, smooth), connectivity=2)
    summits, _ = label(domes, np.ones((3, 3)))
    basins: NDArray[np.int32] = watershed(-smooth, summits)
    return basins


def _contacts(basins: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find pairs of 4-neighbours in different basins, as indices into the flat section."""
    pixels = np.arange(basins.size).reshape(basins.shape)
    here = np.concatenate([pixels[:, :-1].ravel(), pixels[:-1].ravel()])
    there = np.concatenate([pixels[:, 1:].ravel(), pixels[1:].ravel()])
    differ = basins.flat[here] != basins.flat[there]
    return here[differ], there[differ]


@dataclass(eq=False)
class _Border:
    """The border of two basins: sum and number of its pixels, and the borders joined into it."""

    total: float
    pixels: int
    numbers: list[int]  # of borders, as `_join` gets them

    def __add__(self, other: "_Border") -> "_Border":
        return _Border(
            self.total + other.total, self.pixels + other.pixels, self.numbers + other.numbers
        )


def _join(pairs: Sequence[tuple[int, int]], borders: Sequence[_Border]) -> NDArray[np.float64]:
    """Join basins along the border with the highest mean, until only one basin is left.

    Parameters
    ----------
    pairs : sequence of (int, int)
        The two basins of each border.
    borders : sequence of _Border, length M
        One for each pair; number i has the list ``[i]``.

    Returns
    -------
    ndarray of float64, shape (M,)
        For each border the mean at which its two sides were joined.
    """
    heights = np.ones(len(pairs))
    around: defaultdict[int, dict[int, _Border]] = defaultdict(dict)  # the neighbours of a basin
    queue: list[tuple[float, int, int, int, _Border]] = []
    serial = itertools.count()  # decides between equal means; borders cannot be compared

    def put(a: int, b: int, border: _Border) -> None:
        around[a][b] = around[b][a] = border
        heappush(queue, (-border.total / border.pixels, next(serial), a, b, border))

    for (a, b), border in zip(pairs, borders, strict=True):
        put(a, b, border)
    height = 1.0
    while queue:
        minus_mean, _, a, b, border = heappop(queue)
        if around[a].get(b) is not border:
            continue  # an old entry: a basin was joined since, or the border has grown
        height = min(height, -minus_mean)  # only rounding could make it rise
        heights[border.numbers] = height
        if len(around[b]) > len(around[a]):
            a, b = b, a  # join b to a: the one with fewer neighbours is less work
        del around[a][b], around[b][a]
        for c, theirs in around.pop(b).items():
            del around[c][b]
            put(a, c, around[a][c] + theirs if c in around[a] else theirs)
    return heights
