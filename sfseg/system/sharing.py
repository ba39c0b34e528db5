"""Share out calls: what does it, threads or a cluster, is for whoever starts the work to choose."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

from sfseg.types import Shape

T = TypeVar("T")
R = TypeVar("R")

GROUP_PX = 2**22
"""Pixels of the small sections that are one call: its work is long beside its message."""

LEAST_GROUPS = 32
"""A stack is so many calls, if it has so many sections: so all workers end at about one time."""


class Share(Protocol):
    """Calls a function with each item, as `sfseg.system.threads.ordered`, and perhaps elsewhere.

    There the function and the items are pickled. So a function may say all that it depends on, but
    it cannot change anything here.
    """

    def __call__(self, function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
        """Yield the results in the order of the items; `workers` is the number of threads."""
        ...


def group_sections(shape: Shape) -> list[range]:
    """Divide the sections of a stack into groups in a row, one for each call.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).

    Returns
    -------
    list of range
        Indices of sections, from 0.
    """
    depth, rows, columns = shape
    count = max(min(GROUP_PX // (rows * columns), depth // LEAST_GROUPS), 1)
    return [range(first, min(first + count, depth)) for first in range(0, depth, count)]


def in_groups(
    function: Callable[[range], Iterable[R]], shape: Shape, share: Share | None
) -> Iterator[R]:
    """Call a function with sections in a row, and yield what it yields for each of them.

    Parameters
    ----------
    function : callable
        Called with indices of sections, from 0.
    shape : tuple of int
        (Z, Y, X) of the stack.
    share : Share, optional
        What calls it, with groups of sections; by default, it is called here, with all of them.
    """
    if share is None:
        return iter(function(range(shape[0])))
    return chain.from_iterable(share(partial(_list, function), group_sections(shape), 1))


def _list(function: Callable[[range], Iterable[R]], group: range) -> list[R]:
    return list(function(group))
