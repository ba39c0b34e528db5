"""Feed calls to the workers of a cluster, a few at a time, so that millions need no memory."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from sfseg.cluster.connect import Cluster
from sfseg.errors import SfsegError
from sfseg.types import Say

AHEAD = 3
"""Calls for each thread of the cluster that run or wait there: none waits for its next one."""

MOST_TRIES = 3
"""A call that fails is tried so often, on other workers where there are some."""

LOOK_S = 1.0
"""How often the workers are counted."""

SLOW, SLOW_S = 3.0, 10.0
"""A call is sent again if none has ended in so many times the longest call, and so many seconds."""

FIRST_S = 120.0
"""The same before the first call ended, when nobody knows how long one takes."""


@dataclass(frozen=True)
class Failed:
    """Why a call failed, on which worker, and whether another try cannot help.

    `error` is one that the call would raise on any machine, as for an input that is no map.
    """

    reason: str
    worker: str
    is_final: bool = False
    error: SfsegError | None = None

    @classmethod
    def from_error(
        cls, error: BaseException, worker: str = "", *, is_final: bool = False
    ) -> "Failed":
        """Describe an error."""
        if type(error).__name__ == "KilledWorker":  # of distributed
            text = "each worker that computed it died, perhaps for lack of memory"
        elif isinstance(error, SfsegError):
            text = error.message
        elif isinstance(error, OSError) and error.strerror:
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        else:
            text = f"{type(error).__name__}: {error}"
        return cls(" ".join(text.split()), worker, is_final)


@dataclass(frozen=True)
class Call:
    """A function with its arguments, for a worker.

    Attributes
    ----------
    function : callable
        Returns its result, or a `Failed`.
    arguments : tuple
        What to call it with; a future among them is replaced by its result, or by None if the
        call is sent again.
    tag : object
        What the call is for.
    tried_on : tuple of str
        The workers on which it failed.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tag: Any = None
    tried_on: tuple[str, ...] = ()


@dataclass
class _UnderWay:
    """A call under way: its futures, and when it was sent first and last."""

    call: Call
    first: float
    last: float
    futures: list[Any]


