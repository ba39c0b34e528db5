"""Normalisation and resizing: whole sections and their parts alike."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg.transforms import normalise
from sfseg.transforms.normalise import GreyLevels, bands, measure_section, resize, standardise


def test_a_standardised_section_has_mean_0_and_deviation_1(rng):
    section = standardise(rng.integers(0, 65536, (64, 64), dtype=np.uint16))
    assert section.dtype == np.float32
    assert section.mean() == pytest.approx(0, abs=1e-5)
    assert section.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [0, 255, 0.1])
def test_a_constant_section_is_blank_and_becomes_zeros(value):
    section = np.full((4, 40), value, np.float32)
    assert GreyLevels.of_section(section).blank
    assert not standardise(section).any()


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    cuts=st.lists(st.integers(1, 39), max_size=4),
    offset=st.sampled_from([0, 1000]),
)
def test_bands_measure_as_the_whole_does(shape, dtype, cuts, offset):
    section = (np.random.default_rng(1).random(shape) * 200 + offset * (dtype != np.uint8)).astype(
        dtype
    )
    edges = sorted({0, shape[0], *(cut for cut in cuts if cut < shape[0])})
    found = GreyLevels.from_bands(section[a:b] for a, b in itertools.pairwise(edges))
    assert found.count == section.size
    assert (found.low, found.high) == (section.min(), section.max())
    assert found.mean == pytest.approx(section.mean(dtype=np.float64), rel=1e-12)
    assert found.deviation == pytest.approx(section.std(dtype=np.float64), rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(shape=st.tuples(st.integers(1, 200), st.integers(1, 200)), most=st.integers(1, 300))
def test_bands_follow_each_other_and_are_no_larger_than_said(shape, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalise, "BAND_PX", most)
        found = list(bands(shape))
    assert [row for band in found for row in range(band.start, band.stop)] == list(range(shape[0]))
    assert all(
        (band.stop - band.start) * shape[1] <= most or band.stop - band.start <= 8 for band in found
    )
    assert all(band.start % 8 == 0 for band in found)  # blocks of `empty` are in one band


def test_without_a_band_there_is_nothing_to_measure():
    with pytest.raises(ValueError, match="no pixel"):
        GreyLevels.from_bands([])


def test_a_part_is_scaled_by_the_whole_section(rng):
    section = rng.integers(0, 256, (30, 40), dtype=np.uint8)
    section[:10] = 7
    normalisation = measure_section(section)
    part = (slice(3, 20), slice(10, 40))
    empty = normalisation.mask(section[part], (3, 10))
    found = normalisation.standardise(section[part], empty)
    np.testing.assert_array_equal(found, standardise(section)[part])


def test_resizing_keeps_a_constant_and_the_range(rng):
    image = rng.random((1, 20, 30), dtype=np.float32)
    smaller = resize(image, (7, 40))
    assert smaller.shape == (1, 7, 40)
    assert image.min() <= smaller.min() <= smaller.max() <= image.max()
    assert (resize(np.ones((1, 640, 640), np.float32), (255, 333)) == 1).all()
