"""The same pixels, however many threads read, predict and finish tiles."""

from functools import partial

import numpy as np
import pytest
import torch

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.prediction.compute import predict_tiles
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tile_reader import read_tiles
from sfseg.prediction.tile_writer import ArrayTarget, finish_tile, make_writer
from tests.networks import Small

CONFIG = PredictConfig()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def volume():
    """Five sections, one of them with an empty border, one blank."""
    volume = np.random.default_rng(0).integers(40, 200, (5, 96, 112)).astype(np.uint8)
    volume[1, :40] = 0
    volume[3] = 7
    return volume


def predict(volume, predictors, *, workers):
    """Predict an array with these predictors; return the map and the facts of all tiles."""
    stack = io.open_array(volume, "test", hint="none")
    tiles = predictors[0].tiles(volume.shape[1:])
    numbers = range(len(volume) * len(tiles))
    target, facts = ArrayTarget(volume.shape), []
    writer = make_writer(target, CONFIG)
    predict_tiles(
        read_tiles(stack, tiles, numbers, workers=workers),
        predictors,
        partial(finish_tile, config=CONFIG),
        lambda tile: facts.extend(writer.put(tile)),
        workers=workers,
    )
    return target.pixels, facts


def predictors_of(network, count, **options):
    engine = torch_engine(network, CPU, torch.float32)
    return [Predictor(engine, 16, tile_px=32, **options) for _ in range(count)]


@pytest.mark.parametrize(("count", "workers", "batch"), [(1, 4, 1), (2, 1, 1), (3, 4, 2)])
def test_threads_and_predictors_change_no_bit_of_map_and_facts(
    small, volume, count, workers, batch
):
    pixels, facts = predict(volume, predictors_of(small, 1), workers=1)
    found = predict(volume, predictors_of(small, count, batch=batch), workers=workers)
    np.testing.assert_array_equal(found[0], pixels)
    assert found[1] == facts


def test_all_predictors_get_tiles(small, volume):
    used = set()

    def noting(name, engine):
        def run(batch):
            used.add(name)
            return engine(batch)

        return run

    engine = torch_engine(small, CPU, torch.float32)
    predictors = [Predictor(noting(name, engine), 16, tile_px=32) for name in "ab"]
    predict(volume, predictors, workers=2)
    assert used == set("ab")


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_one_of_several_predictors_ends_the_work(volume, workers):
    def broken(_batch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        predict(volume, [Predictor(broken, 16, tile_px=32) for _ in range(2)], workers=workers)


def test_one_doubtful_tile_in_eight_is_predicted_swapped(volume):
    seen = []

    def marks_bright(batch):
        seen.extend(batch)
        return np.where(batch > 0, np.float32(0.7), np.float32(0.9))

    facts = dict(predict(volume[[0, 2]], [Predictor(marks_bright, 16, tile_px=32)], workers=2)[1])
    tried = [number for number, found in facts.items() if "tried_swapped" in found]
    assert tried == [0, 8]
    assert len(seen) == len(facts) + len(tried)
    np.testing.assert_array_equal(seen[1], -seen[0])
    assert 0 < facts[0]["tried_as_is"] < 0.42
    assert all("dark_marked" in found for found in facts.values())

    def marks_all(batch):
        return np.zeros_like(batch)

    facts = dict(predict(volume[[0, 2]], [Predictor(marks_all, 16, tile_px=32)], workers=2)[1])
    assert not any("tried_swapped" in found for found in facts.values())
