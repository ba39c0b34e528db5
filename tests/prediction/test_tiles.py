"""Tiles: their halo is enough, and they cover each pixel once."""

from math import ceil, prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg import models
from sfseg.config import SHIPPED_MODEL, PredictConfig
from sfseg.models.weights import load_weights
from sfseg.prediction import plan
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.tiles import Cutter, halo_px, lengths, overhead

STRIDE = models.STRIDE
quick = settings(max_examples=200, deadline=None)
shapes = st.tuples(st.integers(1, 14), st.integers(1, 14))
halos = st.integers(0, 5)


def pixels(strides):
    return strides[0] * STRIDE, strides[1] * STRIDE


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("arch", ["sfnet", "unet", "fusionnet"])
def test_no_input_beyond_the_halo_changes_an_output(arch):
    network = models.build(arch).eval().double()
    halo = halo_px(network, models.STRIDE)
    with torch.no_grad():
        for parameter in network.parameters():  # positive weights: nothing cancels or dies
            parameter.abs_()
    strip = torch.zeros(1, 1, 16, 2 * halo + 48, dtype=torch.float64)
    middle = strip.shape[-1] // 2
    with torch.inference_mode():
        background = network(strip)
        strip[0, 0, 8, middle] = 1.0
        changed = (network(strip) != background).any(dim=2).flatten().nonzero().flatten()
    reach = max(middle - int(changed.min()), int(changed.max()) - middle)
    assert reach <= halo
    assert reach > halo - 4 * models.STRIDE  # computed, not merely generous


def test_measuring_the_halo_leaves_the_network_as_it_was(small_network):
    before = {name: value.clone() for name, value in small_network.state_dict().items()}
    small_network.train()
    halo_px(small_network, STRIDE)
    assert small_network.training
    small_network.eval()
    halo_px(small_network, STRIDE)
    assert not small_network.training
    assert all(torch.equal(before[n], value) for n, value in small_network.state_dict().items())


def assert_exact(tiles, shape, halo, region=None):
    """Each pixel of the region is kept once, from a read that sees all that it needs."""
    region = region or (slice(0, shape[0]), slice(0, shape[1]))
    section = np.arange(prod(shape)).reshape(shape)
    copied, times = np.full(shape, -1), np.zeros(shape, int)
    for tile in tiles:
        copied[tile.write] = section[tile.read][tile.keep]
        times[tile.write] += 1
        for read, write, length in zip(tile.read, tile.write, shape, strict=True):
            assert read.start % STRIDE == read.stop % STRIDE == 0
            assert 0 <= read.start <= max(write.start - halo, 0)
            assert min(write.stop + halo, length) <= read.stop <= length
    expected = np.zeros(shape, int)
    expected[region] = 1
    np.testing.assert_array_equal(times, expected)
    np.testing.assert_array_equal(copied[region], section[region])
    assert len({lengths(tile.read) for tile in tiles}) == 1
    corners = [(tile.write[0].start, tile.write[1].start) for tile in tiles]
    assert corners == sorted(corners)


@quick
@given(shape=shapes, core=st.tuples(st.integers(1, 5), st.integers(1, 5)), halo=halos)
def test_tiles_by_core_cover_each_pixel_once_with_its_halo(shape, core, halo):
    shape, core = pixels(shape), pixels(core)
    tiles = Cutter(STRIDE * halo, STRIDE).by_core(shape, core)
    assert_exact(tiles, shape, STRIDE * halo)
    for tile in tiles:
        for read, whole, most in zip(lengths(tile.read), shape, core, strict=True):
            assert read == whole or read <= most + 2 * STRIDE * halo


@quick
@given(shape=shapes, limit=st.integers(1, 60_000), halo=halos, data=st.data())
def test_tiles_within_a_limit_cover_a_region_once_with_its_halo(shape, limit, halo, data):
    """Also where the region is the part of a window that is kept, which is not aligned."""
    shape, region = pixels(shape), []
    for length in shape:
        start = data.draw(st.integers(0, length - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, length))))
    cutter = Cutter(STRIDE * halo, STRIDE)
    assert_exact(cutter.within(shape, limit), shape, STRIDE * halo)
    assert_exact(cutter.within(shape, limit, tuple(region)), shape, STRIDE * halo, tuple(region))


def counts_and_sizes(length, halo):
    """Tell every length of a tile along one axis, and how many such tiles it takes."""
    for tile in range(STRIDE, length, STRIDE):
        if tile > 2 * halo:
            yield ceil((length - 2 * halo) / (tile - 2 * halo)), tile
    yield 1, length


@quick
@given(shape=shapes, limit=st.integers(1, 60_000), halo=st.integers(1, 5))
def test_no_other_equal_tiles_within_the_limit_read_fewer_pixels(shape, limit, halo):
    shape, halo = pixels(shape), STRIDE * halo
    plan = [
        (rows * height * columns * width, height * width)
        for rows, height in counts_and_sizes(shape[0], halo)
        for columns, width in counts_and_sizes(shape[1], halo)
    ]
    reads = [lengths(tile.read) for tile in Cutter(halo, STRIDE).within(shape, limit)]
    kept = [read for read, tile_px in plan if tile_px <= limit]
    if kept:
        assert prod(reads[0]) <= limit
        assert sum(map(prod, reads)) == min(kept)
    else:
        assert prod(reads[0]) == min(tile_px for _, tile_px in plan)


def test_a_section_within_the_limit_is_read_once_and_whole():
    (tile,) = Cutter(272, STRIDE).within((8192, 4096), 8192 * 4096)
    assert tile.read == tile.keep == tile.write == (slice(0, 8192), slice(0, 4096))
    assert overhead([tile], (8192, 4096)) == 1


@pytest.mark.bf16
def test_a_large_section_in_4_gib_costs_at_most_three_tenths_more(monkeypatch):
    """8192x8192 with the shipped network in bf16; the bar is 1.3."""
    network, _ = load_weights(SHIPPED_MODEL)
    engine = torch_engine(network, torch.device("cpu"), torch.bfloat16)
    monkeypatch.setattr(plan, "base_bytes", lambda: 500 * 2**20)

    class Stack:
        dtype, buffer_bytes, decoding_bytes = np.dtype(np.uint8), 0, 0

    limit = plan.limit_px(engine, Stack(), PredictConfig(memory_gib=4), 272)
    tiles = Cutter(halo_px(network, STRIDE), STRIDE).within((8192, 8192), limit)
    assert len(tiles) > 1
    assert overhead(tiles, (8192, 8192)) <= 1.3
