"""The distance to the edge of a mask, against scipy's."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sfseg.segmentation.distance import distance_to_edge

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)


def in_picture(mask):
    """By scipy, no more than the longer side; it takes a mask without an edge in its own way."""
    if mask.all():
        return np.full(mask.shape, max(mask.shape), np.float32)
    return np.minimum(ndimage.distance_transform_edt(mask), max(mask.shape)).astype(np.float32)


@settings(deadline=None)  # the first call compiles
@given(arrays.arrays(bool, SHAPES))
def test_the_distance_is_that_of_scipy(mask):
    np.testing.assert_array_equal(distance_to_edge(mask), in_picture(mask))


@settings(deadline=None)  # the first call compiles
@given(SHAPES, st.data())
def test_it_is_also_with_one_pixel_outside(shape, data):
    mask = np.ones(shape, bool)
    mask[data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = False
    np.testing.assert_array_equal(distance_to_edge(mask), in_picture(mask))


@pytest.mark.parametrize("shape", [(700, 900), (1, 3000), (3000, 1)])
def test_it_is_also_in_large_pictures(shape):
    mask = np.random.default_rng(0).random(shape) > 0.0005
    np.testing.assert_array_equal(distance_to_edge(mask), in_picture(mask))
