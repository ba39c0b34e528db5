"""Whole sections, tiles and averages: the same bits in any order, batch and size."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfseg import models
from sfseg.config import SHIPPED_MODEL
from sfseg.models.weights import load_weights
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tiles import Tile, halo_px, lengths, padded_shape
from sfseg.prediction.windows import cut_window, needed_of, window_of
from sfseg.system.devices import has_bf16
from sfseg.transforms.normalise import measure_section, standardise
from sfseg.transforms.orient import ORIENTATIONS, orient, unorient

CPU = torch.device("cpu")
DTYPES = [torch.float32, *[torch.bfloat16] * has_bf16(CPU)]
"""The arithmetic that this processor has."""

each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.bf16)]
)

sizes = st.one_of(
    st.tuples(st.integers(1, 260), st.integers(1, 260)),
    st.tuples(st.integers(1, 20), st.integers(200, 600)),
    st.tuples(st.integers(200, 600), st.integers(1, 20)),
    st.sampled_from([(1, 1), (1, 600), (600, 1), (17, 241), (257, 251), (16, 16), (79, 81)]),
)

strips = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(200, 500)),
    st.tuples(st.integers(200, 500), st.integers(1, 40)),
    st.sampled_from([(1, 1), (1, 600), (600, 1), (17, 241), (257, 251), (79, 81), (300, 300)]),
)


def examples(number):
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,  # the default run is the same for everyone
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(scope="module")
def engines(small_network):
    return {dtype: torch_engine(small_network, CPU, dtype) for dtype in DTYPES}


@pytest.fixture(scope="module")
def predict(engines, small_network):
    """Make a predictor of the small network, float32, and call it."""
    halo = halo_px(small_network, models.STRIDE)
    return lambda dtype=torch.float32, **options: Predictor(engines[dtype], halo, **options)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def blurred(batch):
    """Stand for a network: each pixel depends on its eight neighbours, to the bit."""
    around = np.pad(batch, ((0, 0), (1, 1), (1, 1)))
    height, width = batch.shape[1:]
    total = sum(
        np.float32(1 + row + 3 * column) * around[:, row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    )
    return total / (1 + np.abs(total)) / 2 + np.float32(0.5)


def limited(most_px, error, engine=blurred):
    """Run out of memory above a number of pixels; list the sizes that fit."""
    sizes = []

    def run(batch):
        if batch.size > most_px:
            raise error
        sizes.append(batch.shape)
        return engine(batch)

    return run, sizes


# --- tiles leave no trace


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (17, 3), (16, 16), (50, 31)])
def test_any_size_comes_back_as_it_was_with_probabilities(predict, shape):
    probability = predict()(noise(shape))
    assert probability.shape == shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.slow
@examples(100)
@given(
    shape=strips,
    dtype=st.sampled_from(DTYPES),
    tile_px=st.sampled_from([48, 64, 100, 160]),
    seed=st.integers(0, 99),
)
def test_tiles_give_the_same_bits_as_the_whole(predict, shape, dtype, tile_px, seed):
    """Of a network with a halo of 80 px, in float32 and in bf16."""
    section = noise(shape, seed)
    whole = predict(dtype)(section)
    tiled = predict(dtype, tile_px=tile_px)(section)
    np.testing.assert_array_equal(tiled, whole)


@examples(200)
@given(shape=sizes, limit=st.integers(1, 40_000), seed=st.integers(0, 99))
def test_tiles_of_any_limit_give_the_same_bits_as_the_whole(shape, limit, seed):
    section = noise(shape, seed)
    whole = Predictor(blurred, 16)(section)
    np.testing.assert_array_equal(Predictor(blurred, 16, limit_px=limit)(section), whole)


@examples(200)
@given(shape=sizes, tile_px=st.sampled_from([16, 32, 100]), halo=st.sampled_from([16, 96]))
def test_tiles_of_an_identity_are_the_section_itself(shape, tile_px, halo):
    section = noise(shape)
    found = Predictor(lambda batch: batch, halo, tile_px=tile_px)(section)
    np.testing.assert_array_equal(found, standardise(section))


@examples(50)
@given(shape=sizes, tile_px=st.sampled_from([16, 32, 100]), value=st.floats(0, 1, width=32))
def test_tiles_of_a_constant_are_constant(shape, tile_px, value):
    section = noise(shape)
    empty = measure_section(section).mask(section)  # as the last pixel of 1x545
    found = Predictor(lambda batch: np.full_like(batch, value), 32, tile_px=tile_px)(section)
    expected = np.full(shape, value, np.float32)
    if empty is not None:
        expected[empty] = 0
    np.testing.assert_array_equal(found, expected, strict=True)


def test_the_small_network_depends_on_the_section(predict):
    """Else the equalities here would say nothing."""
    assert np.ptp(predict()(noise((100, 300)))) > 0.05


@each_dtype
def test_the_order_of_the_tiles_and_the_batch_do_not_change_a_bit(predict, dtype, rng):
    section = noise((30, 480))
    whole = predict(dtype)(section)
    normalisation = measure_section(section)
    predictor = predict(dtype, tile_px=48)
    tiles = predictor.tiles(section.shape)
    alike = [tile for tile in tiles if tile.keep == tiles[1].keep]
    assert len(alike) > 3
    for batch in (1, 3, len(alike)):
        predictor.batch = batch
        found = np.empty(section.shape, np.float32)
        for start in range(0, len(alike), batch):
            some = [alike[n] for n in rng.permutation(len(alike))[start : start + batch]]
            some = sorted(some, key=lambda tile: -tile.write[1].start)
            windows = [
                cut_window(section, None, normalisation, tile.read, section.shape) for tile in some
            ]
            results = predictor.predict(windows, some[0].keep)
            for tile, result in zip(some, results, strict=True):
                found[tile.write] = result
                np.testing.assert_array_equal(result, whole[tile.write])


@pytest.mark.slow
def test_tiles_of_the_shipped_network_leave_no_trace(tissue):
    """On a strip longer than a tile with its halo of 272 px on both sides."""
    network, _ = load_weights(SHIPPED_MODEL)
    strip = np.tile(tissue[0][0][:24], (1, 9))
    halo = halo_px(network, models.STRIDE)
    assert halo == 272
    assert strip.shape[1] > 64 + 2 * halo
    for dtype in DTYPES:
        engine = torch_engine(network, CPU, dtype)
        tiled = Predictor(engine, halo, tile_px=64)
        assert len(tiled.tiles(strip.shape)) > 3
        np.testing.assert_array_equal(tiled(strip), Predictor(engine, halo)(strip))


def test_a_section_no_larger_than_a_tile_with_its_halo_is_not_cut():
    run, sizes = limited(10**9, MemoryError())
    Predictor(run, halo_px=32, tile_px=64)(noise((128, 100)))
    assert sizes == [(1, 128, 112)]


def test_tiling_and_grey_scale_do_not_depend_on_each_other(predict, rng):
    section = rng.integers(0, 100, (20, 300), dtype=np.uint8)
    brighter = (section.astype(np.uint16) * 300 + 77).astype(np.uint16)
    np.testing.assert_allclose(
        predict(tile_px=64)(brighter), predict(tile_px=64)(section), atol=1e-4, rtol=0
    )


# --- what a tile reads


@examples(200)
@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)), tile_px=st.sampled_from([16, 32]))
def test_a_window_is_that_of_the_section_mirrored_at_its_lower_and_right_border(shape, tile_px):
    section = noise(shape)
    more = [(0, padded - length) for length, padded in zip(shape, padded_shape(shape), strict=True)]
    mirrored = np.pad(section, more, mode="reflect")
    for tile in Predictor(blurred, 16, tile_px=tile_px).tiles(shape):
        expected = mirrored[tile.read]
        np.testing.assert_array_equal(window_of(section, tile.read, shape), expected)
        rows, columns = needed_of(tile.read, shape)
        part = section[rows, columns]
        origin = (rows.start, columns.start)
        np.testing.assert_array_equal(window_of(part, tile.read, shape, origin), expected)


# --- memory that runs out

OUT_OF_MEMORY = {
    "Python": MemoryError(),
    "CPU": RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
    "CUDA": RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "OpenVINO": RuntimeError("std::bad_alloc"),
}


@pytest.mark.parametrize("whose", OUT_OF_MEMORY)
@pytest.mark.parametrize("tile_px", [None, 64])
def test_where_memory_runs_out_tiles_get_smaller_and_the_bits_stay(whose, tile_px):
    section, told = noise((150, 333)), []
    run, sizes = limited(5_000, OUT_OF_MEMORY[whose])
    predictor = Predictor(run, 16, tile_px=tile_px, say=told.append)
    np.testing.assert_array_equal(predictor(section), Predictor(blurred, 16)(section))
    assert told
    assert all("out of memory with tiles of " in sentence for sentence in told)
    assert max(map(prod, sizes)) > 5_000 / 4  # no smaller than need be
    again = len(told)
    predictor(section)
    assert len(told) == again  # it is learnt, not tried again


def test_where_memory_runs_out_of_a_batch_it_is_halved_first():
    sections, told = [noise((40, 50), seed) for seed in range(4)], []
    run, sizes = limited(2 * 48 * 64, MemoryError())
    predictor = Predictor(run, 16, batch=4, say=told.append)
    (tile,) = predictor.tiles((40, 50))
    windows = [
        cut_window(section, None, measure_section(section), tile.read, (40, 50))
        for section in sections
    ]
    results = predictor.predict(windows, tile.keep)
    assert (len(told), predictor.batch, predictor.limit_px) == (1, 2, None)
    assert set(sizes) == {(2, 48, 64)}
    for section, result in zip(sections, results, strict=True):
        np.testing.assert_array_equal(result, Predictor(blurred, 16)(section))


def test_where_memory_runs_out_at_the_size_of_the_network_the_bits_stay():
    section, told = noise((90, 120)), []
    run, _ = limited(2_500, MemoryError())
    found = Predictor(run, 16, input_px=64, say=told.append)(section)
    np.testing.assert_array_equal(found, Predictor(blurred, 16, input_px=64)(section))
    assert told


def test_where_not_even_the_smallest_tile_fits_the_error_comes_up():
    run, sizes = limited(0, MemoryError("all gone"))
    with pytest.raises(MemoryError, match="all gone"):
        Predictor(run, 16, batch=4)(noise((150, 333)))
    assert sizes == []


def test_other_errors_come_up_at_once():
    calls = []

    def run(batch):
        calls.append(batch.shape)
        raise RuntimeError("expected scalar type Float but found Half")

    with pytest.raises(RuntimeError, match="scalar type"):
        Predictor(run, 16)(noise((150, 333)))
    assert len(calls) == 1


# --- averages over orientations


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
@pytest.mark.parametrize("shape", [(64, 96), (48, 48)])
def test_an_average_is_the_mean_over_turned_copies(predict, tta, shape):
    section = noise(shape)
    turned = {o: orient(torch.from_numpy(section), o).numpy() for o in ORIENTATIONS[tta]}
    results = [
        unorient(torch.from_numpy(predict()(np.ascontiguousarray(copy))), o).numpy()
        for o, copy in turned.items()
    ]
    assert len(results) == {"none": 1, "flips": 4, "d4": 8}[tta]
    expected = np.mean(results, axis=0, dtype=np.float64)
    # A turned copy's mean is added up in another order.
    np.testing.assert_allclose(predict(tta=tta)(section), expected, atol=2e-6, rtol=0)


def test_flips_mirror_each_axis_and_turn_nothing():
    image = torch.arange(6).reshape(2, 3)
    found = {tuple(map(tuple, orient(image, o).tolist())) for o in ORIENTATIONS["flips"]}
    ways = [image, image.flip(0), image.flip(1), image.flip(0, 1)]
    assert found == {tuple(map(tuple, way.tolist())) for way in ways}


@each_dtype
@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_an_average_does_not_depend_on_batch_and_tiles_to_the_bit(predict, dtype, tta):
    section = noise((35, 300))
    one = predict(dtype, tta=tta)(section)
    for batch in (2, 3, 8):
        np.testing.assert_array_equal(predict(dtype, tta=tta, batch=batch)(section), one)
    np.testing.assert_array_equal(predict(dtype, tta=tta, tile_px=64)(section), one)


def test_averaging_over_d4_commutes_with_turning_the_section(predict):
    section = noise((32, 48))
    average = predict(tta="d4")
    turned = average(np.ascontiguousarray(np.rot90(section)[:, ::-1]))
    np.testing.assert_allclose(turned, np.rot90(average(section))[:, ::-1], atol=1e-5, rtol=0)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(orientation=st.integers(0, 7), height=st.integers(1, 5), width=st.integers(1, 5))
def test_unorient_undoes_orient(orientation, height, width):
    image = torch.arange(height * width).reshape(height, width)
    assert torch.equal(unorient(orient(image, orientation), orientation), image)


def test_the_eight_orientations_differ():
    image = torch.arange(4).reshape(2, 2)
    assert len({tuple(orient(image, o).flatten().tolist()) for o in range(8)}) == 8


# --- a network with a size of its own


def test_a_network_with_an_input_size_sees_that_size_and_gives_the_section_s(rng):
    seen = []

    def engine(batch):
        seen.append(batch.shape)
        return np.full_like(batch, 0.25)

    predictor = Predictor(engine, halo_px=16, input_px=64)
    section = rng.random((30, 50))
    whole = (slice(0, 30), slice(0, 50))
    assert predictor.tiles((30, 50)) == [Tile(whole, whole, whole)]
    assert lengths(whole) == section.shape
    np.testing.assert_allclose(predictor(section), np.full((30, 50), 0.25), rtol=1e-6)
    assert seen == [(1, 64, 64)]
