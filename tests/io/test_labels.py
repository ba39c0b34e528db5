"""Labels of each kind become 255 for the interior of cells and 0 for membranes."""

import numpy as np
import pytest
import tifffile

from sfseg import io
from sfseg.errors import StackError, UnknownNameError
from tests.io.files import read


@pytest.mark.parametrize("high", [1, 255, 65535, True])
def test_labels_of_two_values_become_255_and_0(tmp_path, high):
    inside = np.array([[[0, 1, 1], [1, 0, 1]]], bool)
    dtype = {1: "uint8", 255: "uint8", 65535: "uint16"}[high] if high is not True else bool
    tifffile.imwrite(tmp_path / "a.tif", (inside * high).astype(dtype), photometric="minisblack")
    labels = io.read_labels(tmp_path / "a.tif")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, inside * 255)
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif", "membrane"), ~inside * 255)


def test_the_membrane_of_instances_is_0_and_where_numbers_meet(tmp_path):
    ids = np.array([[[5, 5, 5, 9, 9, 9], [5, 5, 5, 9, 9, 9], [5, 5, 5, 0, 9, 9]]], np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", ids, photometric="minisblack")
    expected = np.array([[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 1]]) * 255
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif", "instances")[0], expected)


@pytest.mark.parametrize("values", [(0, 1, 2), (1, 2), (0, 255, 7, 8, 9, 10)])
def test_labels_that_look_like_instances_are_refused(tmp_path, values):
    ids = np.resize(np.array(values, np.uint8), (2, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", ids, photometric="minisblack")
    with pytest.raises(StackError, match="--labels-are instances") as caught:
        io.read_labels(tmp_path / "a.tif")
    found = ", ".join(map(str, sorted(values)[:5]))
    assert f"not {found}" in caught.value.message  # and no value that is not in the file


def test_two_values_over_the_stack_may_be_one_in_a_section(tmp_path):
    labels = np.stack([np.zeros((5, 6), np.uint8), np.full((5, 6), 255, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack")
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("kind", ["interior", "membrane", "instances"])
@pytest.mark.parametrize("value", [0, 255])
def test_labels_of_one_value_are_refused(tmp_path, kind, value):
    tifffile.imwrite(
        tmp_path / "a.tif", np.full((2, 5, 6), value, np.uint8), photometric="minisblack"
    )
    found = f"interior or membrane is missing, the labels are only {value}"
    with pytest.raises(StackError, match=found):
        io.read_labels(tmp_path / "a.tif", kind)


def test_an_unknown_kind_of_labels_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'membrane'"):
        io.read_labels(tmp_path / "a.tif", "membranes")


def test_the_challenge_labels_are_left_as_they_are(isbi):
    path = isbi / "train-labels.tif"
    np.testing.assert_array_equal(io.read_labels(path), read(path))
