"""Resampling: rectangles equal the whole to the bit, and what the filters keep."""

import numpy as np
import pytest

from sfseg.transforms.resample import FULL, Resampler, Scaling

KINDS = (Resampler.cubic, Resampler.linear, Resampler.cover)
SHAPES = (((50, 61), (125, 100)), ((60, 60), (31, 17)), ((40, 50), (40, 77)), ((37, 90), (36, 9)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "new_shape"), SHAPES)
def test_rectangles_equal_the_whole_to_the_bit(kind, shape, new_shape):
    rng = np.random.default_rng(0)
    resampler = kind(shape, new_shape)
    section = rng.normal(size=shape).astype(np.float32)
    whole = resampler.whole(section)
    assert whole.shape == new_shape
    for _ in range(20):
        top, left = (int(rng.integers(length)) for length in new_shape)
        rows = slice(top, int(rng.integers(top, new_shape[0])) + 1)
        columns = slice(left, int(rng.integers(left, new_shape[1])) + 1)
        needed = resampler.needed(rows, columns)
        part = resampler(section[needed], rows, columns, (needed[0].start, needed[1].start))
        assert (part == whole[rows, columns]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "new_shape"), SHAPES)
def test_a_constant_stays_to_the_bit(kind, shape, new_shape):
    assert (kind(shape, new_shape).whole(np.full(shape, 0.3, np.float32)) == np.float32(0.3)).all()


def test_a_coarser_grid_gets_the_mean_of_each_area():
    section = np.random.default_rng(0).random((12, 20), np.float32)
    mean = section.reshape(4, 3, 5, 4).mean((1, 3))
    np.testing.assert_allclose(Resampler.cubic((12, 20), (4, 5)).whole(section), mean, atol=1e-6)
    # 3 pixels to 2: the middle one is shared
    line = np.array([[1, 2, 6]], np.float32)
    found = Resampler.linear((1, 3), (1, 2)).whole(line)
    np.testing.assert_allclose(found, [[4 / 3, 14 / 3]], atol=1e-6)


def test_a_finer_grid_keeps_a_slope_and_the_place_of_pixels():
    slope = np.arange(20, dtype=np.float32)[None]
    finer = Resampler.cubic((1, 20), (1, 40)).whole(slope)[0]
    # of 2 new pixels in an old one, the centres lie a quarter of it before and after its centre
    np.testing.assert_allclose(finer[6:-6], (np.arange(40) / 2 - 0.25)[6:-6], atol=1e-5)


def test_one_shape_is_left_as_it_is():
    section = np.random.default_rng(0).random((9, 11), np.float32)
    for kind in KINDS:
        assert (kind((9, 11), (9, 11)).whole(section) == section).all()


def test_a_mask_covers_only_pixels_that_lie_within_it_as_a_whole():
    mask = np.zeros((6, 6), np.float32)
    mask[:, :3] = 1
    coarse = Resampler.cover((6, 6), (3, 3)).whole(mask) > FULL
    assert coarse.tolist() == [[True, False, False]] * 3
    fine = Resampler.cover((6, 6), (6, 15)).whole(mask) > FULL
    assert fine.sum(1).tolist() == [8] * 6  # 7.5 of 15; a centre on the edge counts as before it


@pytest.mark.parametrize(
    ("shape", "network_shape"), [((50, 70), (125, 35)), ((64, 64), (41, 160)), ((33, 20), (8, 9))]
)
def test_the_own_pixels_of_rectangles_that_touch_are_each_in_one(shape, network_shape):
    scaling = Scaling.between(shape, network_shape)
    edges = [sorted({0, length // 3, length // 2, length}) for length in network_shape]
    count = np.zeros(shape, int)
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            count[scaling.own((slice(top, bottom), slice(left, right)))] += 1
    assert (count == 1).all()
