"""Pairs of numbers as one integer each, so that they can be sorted and counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled

Keys = NDArray[np.int64]

_LATER = 32
"""Bits of the larger number."""


@compiled
def pair_key(one: np.integer, other: np.integer) -> np.int64:
    """Join two numbers below 2^31: the smaller * 2^32 + the larger."""
    return np.int64(min(one, other)) << np.int64(_LATER) | np.int64(max(one, other))


def pair_keys(pairs: NDArray[np.integer[Any]]) -> Keys:
    """Join the two numbers of each row as `pair_key` does; the smaller one is the first."""
    return pairs[:, 0].astype(np.int64) << _LATER | pairs[:, 1].astype(np.int64)


def split_keys(keys: Keys) -> tuple[Keys, Keys]:
    """Return the smaller and the larger number of each key."""
    return keys >> _LATER, keys & (2**_LATER - 1)
