"""Close the gaps of a membrane map, where the membrane continues on either side.

A threshold joins two cells for the weakest pixel between them, however strong the rest of their
membrane. Here the whole of it decides: the map is cut into basins that hold one summit of interior
probability each; neighbours are joined one after the other, those first whose common border has the
highest mean; and where two were parted until then, the map is lowered to that mean. So every
threshold has the cells that joining up to it makes (ultrametric contour map: Arbelaez et al. 2011,
doi:10.1109/TPAMI.2010.161).
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
"""Depth of the valley between two summits, in probability, that makes basins of them.

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
        Nowhere higher, and the same but for lines of one or two pixels between basins.
    """
    basins, flat = _basins(probability), probability.reshape(-1)
    here, there = _contacts(basins)
    pairs = np.sort(basins.reshape(-1)[np.stack([here, there])].astype(np.int64), axis=0)
    count = pairs.max(initial=0) + 1
    borders, which = np.unique(pairs[0] * count + pairs[1], return_inverse=True)
    weaker = np.where(flat[here] <= flat[there], here, there)
    sums, pixels = np.bincount(which, flat[weaker]).tolist(), np.bincount(which).tolist()
    heights = _join(
        list(zip(*(side.tolist() for side in np.divmod(borders, count)), strict=True)),
        [_Border(*each, [i]) for i, each in enumerate(zip(sums, pixels, strict=True))],
    )
    closed = flat.copy()
    np.minimum.at(closed, weaker, heights[which].astype(np.float32))
    return closed.reshape(probability.shape)


def _basins(probability: Probability) -> NDArray[np.int32]:
    """Give each pixel the number of its basin; 0 where there is a single one, without a summit."""
    smooth = gaussian_filter(probability, SMOOTHING_PX)
    # One plateau for each dome (extended maxima); of equal tops `h_maxima` would make two.
    domes = local_maxima(reconstruction(smooth - SHALLOWEST, smooth), connectivity=2)
    summits, _ = label(domes, np.ones((3, 3)))
    basins: NDArray[np.int32] = watershed(-smooth, summits)
    return basins


def _contacts(basins: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the pixels side by side that lie in different basins, as indices when flat."""
    pixels = np.arange(basins.size).reshape(basins.shape)
    here = np.concatenate([pixels[:, :-1].ravel(), pixels[:-1].ravel()])
    there = np.concatenate([pixels[:, 1:].ravel(), pixels[1:].ravel()])
    differ = basins.flat[here] != basins.flat[there]
    return here[differ], there[differ]


@dataclass(eq=False)
class _Border:
    """Between two basins: sum and number of its pixels, and the borders that it was made of."""

    total: float
    pixels: int
    parts: list[int]

    def __add__(self, other: "_Border") -> "_Border":
        return _Border(
            self.total + other.total, self.pixels + other.pixels, self.parts + other.parts
        )


def _join(pairs: Sequence[tuple[int, int]], borders: Sequence[_Border]) -> NDArray[np.float64]:
    """Join basins along the border of the highest mean, until there is one.

    Parameters
    ----------
    pairs : sequence of (int, int)
        The basins on the sides of each border.
    borders : sequence of _Border
        Each a part of its own.

    Returns
    -------
    ndarray of float64, shape (N,)
        The mean at which what a border parted was joined.
    """
    heights = np.ones(len(pairs))
    around: defaultdict[int, dict[int, _Border]] = defaultdict(dict)
    queue: list[tuple[float, int, int, int, _Border]] = []
    serial = itertools.count()  # the first come where means are equal, and borders have no order

    def put(a: int, b: int, border: _Border) -> None:
        around[a][b] = around[b][a] = border
        heappush(queue, (-border.total / border.pixels, next(serial), a, b, border))

    for (a, b), border in zip(pairs, borders, strict=True):
        put(a, b, border)
    height = 1.0
    while queue:
        minus_mean, _, a, b, border = heappop(queue)
        if around[a].get(b) is not border:
            continue  # one of them is part of another by now
        height = min(height, -minus_mean)  # only rounding could make it rise
        heights[border.parts] = height
        if len(around[b]) > len(around[a]):
            a, b = b, a
        del around[a][b], around[b][a]
        for c, theirs in around.pop(b).items():
            del around[c][b]
            put(a, c, around[a][c] + theirs if c in around[a] else theirs)
    return heights
