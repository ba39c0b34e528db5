"""Share out the calls of a function to the workers of a cluster, as threads would do them."""

import platform
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from typing import Any, TypeVar

from distributed import get_worker
from distributed.protocol import pickle

from sfseg import __version__
from sfseg.cluster.connect import Cluster, versions_differ
from sfseg.cluster.failures import Failures
from sfseg.cluster.feed import Call, Failed, Feed
from sfseg.errors import (
    ClusterError,
    NonFiniteError,
    SfsegError,
    ShapeMismatchError,
    StackError,
)
from sfseg.system.malloc import keep_memory_as_usual
from sfseg.types import Say

T = TypeVar("T")
R = TypeVar("R")

_dumps: Callable[[object], bytes] = pickle.dumps
_loads: Callable[[bytes], Any] = pickle.loads

PACKAGES = ("numpy", "scipy", "bioimage-cpp", "numba")
"""What cells and scores are computed with."""

_OF_INPUT = (StackError, NonFiniteError, ShapeMismatchError)
"""Errors that the input raises on any machine."""

_FUNCTIONS = 4
"""So many functions, and the stacks that they have open, a worker keeps for the next call."""


class ClusterShare:
    """Calls functions on the workers of a cluster; a `sfseg.system.sharing.Share`.

    Each thread of a worker computes one call at a time. A call that fails is tried again on
    other workers; see `Feed`.

    Parameters
    ----------
    cluster : Cluster
        Where they run.
    can_resume : bool
        Whether the calls keep what they find, so that a stopped run can be resumed.
    say : callable
        Called with lines of text for the person who waits.
    """

    def __init__(self, cluster: Cluster, *, can_resume: bool, say: Say) -> None:
        self._cluster, self._can_resume, self._say = cluster, can_resume, say

    @classmethod
    def start(cls, cluster: Cluster, *, can_resume: bool, say: Say) -> "ClusterShare":
        """Wait for a worker, and check the versions of all; raises ClusterError."""
        Feed(cluster, say).wait_for_worker()
        cluster.require_versions(dict(_versions()))
        return cls(cluster, can_resume=can_resume, say=say)

    def __call__(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        workers: int,  # noqa: ARG002 - the cluster has its own
    ) -> Iterator[R]:
        """Call a function with each item, the index of a section or a range of them.

        Yields
        ------
        object
            The result for each item, in their order; none for a call that failed.

        Raises
        ------
        StackError, NonFiniteError, ShapeMismatchError
            If the function raises it, as it would here.
        BlocksError
            If calls failed otherwise, after the others have ended.
        ClusterError
            If the connection to the scheduler is lost.
        """
        # each time another text: what a worker has open for another call may be of yesterday
        data = _dumps((secrets.token_hex(8), function))
        calls = (
            Call(_call, (data, _versions(), item), (position, item))
            for position, item in enumerate(items)
        )
        failures, following = Failures(self._cluster.address, can_resume=self._can_resume), 0
        waiting: dict[int, Any] = {}
        for call, result in Feed(self._cluster, self._say).run(calls):
            position, item = call.tag
            if isinstance(result, Failed) and result.error is not None:
                raise result.error
            failures.note(_place(item), result)
            waiting[position] = result
            while following in waiting:
                found = waiting.pop(following)
                following += 1
                if not isinstance(found, Failed):
                    yield found
        failures.require_none()


@lru_cache(1)
def _versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of what computes; functions are sent as the byte code of Python."""
    packages = ((name, metadata.version(name)) for name in PACKAGES)
    return ("sfseg", __version__), ("python", platform.python_version()), *packages


def _place(item: Any) -> str:
    """Name the sections of a call."""
    first, last = (item[0], item[-1]) if isinstance(item, range) else (item, item)
    return f"section {first + 1}" if first == last else f"sections {first + 1} to {last + 1}"


_loading = threading.Lock()


def _call(data: bytes, versions: tuple[tuple[str, str], ...], item: Any) -> Any:
    """Call a function on a worker; return why it failed."""
    try:
        with _loading:  # by one of the threads, for all
            function = _load(data, versions)
        return function(item)
    except Exception as error:  # noqa: BLE001 - of whatever kind, it is reported with its place
        failed = Failed.from_error(error, get_worker().address)
        return replace(failed, error=error) if isinstance(error, _OF_INPUT) else failed


@lru_cache(_FUNCTIONS)
def _load(data: bytes, versions: tuple[tuple[str, str], ...]) -> Callable[[Any], Any]:
    """Load a function, which opens the stacks that it reads."""
    for (package, theirs), (_, ours) in zip(_versions(), versions, strict=True):
        if theirs != ours:
            raise versions_differ(get_worker().address, package, theirs, ours)
    keep_memory_as_usual()
    try:
        function: Callable[[Any], Any] = _loads(data)[1]
    except SfsegError as error:  # of this worker, not of the input, which was opened before
        raise ClusterError(f"{error.message} (on a worker)", hint=error.hint) from error
    return function
