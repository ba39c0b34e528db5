"""Seeds for components of a mask, against scipy's components."""

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sfseg.segmentation.components import seed_components

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=15)


@settings(deadline=None)  # the first call compiles
@given(st.data())
def test_each_component_without_a_seed_gets_the_next_number(data):
    shape = data.draw(SHAPES)
    mask = data.draw(arrays.arrays(bool, shape))
    places = data.draw(arrays.arrays(bool, shape, elements=st.booleans(), fill=st.just(False)))
    seeds, count = ndimage.label(places, output=np.uint32)
    expected, largest = seeds.copy(), count
    components, components_count = ndimage.label(
        mask
    )  # numbered in the order of their first pixels
    for component in range(1, components_count + 1):
        if not seeds[components == component].any():
            largest += 1
            expected[components == component] = largest
    assert seed_components(seeds, count, mask) == largest
    np.testing.assert_array_equal(seeds, expected)
