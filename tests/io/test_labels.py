"""Labels of each kind become 255 for the interior of cells and 0 for membranes."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from sfseg import io
from sfseg.config import LabelFormat
from sfseg.errors import NonFiniteError, OptionError, StackError, UnknownNameError
from sfseg.io.label_areas import find_swapped, find_unlabelled, large_areas
from sfseg.io.labels import read_label_stack
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


SAMPLE = Path(__file__).parents[2] / "examples" / "sample" / "labels.tif"
STRIP = np.arange(256) < 100


@pytest.fixture(scope="module")
def inside():
    """The inside of the cells of the sample, bool, shape (3, 256, 256)."""
    return read(SAMPLE) > 0


def numbered(inside):
    """Number the cells of each section."""
    return np.stack([ndimage.label(section)[0] for section in inside])


def organelles(inside):
    """Mark round parts of the inside of cells."""
    return np.stack([ndimage.binary_opening(section, np.ones((21, 21))) for section in inside])


UNUSUAL = {
    "ilastik": (lambda c: c + 1, "1 and 2, and none is 0", "--membrane-value 1"),
    "turned ilastik": (lambda c: 2 - c, "1 and 2, and none is 0", "--membrane-value 2"),
    "organelles": (lambda c: c.astype(int) + organelles(c), "0, 1 and 2", "--membrane-value 0"),
    "partly painted": (
        lambda c: np.where(STRIP, c + 1, 0),
        "0 is perhaps not labelled",
        "--membrane-value 1 --ignore 0",
    ),
    "ignore 255": (lambda c: np.where(STRIP, c, 255), "255 is perhaps not", "--ignore 255"),
    "ignore -1": (lambda c: np.where(STRIP, c, -1), "-1 is perhaps not", "--ignore -1"),
    "ignore grey": (lambda c: np.where(STRIP, c * 255, 128), "128 is perhaps", "--ignore 128"),
    "ilastik, 255": (
        lambda c: np.where(STRIP, c + 1, 255),
        "255 is perhaps not",
        "--membrane-value 1 --ignore 255",
    ),
    "numbers": (numbered, "numbers of cells", "--labels-are instances"),
    "numbers, 65535 around": (
        lambda c: np.where(c, numbered(c), 65535),
        "65535 is no cell",
        "--membrane-value 65535",
    ),
    "numbers from 0, 65535 around": (
        lambda c: np.where(c, numbered(c) - 1, 65535),
        "65535 is no cell",
        "--membrane-value 65535",
    ),
    "numbers, 65535 in areas": (
        lambda c: np.where(STRIP, numbered(c), 65535),
        "65535 is no cell",
        "--membrane-value 0 --ignore 65535",
    ),
    "soft": (
        lambda c: ndimage.gaussian_filter(c * 255.0, (0, 1, 1)).astype(np.uint8),
        "saved as JPEG or resized",
        "--threshold-labels auto",
    ),
    "soft membrane": (
        lambda c: ndimage.gaussian_filter(~c * 255.0, (0, 1, 1)).astype(np.uint8),
        "saved as JPEG or resized",
        "--labels-are membrane --threshold-labels auto",
    ),
}


def options_of(hint):
    """Turn the options in a hint into those of Python."""
    names = {
        "labels-are": "kind",
        "membrane-value": "membrane_value",
        "threshold-labels": "threshold",
        "ignore": "ignore",
    }
    found = re.findall(r"--([a-z-]+) (-?\w+)", hint)
    return {
        names[name]: int(value) if value.lstrip("-").isdecimal() else value for name, value in found
    }


@pytest.mark.parametrize("case", UNUSUAL)
def test_the_hint_names_the_cause_and_leads_to_the_right_labels(tmp_path, inside, case):
    make, cause, options = UNUSUAL[case]
    marks = np.asarray(make(inside))
    marks = marks.astype(np.int16 if marks.min() < 0 else np.uint16 if marks.max() > 255 else "u1")
    tifffile.imwrite(tmp_path / "a.tif", marks, photometric="minisblack")
    with pytest.raises(StackError, match=cause) as caught:
        io.read_labels(tmp_path / "a.tif")
    assert re.search(rf"add {options}(,|:|$)", caught.value.hint)
    form = LabelFormat(**options_of(caught.value.hint))
    found = read_label_stack(tmp_path / "a.tif", form)
    known = np.ones(inside.shape, bool) if found.known is None else found.known
    assert (found.known is not None) == ("--ignore" in options)
    agree = (found.labels > 0) == inside
    # of instances, pixels that touch another number are membrane: cells are thinner by a pixel
    assert agree[known].mean() > (0.93 if case == "numbers" else 0.97 if "soft" in case else 0.999)


def test_nan_in_labels_is_named_as_not_labelled(tmp_path, inside):
    marks = inside.astype(np.float32)
    marks[1, :9] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", marks, photometric="minisblack")
    with pytest.raises(NonFiniteError, match="section 2: the pixel in row 0") as caught:
        io.read_labels(tmp_path / "a.tif")
    assert caught.value.hint.endswith("as another number, for example -1, and add --ignore -1")
    tifffile.imwrite(tmp_path / "a.tif", np.nan_to_num(marks, nan=-1), photometric="minisblack")
    found = read_label_stack(tmp_path / "a.tif", LabelFormat(ignore=-1))
    assert not found.known[1, :9].any()
    assert found.known[1, 9:].all()
    np.testing.assert_array_equal((found.labels > 0)[found.known], inside[found.known])


def test_a_value_to_ignore_that_no_label_has_is_told(tmp_path, inside):
    tifffile.imwrite(tmp_path / "a.tif", inside.astype(np.uint8), photometric="minisblack")
    found = read_label_stack(tmp_path / "a.tif", LabelFormat(ignore=7))
    assert found.known is None
    assert "a.tif: no pixel has the value of --ignore" in found.warnings[0]


def test_a_section_that_is_all_membrane_is_not_called_inverted(inside):
    sections = [inside[0], np.zeros_like(inside[1]), ~inside[2], inside[0], inside[1]]
    assert find_swapped(sections) == (2,)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_masks_that_were_saved_as_jpeg_are_read_as_they_were(tmp_path, inside, quality):
    for number, section in enumerate(inside):
        Image.fromarray(section.astype("u1") * 255).save(
            tmp_path / f"s{number}.jpg", quality=quality
        )
    for kind in ("interior", "instances"):
        with pytest.raises(StackError, match="saved as JPEG"):
            io.read_labels(tmp_path, kind)
    found = io.read_labels(tmp_path, threshold="auto")
    assert ((found > 0) == inside).mean() > 0.999


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_numbers_as_colours_are_numbers(tmp_path, inside, kind):
    ids = numbered(inside) * 70_001
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    if kind == "tif":
        tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    else:
        for number, section in enumerate(colours):
            Image.fromarray(section).save(tmp_path / f"{number}.png")
    source = tmp_path / "a.tif" if kind == "tif" else tmp_path / "*.png"
    tifffile.imwrite(tmp_path / "plain.tiff", ids.astype(np.uint32), photometric="minisblack")
    expected = io.read_labels(tmp_path / "plain.tiff", "instances")
    np.testing.assert_array_equal(io.read_labels(source, "instances"), expected)
    with pytest.raises(StackError, match="numbers of cells"):
        io.read_labels(source)


def test_an_image_is_not_taken_for_labels():
    for kind in ("interior", "membrane", "instances"):
        with pytest.raises(StackError, match="scattered, as in an image"):
            io.read_labels(SAMPLE.with_name("volume.tif"), kind)


def test_ignored_pixels_make_no_membrane_beside_numbers(tmp_path):
    ids = np.array([[[5, 5, 5, 9, 9], [5, 5, 7, 9, 9], [5, 5, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", ids, photometric="minisblack")
    found = read_label_stack(tmp_path / "a.tif", LabelFormat("instances", ignore=7))
    np.testing.assert_array_equal(found.known[0], ids[0] != 7)
    expected = np.array([[1, 1, 0, 0, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]) * 255
    np.testing.assert_array_equal(found.labels[0], expected)


def test_a_single_inverted_section_is_named_with_what_to_do(tmp_path, inside):
    marks = inside.astype(np.uint8) * 255
    marks[1] = 255 - marks[1]
    tifffile.imwrite(tmp_path / "a.tif", marks, photometric="minisblack")
    (warning,) = read_label_stack(tmp_path / "a.tif", LabelFormat()).warnings
    assert "section 2 look inverted" in warning
    assert "Edit > Invert" in warning
    assert read_label_stack(SAMPLE, LabelFormat()).warnings == ()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"threshold": 5, "membrane_value": 0}, "--threshold-labels: it does not work with"),
        ({"threshold": 5, "kind": "instances"}, "with --labels-are instances"),
        ({"ignore": 1, "membrane_value": 1}, "--ignore 1: this is also"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options, found):
    with pytest.raises(OptionError, match=found):
        io.read_labels(SAMPLE, **options)


def test_numbers_of_cells_below_0_or_too_large_for_a_float_are_refused(tmp_path):
    cells = np.repeat([[-1, 0, 1, 2, 3]], 6, 0).repeat(6, 1).astype(np.int32)
    path = tmp_path / "a.tif"
    io.write_stack(path, cells)
    with pytest.raises(StackError, match="-1 is no number of a cell") as refused:
        io.read_labels(path, "instances")
    assert "add --ignore -1 if" in refused.value.hint
    for options in ({"ignore": -1}, {"membrane_value": -1}):
        assert set(np.unique(io.read_labels(path, "instances", **options))) == {0, 255}
    io.write_stack(path, (cells + 2**25).astype(np.float32), overwrite=True)
    with pytest.raises(StackError, match="several ids become one number"):
        io.read_labels(path, "instances")


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


def test_large_areas_are_squares_of_one_value():
    mask = np.zeros((200, 200), bool)
    mask[40:120, 50:150] = True
    mask[10:20] = True  # too thin
    expected = np.zeros_like(mask)
    expected[40:120, 50:150] = True
    np.testing.assert_array_equal(large_areas(mask, 16), expected)
    assert not large_areas(mask, 96).any()
    assert not large_areas(np.ones((15, 40), bool), 16).any()


def test_what_is_not_labelled_is_found_and_inverted_labels_are_not(inside):
    section = inside[0].copy()
    assert find_unlabelled(section, ~section) is None
    assert find_unlabelled(~section, section) is None
    section[:, 80:] = False
    found = find_unlabelled(section, ~section)
    assert found[:, 90:].all()
    assert not found[:, :60].any()
    frame = np.pad(inside[0][64:192, 64:192], 64)
    assert find_unlabelled(frame, ~frame) is not None
    as_membrane = np.pad(inside[0][:, :80], ((0, 0), (0, 176)), constant_values=True)
    assert find_unlabelled(as_membrane, ~as_membrane) is not None
