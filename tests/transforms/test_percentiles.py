"""Percentiles are NumPy's, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sfseg.transforms.percentiles import percentiles

SHARES = 0, 1, 2.5, 33, 50, 75, 99, 100


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@given(data=st.data())
def test_they_are_those_of_numpy(kind, data):
    finite = {"allow_nan": False, "allow_infinity": False} if kind == np.float32 else {}
    values = data.draw(arrays(kind, st.integers(1, 300), elements=finite or None))
    assert percentiles(values, SHARES) == np.percentile(values, SHARES).tolist()


@pytest.mark.parametrize("spread", [1, 3, 40, 255])
def test_they_are_those_of_numpy_for_the_sample_of_a_section(spread):
    values = np.random.default_rng(spread).integers(0, spread, 65_536 + spread).astype(np.uint8)
    assert percentiles(values, SHARES) == np.percentile(values, SHARES).tolist()
