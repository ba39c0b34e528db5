"""Where a map is wrong: costs against mended images, places by hand, pictures and files."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import sfseg
from sfseg.errors import OptionError, OutputExistsError, StackError
from sfseg.scoring import mistakes
from sfseg.scoring.contingency import Tallies, group, tally
from sfseg.scoring.drawing import COLOURS, CUT_OFF, MERGE, MERGED, SPLIT, UNKNOWN
from sfseg.scoring.errors import find_errors
from sfseg.scoring.measures import v_rand
from sfseg.scoring.overlaps import count_overlaps, find_overlaps
from sfseg.scoring.score import score

NEGLIGIBLE = 1e-15


def v_rand_of(truth, segments):
    """V_Rand of two label images, with the sums of the official score."""
    grouped = group(truth.ravel(), int(truth.max()))
    return float(v_rand(Tallies(*tally(grouped, segments.ravel(), int(segments.max())))).score)


def cost_by_mending(truth, segments, kind, whole):
    """Mend one error in the image of the segments, and score again."""
    new = int(segments.max()) + 1
    if kind == "merge":
        cut = np.where(segments == whole, new + truth, segments)
        return v_rand_of(truth, cut) - v_rand_of(truth, segments)
    own = (truth == whole) & (segments > 0)
    cut, glued = np.where(own, new + segments, segments), np.where(own, new, segments)
    return v_rand_of(truth, glued) - v_rand_of(truth, cut)


@st.composite
def label_pairs(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7))
    truth, segments = (
        draw(arrays(np.int32, shape, elements=st.integers(0, most))) for most in (3, 4)
    )
    truth[0, 0] = 1
    return truth, segments


@settings(deadline=None, max_examples=60)
@given(label_pairs())
def test_the_cost_is_what_the_score_gains_when_the_image_is_mended(pair):
    truth, segments = pair
    table, sums = count_overlaps(truth, segments)
    assert sums.v_rand == pytest.approx(v_rand_of(truth, segments), abs=1e-12)
    for kind, wholes, parts in (("merge", segments, truth), ("split", truth, segments)):
        overlaps, small = find_overlaps(table, sums, kind, NEGLIGIBLE)
        counted = (truth > 0) & (segments > 0)
        several = [
            whole
            for whole in range(1, wholes.max() + 1)
            if len(np.unique(parts[counted & (wholes == whole)])) > 1
        ]
        assert [overlap.whole for overlap in overlaps] == several
        assert small.size == 0
        for overlap in overlaps:
            expected = cost_by_mending(truth, segments, kind, overlap.whole)
            assert overlap.cost == pytest.approx(expected, abs=1e-12)
            own = parts[counted & (wholes == overlap.whole)]
            assert dict(zip(overlap.parts, overlap.sizes, strict=True)) == dict(
                zip(*np.unique(own, return_counts=True), strict=True)
            )


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.uint8, (2, 9, 8), elements=st.sampled_from([0, 100, 255])),
    arrays(np.uint8, (2, 9, 8), elements=st.sampled_from([0, 128, 255])),
)
def test_every_error_has_a_place_within_its_segment_or_cell(prediction, labels):
    labels[:, 0, 0] = 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mistakes, "LISTED_COST_PX", NEGLIGIBLE)
        errors = find_errors(prediction, labels, ignore=128)
    assert errors.v_rand == pytest.approx(score(prediction, labels, ignore=128).v_rand, abs=1e-12)
    assert errors.small.count == 0
    assert [each.id for each in errors.listed] == list(range(1, len(errors.listed) + 1))
    costs = [each.cost for each in errors.listed]
    assert costs == sorted(costs, reverse=True)
    for found in errors.sections():
        for each in found.errors:
            flat = {"merge": (found.segments, each.segments), "split": (found.truth, each.cells)}
            wholes, (whole,) = flat[each.kind]
            assert (wholes.ravel()[each.pixels] == whole).all()
            assert np.ravel_multi_index((each.y, each.x), wholes.shape) in each.pixels
            rows, columns = np.unravel_index(each.pixels, wholes.shape)
            box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert each.box == box


# Two cells of 40x19 pixels, with a membrane of two pixels between them, and a hole in it.
WALL, HOLE = slice(19, 21), slice(10, 14)


@pytest.fixture
def walled():
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[:, WALL] = 0
    return pixels


@pytest.fixture
def leaky(walled):
    pixels = walled.copy()
    pixels[HOLE, WALL] = 255
    return pixels


def test_a_hole_in_a_membrane_is_a_merge_and_its_place_is_the_hole(walled, leaky):
    errors = find_errors(leaky, walled)
    (merge,) = errors.listed
    assert (merge.kind, merge.section, merge.segments, merge.cells) == ("merge", 1, (1,), (1, 2))
    assert merge.cost == pytest.approx(1 - 2 / 3)  # squares: joint 1/2, truth 1/2, one segment 1
    assert merge.size_px == 40 * 19
    assert merge.box == (HOLE.start, WALL.start, HOLE.stop, WALL.stop)
    assert merge.pixels.size == 8
    assert merge.y in range(11, 13)
    (found,) = errors.sections()
    expected = np.where(found.truth == 2, MERGED, 0)
    expected[9:15, 18:22] = MERGE  # a pixel wider on each side, so that it is seen
    np.testing.assert_array_equal(found.draw(), expected)


def test_a_false_membrane_is_a_split_and_its_place_is_along_it(walled):
    walled[:, 15] = 0  # the left cell is the smaller one, and right of the line are 4 pixels more
    errors = find_errors(walled[:, :19], np.full((40, 19), 255, np.uint8))
    (split,) = errors.listed
    assert (split.kind, split.cells, split.segments) == ("split", (1,), (1, 2))
    assert split.size_px == 40 * 3
    assert split.box[::2] == (0, 40)
    assert {15, 16, 17}.issuperset(np.unique(split.pixels % 19) + 1)
    (found,) = errors.sections()
    picture = found.draw()
    assert (picture[:, 18] == CUT_OFF).all()
    assert (picture[:, 15] == SPLIT).all()
    assert (picture[:, :13] == 0).all()


def test_mending_a_merge_in_the_map_gains_its_cost(walled, leaky):
    stack, truth = np.stack([leaky, walled]), np.stack([walled, walled])
    (merge,) = find_errors(stack, truth, threshold=0.5).listed
    assert merge.cost == pytest.approx(score(truth, truth).v_rand - score(stack, truth).v_rand)
    assert merge.cost == pytest.approx((1 - 2 / 3) / 2)  # the mean over two sections


def test_a_split_costs_the_same_whether_its_cell_is_merged_as_well_or_not(walled, leaky):
    cut, both = walled.copy(), leaky.copy()
    cut[30, 21:], both[30, 21:] = 0, 0
    (split,) = find_errors(cut, walled).listed
    same = {each.kind: each for each in find_errors(both, walled).listed}
    assert same.keys() == {"merge", "split"}
    assert same["split"].cost == pytest.approx(split.cost)


def test_the_same_errors_are_listed_in_a_crop_and_in_a_large_section(walled, leaky):
    for pixels in (walled, leaky):
        pixels[0], pixels[:, 0] = 0, 0
    few, many = (
        find_errors(leaky, walled),
        find_errors(np.tile(leaky, (3, 3)), np.tile(walled, (3, 3))),
    )
    assert (len(few.listed), len(many.listed)) == (1, 9)
    assert few.listed[0].cost > 5 * many.listed[0].cost


def test_a_bend_in_a_membrane_is_a_small_error(walled):
    bent = walled.copy()
    bent[10:14] = np.roll(bent[10:14], 2, axis=1)
    errors = find_errors(bent, walled)
    assert errors.listed == ()
    assert errors.small.count == 2  # the left segment has a strip of the right cell, which is cut
    assert 0 < errors.small.cost < 0.01


# --- arguments and files


def test_a_threshold_that_the_score_never_uses_and_a_path_are_refused(walled):
    with pytest.raises(OptionError, match="from 0 to below 1, not 1"):
        find_errors(walled, walled, threshold=1)
    with pytest.raises(StackError) as caught:
        find_errors("map.tif", walled)
    assert "score_files" in caught.value.hint


def test_a_perfect_map_has_no_errors(walled):
    errors = find_errors(walled, walled)
    assert (errors.v_rand, errors.listed, errors.small.count) == (1, (), 0)
    assert repr(errors) == "Errors(0 at threshold 0.0, and 0 small ones)"


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_the_picture_has_the_sections_of_the_map_and_its_voxel_size(
    suffix, walled, leaky, tmp_path
):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    walled[0] = 128
    sfseg.write_stack(
        tmp_path / "map.tif", np.stack([walled, leaky, leaky]), voxel_size_nm=(50, 4, 4)
    )
    sfseg.write_stack(tmp_path / "truth.tif", np.stack([walled] * 3))
    report = sfseg.score_files(
        tmp_path / "map.tif", tmp_path / "truth.tif", sections="1-2", ignore=128
    )
    errors = report.find_errors()
    assert [each.section for each in errors.listed] == [2]
    path = tmp_path / f"errors{suffix}"
    errors.write(path)
    with sfseg.open_stack(path, labels=True) as stack:
        pictures = stack.read()
        assert (stack.dtype, stack.voxel_size_nm) == (np.uint8, (50, 4, 4))
    for picture, found in zip(pictures, errors.sections(), strict=False):
        np.testing.assert_array_equal(picture, found.draw())
    assert (pictures[0, 0] == UNKNOWN).all()
    assert not pictures[0, 1:].any()
    assert (pictures[2] == UNKNOWN).all()  # not scored
    if suffix == ".tif":
        with tifffile.TiffFile(path) as tif:
            colours = tif.pages[0].colormap.T // 257
        assert colours[: len(COLOURS)].tolist() == [list(colour) for colour in COLOURS]
    with pytest.raises(OutputExistsError):
        errors.write(path)
    errors.write(path, overwrite=True)
