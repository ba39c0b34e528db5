import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import models
from sfseg.augment import orient, unorient
from sfseg.checkpoints import load_weights
from sfseg.config import SHIPPED_MODEL
from sfseg.engines import torch_engine
from sfseg.normalise import resize, standardise
from sfseg.predictor import Predictor
from sfseg.tiles import halo_px


@pytest.fixture(scope="module")
def unet():
    """The network with the smallest halo, with statistics that depend on the input."""
    network = models.build("unet", seed=1)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 1, 64, 64))
    return network


@pytest.fixture(scope="module")
def predict(unet):
    engine = torch_engine(unet, torch.device("cpu"), torch.float32)
    return lambda **options: Predictor(engine, halo_px(unet, models.STRIDE), **options)


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (17, 3), (16, 16), (50, 31)])
def test_any_size_comes_back_as_it_was_with_probabilities(predict, shape, rng):
    probability = predict()(rng.integers(0, 256, shape, dtype=np.uint8))
    assert probability.shape == shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.parametrize("shape", [(24, 400), (401, 30)])
def test_tiles_leave_no_trace(predict, shape, rng):
    section = rng.integers(0, 256, shape, dtype=np.uint8)
    whole, tiled = predict()(section), predict(tile_px=64)(section)
    np.testing.assert_allclose(tiled, whole, atol=1e-6, rtol=0)
    assert np.ptp(whole) > 0.001


def test_tiles_of_the_shipped_network_leave_no_trace(tissue):
    """On a strip longer than a tile with its halo of 272 px on both sides."""
    network, _ = load_weights(SHIPPED_MODEL)
    strip = np.tile(tissue[0][0][:24], (1, 6))
    cpu, float32 = torch.device("cpu"), torch.float32
    whole = Predictor.of(network, cpu, float32, tile_px=2048)(strip)
    tiled = Predictor.of(network, cpu, float32, tile_px=64)(strip)
    assert strip.shape[1] > 64 + 2 * 272
    np.testing.assert_allclose(tiled, whole, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(np.rint(tiled * 255), np.rint(whole * 255))


def test_a_section_no_larger_than_a_tile_with_its_halo_is_not_cut():
    seen = []

    def engine(batch):
        seen.append(batch.shape)
        return batch

    Predictor(engine, halo_px=32, tile_px=64)(np.zeros((128, 100)))
    assert seen == [(1, 128, 112)]


def test_tiling_and_grey_scale_do_not_depend_on_each_other(predict, rng):
    section = rng.integers(0, 100, (20, 300), dtype=np.uint8)
    brighter = (section.astype(np.uint16) * 300 + 77).astype(np.uint16)
    np.testing.assert_allclose(
        predict(tile_px=64)(brighter), predict(tile_px=64)(section), atol=1e-4, rtol=0
    )


def test_averaging_over_d4_commutes_with_turning_the_section(predict, rng):
    section = rng.integers(0, 256, (32, 48), dtype=np.uint8)
    average = predict(tta="d4")
    turned = average(np.ascontiguousarray(np.rot90(section)[:, ::-1]))
    np.testing.assert_allclose(turned, np.rot90(average(section))[:, ::-1], atol=1e-5, rtol=0)


def test_a_network_with_an_input_size_sees_that_size_and_gives_the_section_s(rng):
    seen = []

    def engine(batch):
        seen.append(batch.shape)
        return np.full_like(batch, 0.25)

    probability = Predictor(engine, halo_px=16, input_px=64)(rng.random((30, 50)))
    assert seen == [(1, 64, 64)]
    np.testing.assert_allclose(probability, np.full((30, 50), 0.25), rtol=1e-6)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(orientation=st.integers(0, 7), height=st.integers(1, 5), width=st.integers(1, 5))
def test_unorient_undoes_orient(orientation, height, width):
    image = torch.arange(height * width).reshape(height, width)
    assert torch.equal(unorient(orient(image, orientation), orientation), image)


def test_the_eight_orientations_differ():
    image = torch.arange(4).reshape(2, 2)
    assert len({tuple(orient(image, o).flatten().tolist()) for o in range(8)}) == 8


def test_a_standardised_section_has_mean_0_and_deviation_1(rng):
    section = standardise(rng.integers(0, 65536, (64, 64), dtype=np.uint16))
    assert section.mean() == pytest.approx(0, abs=1e-5)
    assert section.std() == pytest.approx(1, abs=1e-5)


def test_a_constant_section_becomes_zeros():
    assert not standardise(np.full((4, 4), 255, np.uint8)).any()


def test_resizing_keeps_a_constant_and_the_range(rng):
    image = rng.random((1, 20, 30), dtype=np.float32)
    smaller = resize(image, (7, 40))
    assert smaller.shape == (1, 7, 40)
    assert image.min() <= smaller.min() <= smaller.max() <= image.max()
    assert (resize(np.ones((1, 640, 640), np.float32), (255, 333)) == 1).all()
