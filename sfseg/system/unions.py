"""Join things, such as labels, and find out which belong together; known as union-find.

Each names one that it belongs to, and the first of them itself.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfseg.system.kernels import compiled

Joined = NDArray[np.integer[Any]]
"""For each thing the number of one that it belongs to; at the start its own."""


@compiled
def first_of(joined: Joined, thing: np.integer[Any]) -> np.integer[Any]:
    """Return the first of all things that belong together, and shorten the way to it."""
    while joined[thing] != thing:
        joined[thing] = joined[joined[thing]]
        thing = joined[thing]
    return thing


@compiled
def join(joined: Joined, one: np.integer[Any], other: np.integer[Any]) -> None:
    """Join two things, and all that belong to them; the smallest number is the first."""
    one, other = first_of(joined, one), first_of(joined, other)
    joined[max(one, other)] = min(one, other)


@compiled
def name_firsts(joined: Joined) -> None:
    """Let each thing name the first of those that it belongs to."""
    for thing in range(len(joined)):
        joined[thing] = first_of(joined, joined[thing])
