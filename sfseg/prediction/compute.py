"""Read, predict and write the tiles of a stack, in three threads that work at the same time."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice

from sfseg.prediction.pipeline import WriteBehind, read_ahead
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tile_reader import StackTile
from sfseg.types import Probability


def predict_tiles(
    tiles: Iterable[StackTile],
    predictor: Predictor,
    write: Callable[[StackTile, Probability], None],
) -> dict[str, float]:
    """Predict tiles while the next ones are read and the last ones are written.

    Parameters
    ----------
    tiles : iterable of StackTile
        The tiles; iterated in a thread of its own, one tile ahead.
    predictor : Predictor
        Predicts them, in batches.
    write : callable
        Called with each tile and the probability of its core, in order, in another thread.

    Returns
    -------
    dict of str to float
        Seconds of each stage: ``read_s``, ``compute_s``, ``write_s``. They overlap.

    Raises
    ------
    BaseException
        Whatever reading, computing or writing raises.
    """
    computing = 0.0
    with (
        read_ahead(tiles, depth=1) as ahead,
        WriteBehind[tuple[StackTile, Probability]](lambda done: write(*done), depth=1) as behind,
    ):
        for batch in _batches(ahead, predictor):
            began = time.perf_counter()
            results = predictor.predict([tile.window for tile in batch], batch[0].tile.keep)
            computing += time.perf_counter() - began
            for done in zip(batch, results, strict=True):
                behind.put(done)
            del batch, results, done  # else they stay in memory while the next batch is computed
    return {"read_s": ahead.busy_s, "compute_s": computing, "write_s": behind.busy_s}


def _batches(tiles: Iterable[StackTile], predictor: Predictor) -> Iterator[list[StackTile]]:
    """Group tiles of one size and core; `predictor.batch` may get smaller on the way."""
    for _, group in groupby(tiles, lambda tile: (tile.window.pixels.shape, tile.tile.keep)):
        while batch := list(islice(group, predictor.batch)):
            yield batch
