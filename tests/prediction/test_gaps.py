"""Gaps in membranes: narrow ones are closed, wide ones stay open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from sfseg.prediction.gaps import close_gaps


def cells(probability, threshold=0.5):
    """Count the 4-connected components of the interior."""
    return label(probability > threshold, connectivity=1).max()


def two_cells(*, gap_px, gap):
    """Draw two cells of 40x20 pixels, parted by a membrane with a gap in the middle."""
    probability = np.full((40, 43), 0.95, np.float32)
    probability[:, 20:23] = 0.05
    probability[:, 23:] -= 0.02  # exact ties would make them basins whatever lies between
    start = 20 - gap_px // 2
    probability[start : start + gap_px, 20:23] = gap
    return probability


@pytest.mark.parametrize(("gap_px", "gap"), [(1, 0.9), (3, 0.9), (6, 0.8)])
def test_a_gap_in_a_long_membrane_is_closed(gap_px, gap):
    probability = two_cells(gap_px=gap_px, gap=gap)
    assert cells(probability) == 1
    assert cells(close_gaps(probability)) == 2


def test_a_border_is_lowered_to_its_mean_and_no_further():
    probability = two_cells(gap_px=10, gap=0.75)
    mean = (10 * 0.75 + 30 * 0.05) / 40
    closed = close_gaps(probability)
    assert cells(closed, mean - 0.05) == 1  # the border is not quite straight
    assert cells(closed, mean + 0.05) == 2


def test_a_membrane_that_is_mostly_gap_stays_open():
    assert cells(close_gaps(two_cells(gap_px=32, gap=0.75))) == 1


def test_a_wide_gap_that_is_hardly_darker_than_the_cells_stays_open():
    probability = two_cells(gap_px=12, gap=0.9)
    np.testing.assert_array_equal(close_gaps(probability), probability)


def test_a_cell_of_one_value_is_one_basin_also_around_a_dark_place_in_it():
    probability = np.ones((40, 40), np.float32)
    probability[5:35, 18:22] = 0.3
    probability[:5, 18:22] = probability[35:, 18:22] = 0.98  # ways around it, hardly darker
    np.testing.assert_array_equal(close_gaps(probability), probability)


def test_a_narrow_place_between_other_cells_is_no_gap():
    probability = np.full((40, 60), 0.05, np.float32)
    probability[2:-2, 2:20] = probability[2:-2, 40:-2] = probability[18:22, 20:40] = 0.95
    probability[2:15, 23:37] = probability[25:-2, 23:37] = 0.95  # above and below it
    assert cells(probability) == cells(close_gaps(probability)) == 3


def test_cells_join_in_the_order_of_their_borders():
    """Of three cells in a row, the two with the weaker membrane between them are one first."""
    probability = np.full((30, 62), 0.95, np.float32)
    probability[:, 19:21] = 0.3
    probability[:, 40:42] = 0.6
    closed = close_gaps(probability)
    assert [cells(closed, threshold) for threshold in (0.2, 0.4, 0.7)] == [1, 2, 3]


def test_of_cells_that_are_joined_already_the_whole_border_counts():
    probability = np.full((41, 41), 0.95, np.float32)
    probability[:20, 20] = 0.05  # A | B
    probability[20:22] = 0.6  # over C, which joins one of them first
    closed = close_gaps(probability)
    both = (0.05 + 0.6) / 2  # the border of the other with the two
    found = [cells(closed, threshold) for threshold in (both - 0.05, both + 0.05, 0.7)]
    assert found == [1, 2, 3]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (17, 23)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_map_of_one_value_stays_as_it_is(shape, value):
    probability = np.full(shape, value, np.float32)
    np.testing.assert_array_equal(close_gaps(probability), probability)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 24), st.integers(1, 24)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_nothing_is_raised_and_nothing_new_appears(probability):
    closed = close_gaps(probability)
    assert closed.dtype == np.float32
    assert closed.shape == probability.shape
    assert (closed <= probability).all()
    assert closed.min() >= probability.min() - 1e-6  # a mean of what is there
