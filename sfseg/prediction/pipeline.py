"""Read ahead in one thread and write behind in another, while the main thread computes.

`read_ahead` and `WriteBehind` are context managers.
At most a few items wait in each. At the end of a block its thread has ended, also after an
exception. An error in the thread is raised in the block.

A bounded queue is made of two unbounded ones: one carries the items, the other the free places.
Ctrl-C interrupts their ``get`` and leaves no lock held, which `queue.Queue` cannot promise.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _Worker:
    """A thread, a queue of free places for items, and the time that the thread was busy.

    Attributes
    ----------
    busy_s : float
        Seconds that the thread worked, without waiting. Read it after the block.
    """

    def __init__(self, name: str, depth: int) -> None:
        self.busy_s = 0.0
        self._error: BaseException | None = None
        self._stopped = False
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(depth):
            self._places.put(None)
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"sfseg {name}", daemon=True)

    def _run(self) -> None:
        """Work, and keep the error for the block."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the block raises it
            self._error = error
        finally:
            self._wake()
            for _ in range(2):  # `_wait` is called at most twice
                self._ended.put(None)

    def _work(self) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        """Wake the block if it waits for this thread."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.busy_s += time.perf_counter() - started

    def _wait(self) -> None:
        """Wait for the end of the thread; may be called again after Ctrl-C.

        `Thread.join` alone is not enough: after one Ctrl-C it returns although the thread still
        runs (Python 3.11 and 3.12, github.com/python/cpython/issues/90882).
        """
        self._ended.get()
        self._thread.join()


class ReadAhead(_Worker, Iterator[T]):
    """The iterator of `read_ahead`; ``busy_s`` is the time that making the items took."""

    def __init__(self, items: Iterable[T], depth: int) -> None:
        super().__init__("read ahead", depth)
        self._items = items
        self._made: SimpleQueue[tuple[T] | None] = SimpleQueue()  # None: there are no more
        self._closing: BaseException | None = None

    def _work(self) -> None:
        with self._busy():
            iterator = iter(self._items)
        try:
            while not self._stopped:
                with self._busy():
                    made = next(((item,) for item in iterator), None)
                if made is None:
                    return
                self._places.get()
                self._made.put(made)
                del made  # else it stays in memory until the next one is made
        finally:
            self._close(iterator)

    def _close(self, iterator: Iterator[T]) -> None:
        """Close a generator in the thread where it ran; the block raises its error."""
        close = getattr(iterator, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:  # noqa: BLE001 - the block raises it
            self._closing = error

    def _wake(self) -> None:
        self._made.put(None)

    def __next__(self) -> T:
        if self._stopped:
            raise StopIteration
        made = self._made.get()
        if made is None:
            self._stopped = True
            if self._error is not None:
                raise self._error
            raise StopIteration
        self._places.put(None)
        return made[0]

    def _stop(self) -> None:
        self._stopped = True
        self._places.put(None)
        self._wait()


@contextlib.contextmanager
def read_ahead(items: Iterable[T], depth: int = 2) -> Iterator[ReadAhead[T]]:
    """Make the next items in a thread while the block works on one.

    Parameters
    ----------
    items : iterable
        Iterated in the thread; a generator is also closed there.
    depth : int
        How many items wait at most, beside the one that is being made.

    Yields
    ------
    ReadAhead
        An iterator over the same items in the same order.

    Raises
    ------
    BaseException
        The error of making an item, raised in place of that item. If the block ends before, the
        error is dropped.
    """
    ahead = ReadAhead(items, depth)
    ahead._thread.start()
    try:
        yield ahead
    finally:
        ahead._stop()
    if ahead._closing is not None:
        raise ahead._closing


class WriteBehind(_Worker, Generic[T]):
    """Pass items to a thread that consumes them while the block continues.

    The end of the block waits until all items are consumed. After an exception in the block,
    waiting items are dropped.

    Parameters
    ----------
    consume : callable
        Called in the thread with each item, in order.
    depth : int
        How many items wait at most, beside the one that is being consumed.

    Attributes
    ----------
    busy_s : float
        Seconds spent in `consume`. Read it after the block.

    Raises
    ------
    BaseException
        The error of `consume`: raised by the next `put`, or at the end of the block, unless the
        block raises an error of its own.
    """

    def __init__(self, consume: Callable[[T], None], depth: int = 2) -> None:
        super().__init__("write behind", depth)
        self._consume = consume
        self._waiting: SimpleQueue[tuple[T] | None] = SimpleQueue()  # None: there are no more

    def put(self, item: T) -> None:
        """Wait for a free place, then pass an item to the thread. Call it from one thread only.

        Raises
        ------
        BaseException
            The error of `consume` on an earlier item.
        """
        if self._error is None:
            self._places.get()
        if self._error is not None:  # it may have come during the wait
            raise self._error
        self._waiting.put((item,))

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None and not self._stopped:
            self._places.put(None)
            with self._busy():
                self._consume(waiting[0])
            del waiting

    def _wake(self) -> None:
        self._places.put(None)

    def __enter__(self) -> "WriteBehind[T]":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.put(None)
        try:
            if kind is None:
                self._wait()
        finally:  # also when the wait was interrupted
            self._stopped = True
            self._wait()
        if kind is None and self._error is not None:
            raise self._error
