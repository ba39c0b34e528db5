"""Synthetic tissue: the same from a seed, and like the stack of the challenge."""

import numpy as np
import pytest
from scipy import ndimage

from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import OptionError


@pytest.fixture(scope="module")
def stack():
    return make_tissue(seed=0)


def test_a_seed_gives_the_same_stack_each_time_and_another_seed_another():
    first, again, other = (make_tissue((2, 64, 64), seed=seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_volume_and_labels_have_the_shape_and_values_of_the_challenge(stack):
    volume, labels = stack
    assert volume.shape == labels.shape == (12, 256, 256)
    assert volume.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 255}


def test_about_22_percent_is_membrane_whatever_the_seed():
    shares = [np.mean(make_tissue((4, 256, 256), seed=seed)[1] == 0) for seed in range(6)]
    assert np.mean(shares) == pytest.approx(0.22, abs=0.03)
    assert min(shares) > 0.15
    assert max(shares) < 0.30


def test_grey_values_are_those_of_isbi_2012_within_fifteen(stack):
    volume, labels = stack
    inside, membrane = volume[labels > 0], volume[labels == 0]  # isbi2012: 138 +- 40, 85 +- 33
    assert inside.mean() == pytest.approx(138, abs=15)
    assert membrane.mean() == pytest.approx(85, abs=15)
    assert inside.std() == pytest.approx(40, abs=15)
    assert membrane.std() == pytest.approx(33, abs=15)


def test_cells_differ_widely_in_size_and_none_is_a_sliver(stack):
    _, labels = stack
    cells, count = ndimage.label(labels[0])
    sizes = np.sqrt(ndimage.sum_labels(labels[0] > 0, cells, np.arange(1, count + 1)))
    assert 20 <= count <= 80
    assert sizes.min() >= 3
    assert np.percentile(sizes, 95) > 2 * np.median(sizes) or sizes.max() > 60


def test_neighbouring_sections_are_alike_and_distant_ones_are_not(stack):
    _, labels = stack
    near = np.mean(labels[:-1] == labels[1:])
    far = np.mean(labels[0] == labels[-1])
    assert near > 0.75 > far


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 33, 17)])
def test_odd_and_small_shapes_are_drawn(shape):
    volume, labels = make_tissue(shape)
    assert volume.shape == labels.shape == shape


def test_an_empty_shape_or_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="the shape"):
        make_tissue((0, 64, 64))
    with pytest.raises(OptionError, match="the shape"):
        make_tissue(seed=-1)