class Feed:
    """Sends calls to a cluster.

    Parameters
    ----------
    cluster : Cluster
        Where they run.
    say : callable
        Called with lines of text for the person who waits.
    """

    def __init__(self, cluster: Cluster, say: Say) -> None:
        self._cluster, self._say = cluster, say
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._under_way: dict[str, _UnderWay] = {}  # by the key of each of its futures
        self._threads: dict[str, int] = {}
        self._looked, self._is_waiting = float("-inf"), False
        self._last_end, self._longest_s = time.monotonic(), 0.0

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Any]]:
        """Run calls; iterate over them only as fast as they end.

        Yields
        ------
        call : Call
            In the order in which they end.
        result : object
            What it returned; a `Failed` after the last try.

        Raises
        ------
        ClusterError
            If the connection to the scheduler is lost.
        """
        remaining = iter(calls)
        while True:
            self._look()
            free = AHEAD * max(sum(self._threads.values()), 1) - len(self._under_way)
            more = list(islice(remaining, max(free, 0)))
            for call in more:
                self._send(call)
            if not self._under_way:
                return
            if not more:
                self._send_slow_again()
            for call, result in self._ended():
                if isinstance(result, Failed) and self._try_again(call, result):
                    continue
                yield call, result

    def wait_for_worker(self) -> None:
        """Wait until there is a worker, and say so; raises as `run` does."""
        while True:
            self._look()
            if self._threads:
                return
            time.sleep(LOOK_S)

    def wait_for(self, future: Any) -> Any:
        """Wait for a call that was sent without this feed, and say if there is no worker.

        Returns or raises what the call does; raises as `run` does if the connection is lost.
        """
        has_ended = Event()
        future.add_done_callback(lambda _: has_ended.set())
        while not has_ended.wait(LOOK_S):
            self._look()
        with self._cluster.explain_errors():
            return future.result()

    def _try_again(self, call: Call, failed: Failed) -> bool:
        """Send a call that failed again, if that may help."""
        tried_on = (*call.tried_on, failed.worker)
        if failed.is_final or len(tried_on) == MOST_TRIES:
            return False
        self._send(replace(call, tried_on=tried_on))
        return True

    def _send(self, call: Call) -> None:
        """Send a call for the first time, or after it failed."""
        now = time.monotonic()
        self._submit(_UnderWay(call, now, now, []), call.tried_on)

    def _send_slow_again(self) -> None:
        """Send calls once more if none ends any more: their workers may hang.

        The first result counts. The workers to avoid are those that have the call.
        """
        now = time.monotonic()
        patience_s = max(SLOW * self._longest_s, SLOW_S) if self._longest_s else FIRST_S
        if now - self._last_end < patience_s:
            return
        with self._cluster.explain_errors():
            busy = self._cluster.client.processing()
        for each in list({id(way): way for way in self._under_way.values()}.values()):
            waited_for = [*each.futures, *filter(_is_future, each.call.arguments)]
            had = {future.key for future in waited_for}
            avoid = [worker for worker, keys in busy.items() if had.intersection(keys)]
            if now - each.last > patience_s and set(self._threads).difference(avoid):
                each.last = now
                self._submit(each, avoid)

    def _submit(self, under_way: _UnderWay, avoid: Sequence[str]) -> None:
        """Submit a call; avoid some workers, if there are others."""
        call = under_way.call
        options: dict[str, Any] = {}
        arguments = call.arguments
        if call.tried_on or under_way.futures:  # a worker that hangs is not waited for
            arguments = tuple(None if _is_future(each) else each for each in arguments)
        others = [worker for worker in self._threads if worker not in avoid]
        if avoid and others:
            options = {"workers": others}
        with self._cluster.explain_errors():
            future = self._cluster.client.submit(call.function, *arguments, pure=False, **options)
        under_way.futures.append(future)
        self._under_way[future.key] = under_way
        future.add_done_callback(self._ready.put)

    def _ended(self) -> Iterator[tuple[Call, Any]]:
        """Wait for calls that end, at most `LOOK_S`; yield each with its result."""
        try:
            ended = [self._ready.get(timeout=LOOK_S)]
        except Empty:
            if not self._cluster.is_connected:
                raise self._cluster.lost() from None
            return
        while not self._ready.empty():
            ended.append(self._ready.get())
        ended = [future for future in ended if future.key in self._under_way]
        if any(future.cancelled() for future in ended):
            raise self._cluster.lost()
        self._last_end = time.monotonic()
        for future, result in zip(ended, self._gather(ended), strict=True):
            under_way = self._under_way.get(future.key)
            if under_way is None:  # its double ended in the same moment
                continue
            for each in under_way.futures:
                del self._under_way[each.key]
            self._longest_s = max(self._longest_s, self._last_end - under_way.first)
            yield under_way.call, result

    def _gather(self, futures: list[Any]) -> list[Any]:
        """Fetch the results of several calls at once; that of an error is a `Failed`."""
        with self._cluster.explain_errors():
            if not any(future.status == "error" for future in futures):
                return list(self._cluster.client.gather(futures))
            return [
                Failed.from_error(future.exception(), is_final=True)
                if future.status == "error"
                else future.result()
                for future in futures
            ]

    def _look(self) -> None:
        """Count the workers now and then; say that there are none, and that there are some."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._threads, self._looked = self._cluster.threads(), now
        if not self._threads and not self._is_waiting:
            self._say(f"{self._cluster.address} has no worker: waiting for one")
        elif self._threads and self._is_waiting:
            self._say(f"{len(self._threads)} of its workers are there")
        self._is_waiting = not self._threads


def _is_future(argument: object) -> bool:
    """Tell whether an argument of a call is the result of another one."""
    return hasattr(argument, "key")
