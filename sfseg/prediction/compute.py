"""Read, predict and write the tiles of a stack, in threads that work at the same time."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from queue import SimpleQueue

from sfseg.prediction.contrast import (
    TRIED_EVERY,
    compare_swapped,
    is_doubtful,
    measure_lines,
)
from sfseg.prediction.pipeline import WriteBehind, read_ahead
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tile_reader import StackTile
from sfseg.prediction.tile_writer import Facts, FinishedTile
from sfseg.system.threads import ordered
from sfseg.types import Probability

Finish = Callable[[StackTile, Probability], FinishedTile]


def predict_tiles(
    tiles: Iterable[StackTile],
    predictors: Sequence[Predictor],
    finish: Finish,
    write: Callable[[FinishedTile], None],
    *,
    workers: int = 1,
) -> dict[str, float]:
    """Predict tiles while the next ones are read and the last ones are written.

    Parameters
    ----------
    tiles : iterable of StackTile
        The tiles; iterated in a thread of its own, at least one tile ahead.
    predictors : sequence of Predictor
        Predict them, in batches; several do so at the same time. Some tiles whose contrast looks
        wrong are predicted again, with dark and bright swapped; see `sfseg.prediction.contrast`.
    finish : callable
        Called with each tile and the probability of its core, in any order, in other threads.
    write : callable
        Called with each result of `finish`, in order, in another thread.
    workers : int
        How many calls of `finish` run at the same time, and how many tiles are read ahead.

    Returns
    -------
    dict of str to float
        Seconds of each stage: ``read_s``, ``compute_s``, ``write_s``. They overlap. ``compute_s``
        is the mean of the predictors.

    Raises
    ------
    BaseException
        Whatever reading, computing or writing raises.
    """
    seconds: list[float] = []
    free: SimpleQueue[Predictor] = SimpleQueue()
    for predictor in predictors:
        free.put(predictor)

    def compute(batch: list[StackTile]) -> list[tuple[StackTile, Probability, Facts]]:
        predictor, began = free.get(), time.perf_counter()
        try:
            results = predictor.predict([tile.window for tile in batch], batch[0].tile.keep)
            tried = [_try_swapped(predictor, *done) for done in zip(batch, results, strict=True)]
        finally:
            free.put(predictor)
        seconds.append(time.perf_counter() - began)
        return list(zip(batch, results, tried, strict=True))

    def finish_and_add(tile: StackTile, probability: Probability, tried: Facts) -> FinishedTile:
        lines = tried or measure_lines(tile.window, tile.tile.keep, probability)
        done = finish(tile, probability)
        return replace(done, facts={**done.facts, **lines})

    with (
        ThreadPoolExecutor(workers, thread_name_prefix="sfseg finish") as pool,
        read_ahead(tiles, depth=workers) as ahead,
        WriteBehind[Callable[[], FinishedTile]](
            lambda make: write(make()), depth=workers
        ) as behind,
    ):
        batches = _batches(ahead, predictors)
        for results in ordered(compute, batches, len(predictors)):
            for done in results:
                in_thread = partial(finish_and_add, *done)
                behind.put(in_thread if workers == 1 else pool.submit(in_thread).result)
            del results, done, in_thread  # else they stay in memory during the next batch
    computing = sum(seconds) / len(predictors)
    return {"read_s": ahead.busy_s, "compute_s": computing, "write_s": behind.busy_s}


def _try_swapped(predictor: Predictor, tile: StackTile, probability: Probability) -> Facts:
    """Predict some of the tiles that look wrong again, with dark and bright swapped.

    The thread that predicts does this: in another one, PyTorch would compile the network again.
    Returns nothing for most tiles, else their `measure_lines`, and `compare_swapped` if predicted.
    """
    window, keep = tile.window, tile.tile.keep
    if tile.number % TRIED_EVERY:
        return {}
    lines = measure_lines(window, keep, probability)
    if not is_doubtful(lines):
        return lines
    (swapped,) = predictor.predict([window.swapped()], keep)
    return lines | compare_swapped(lines, measure_lines(window, keep, swapped))


def _batches(
    tiles: Iterable[StackTile], predictors: Sequence[Predictor]
) -> Iterator[list[StackTile]]:
    """Group tiles of one size and core; `Predictor.batch` may get smaller on the way."""
    for _, group in groupby(tiles, lambda tile: (tile.window.pixels.shape, tile.tile.keep)):
        while batch := list(islice(group, min(predictor.batch for predictor in predictors))):
            yield batch
