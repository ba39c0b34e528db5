"""Share out calls to several threads, and keep their order; make one call beside the work."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Call a function with each item, several at the same time; yield the results in order.

    Parameters
    ----------
    function : callable
        Called in other threads; with one worker, in the thread that iterates.
    items : iterable
        Iterated in the thread that iterates.
    workers : int
        How many calls run or wait for their turn at most.

    Yields
    ------
    object
        The result for each item. The generator ends when its last call has ended, also after an
        exception, and when it is closed before.

    Raises
    ------
    BaseException
        What the function raises, in place of that result.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="sfseg") as pool:
        try:
            for item in items:
                if len(waiting) == workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for call in waiting:
                call.cancel()


def call_beside(function: Callable[[], R]) -> "Future[R]":
    """Call a function in a thread that does not keep the process alive.

    Parameters
    ----------
    function : callable
        Called without arguments.

    Returns
    -------
    Future
        Its result, or what it raises.
    """
    future: Future[R] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            future.set_exception(error)

    Thread(target=call, name="sfseg beside", daemon=True).start()
    return future
