"""Scores of cells: against scikit-image, by hand, in parts; places of errors; what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage, sparse
from skimage.metrics import adapted_rand_error, variation_of_information

import sfseg
from sfseg.errors import NonFiniteError, OptionError, ShapeMismatchError, StackError
from sfseg.scoring.cell_files import are_cells
from sfseg.scoring.cell_pairs import find_borders

EXACT = 1e-12
BEYOND = 2**64 - 1


@st.composite
def pairs(draw, lowest=0):
    shape = draw(array_shapes(min_dims=3, max_dims=3, max_side=6))
    cells, truth = (
        draw(arrays(np.uint32, shape, elements=st.integers(lowest, most))) for most in (5, 4)
    )
    truth.flat[0] = 1
    return cells, truth


def rand_error_of_skimage(cells, truth):
    """The adapted Rand error of scikit-image, with a pixel as a pair with itself.

    scikit-image counts pairs of two pixels, and the scripts of the challenges those with the same
    pixel, too. Counts that are multiplied by a large number have no such pairs.
    """
    pytest.importorskip("skimage", minversion="0.26")  # before, it takes no sparse array
    counted = truth > 0
    ends = truth[counted].astype(np.int32), cells[counted].astype(np.int32)
    table = sparse.coo_array((np.full(counted.sum(), 2.0**60), ends)).tocsr()
    return float(adapted_rand_error(table=table)[0])


@settings(deadline=None, max_examples=60)
@given(pairs())
def test_voi_is_that_of_scikit_image_with_the_predicted_0_as_a_cell(pair):
    cells, truth = pair
    scores = sfseg.score_cells(cells, truth, worst=0)
    expected = variation_of_information(truth, cells, ignore_labels=[0])
    assert (scores.voi_split, scores.voi_merge) == pytest.approx(tuple(expected), abs=EXACT)
    assert scores.voi == scores.voi_split + scores.voi_merge
    assert scores.pixels == np.count_nonzero(truth)
    named = np.where(cells > 0, truth, 0)
    if scores.without_zero:
        expected = variation_of_information(named, cells, ignore_labels=[0])
        found = scores.without_zero.voi_split, scores.without_zero.voi_merge
        assert found == pytest.approx(tuple(expected), abs=EXACT)
    else:
        assert np.array_equal(named, truth) or not named.any()


@settings(deadline=None, max_examples=60)
@given(pairs(lowest=1))
def test_the_rand_error_is_that_of_scikit_image_where_all_pixels_have_an_id(pair):
    cells, truth = pair
    found = sfseg.score_cells(cells, truth, worst=0).adapted_rand_error
    assert found == pytest.approx(rand_error_of_skimage(cells, truth), abs=EXACT)


def test_the_rand_error_by_hand_with_0_on_both_sides():
    truth = [[1, 1, 1, 1, 2, 2, 0, 0]]
    cells = [[5, 5, 5, 0, 5, 0, 7, 0]]
    # n: 3 of (1, 5), 1 of (2, 5); two predicted 0, of 8 pixels, count as 2/8
    joint, predicted, true = 3**2 + 1 + 2 / 8, 4**2 + 2 / 8, 4**2 + 2**2
    scores = sfseg.score_cells(cells, truth)
    assert scores.adapted_rand_error == 1 - 2 * joint / (predicted + true)
    assert (scores.true_cells, scores.cells, scores.pixels) == (2, 1, 6)
    assert sfseg.score_cells([[0, 0]], [[3, 3]]).adapted_rand_error == 1 - 2 / (1 + 4)


@settings(deadline=None, max_examples=40)
@given(pairs(lowest=1), st.randoms(use_true_random=False))
def test_equal_cells_have_no_error_whatever_their_numbers(pair, random):
    truth = pair[1]
    names = [0, *random.sample([2, 7, 255, 2**31, 2**40, 2**63, BEYOND], 4)]
    renamed = np.array(names, np.uint64)[truth]
    scores = sfseg.score_cells(renamed, truth)
    assert (scores.voi, scores.adapted_rand_error, scores.errors) == (0, 0, ())
    assert scores.section_mean.voi == 0


@settings(deadline=None, max_examples=40)
@given(pairs(lowest=1))
def test_a_refinement_is_only_split_and_the_other_way_round_only_merged(pair):
    coarse, fine = pair[0], pair[0] * 10 + pair[1]
    split, merged = sfseg.score_cells(fine, coarse), sfseg.score_cells(coarse, fine)
    assert split.voi_merge == merged.voi_split == 0
    assert split.voi_split == pytest.approx(merged.voi_merge, abs=EXACT)
    assert split.adapted_rand_error == pytest.approx(merged.adapted_rand_error, abs=EXACT)
    assert {error.kind for error in split.errors} <= {"split"}
    assert {error.kind for error in merged.errors} <= {"merge"}


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_the_costs_of_all_errors_and_of_0_add_up_and_each_section_is_scored_alone(pair):
    cells, truth = pair
    scores = sfseg.score_cells(cells, truth, worst=100)
    costs = dict.fromkeys(("split", "merge"), 0.0)
    for error in scores.errors:
        costs[error.kind] += error.cost
        assert error.whole in (truth if error.kind == "split" else cells)
        here = truth[error.z, error.y, error.x], cells[error.z, error.y, error.x]
        assert error.whole == here[error.kind == "merge"]
    assert costs["split"] == pytest.approx(scores.voi_split, abs=EXACT)
    zero = (cells == 0) & (truth > 0)
    shares = np.bincount(truth[zero]) / max(np.count_nonzero(zero), 1)
    of_zero = -sum(p * np.log2(p) for p in shares if p) * np.count_nonzero(zero) / scores.pixels
    assert costs["merge"] + of_zero == pytest.approx(scores.voi_merge, abs=EXACT)
    for row in scores.per_section:
        z = row.section - 1
        alone = sfseg.score_cells(cells[z], truth[z])
        assert (row.voi, row.adapted_rand_error) == (alone.voi, alone.adapted_rand_error)


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2)),
    st.sampled_from([(4.0, 4.0), (10.0, 10.0), (3.0, 7.0)]),
    st.sampled_from([1.0, 8.0, 25.0, 1e6]),
)
def test_pixels_near_a_border_are_those_of_the_distance_transform(truth, pixel_size_nm, width_nm):
    padded = np.pad(truth, 1, mode="edge")
    is_inner = np.ones(truth.shape, bool)
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        shifted = padded[rows : rows + truth.shape[0], columns : columns + truth.shape[1]]
        is_inner &= truth == shifted
    expected = np.zeros(truth.shape, bool)
    if not is_inner.all():
        expected = ndimage.distance_transform_edt(is_inner, sampling=pixel_size_nm) <= width_nm
    np.testing.assert_array_equal(find_borders(truth, width_nm, pixel_size_nm), expected)


def test_the_border_tolerance_forgives_a_border_that_is_a_little_off():
    truth = np.repeat([1, 2], 20)[None, None].repeat(9, 1)
    cells = np.roll(truth, 3, axis=2)
    cells[:, :, :3] = 1
    scores = sfseg.score_cells(cells, truth, pixel_size_nm=10)
    assert scores.voi > 0.1
    assert (scores.border_nm, scores.without_borders.voi) == (25, 0)
    assert scores.without_borders.pixels == 9 * (40 - 6)
    assert sfseg.score_cells(cells, truth, pixel_size_nm=10, border_nm=0).without_borders is None
    assert sfseg.score_cells(cells, truth).border_nm is None
    everything = sfseg.score_cells(cells, truth, pixel_size_nm=10, border_nm=1e4)
    assert (everything.border_nm, everything.without_borders) == (1e4, None)


# --- places


def stack_of(*sections):
    return np.array([[[int(c) for c in row] for row in section.split()] for section in sections])


PLACES = {
    "in a section": (("1111 1111", "1111 1111"), ("1122 1122", "1111 1112"), (0, 0, 1)),
    "between two": (("111", "111", "111"), ("222", "222", "333"), (2, 0, 1)),
    "across a line of 0": (("11111",), ("22033",), (0, 0, 2)),
    "only 0 beside": (("11111",), ("22200",), (0, 0, 2)),
    "nowhere": (("11", "00", "11"), ("22", "00", "33"), (2, 0, 0)),
}


@pytest.mark.parametrize("case", PLACES)
def test_the_place_of_an_error_is_where_its_two_largest_parts_meet(case):
    whole, parts, expected = PLACES[case]
    whole, parts = stack_of(*whole), stack_of(*parts)
    (split,) = sfseg.score_cells(parts, whole).errors
    assert (split.kind, split.whole) == ("split", 1)
    assert (split.z, split.y, split.x) == expected
    assert split.section == split.z + 1
    if parts[whole > 0].all():  # a part of 0 is no true cell
        (merge,) = sfseg.score_cells(whole, parts).errors
        assert (merge.kind, merge.parts) == ("merge", split.parts)
        assert (merge.z, merge.y, merge.x) == expected


def test_a_merge_across_a_true_membrane_lies_on_the_membrane():
    (merge,) = sfseg.score_cells(stack_of("11111 99999"), stack_of("22033 99999")).errors
    assert (merge.parts, merge.pixels, merge.cost) == ((2, 3), 2, 4 / 9)
    assert (merge.y, merge.x) == (0, 2)


def test_the_worst_of_each_kind_come_with_their_largest_parts():
    truth = np.repeat(np.arange(1, 7), 40).reshape(6, 40)
    cells = truth.copy()
    cells[0] = np.arange(100, 140)
    cells[1, :4], cells[4] = 50, 6
    scores = sfseg.score_cells(cells, truth, worst=1)
    first, second = scores.errors
    assert (first.kind, first.true_ids, first.part_count, first.pixels) == ("split", (1,), 40, 39)
    assert first.ids == tuple(range(100, 110))
    assert (second.kind, second.ids, second.true_ids) == ("merge", (6,), (5, 6))
    assert [error.id for error in scores.errors] == [1, 2]
    assert len(sfseg.score_cells(cells, truth).errors) == 3


# --- what is refused, and what gets a warning

TRUTH = np.array([[[1, 1, 2, 2]]])
REFUSED = {
    "all 0": (TRUTH, TRUTH * 0, StackError, "no pixel is in a true cell"),
    "other shape": (TRUTH[:, :, :3], TRUTH, ShapeMismatchError, "does not match"),
    "below 0 in the truth": (TRUTH, -TRUTH, StackError, "--ignore -2"),
    "below 0": (-TRUTH, TRUTH, StackError, "set these pixels to 0"),
    "a map": (TRUTH / 4, TRUTH, StackError, "0.25 is no id"),
    "large floats": (np.float32(TRUTH * 2**23), TRUTH, StackError, "several ids become one"),
    "NaN": (TRUTH * np.nan, TRUTH, NonFiniteError, "row 0, column 0"),
    "a path": ("cells.tif", TRUTH, StackError, "score_cell_files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_pair_of_ids_is_refused(case):
    cells, truth, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        sfseg.score_cells(cells, truth)


def test_a_mask_is_no_truth_but_a_single_cell_is():
    with pytest.raises(StackError, match="the truth has no ids: all cells are 255"):
        sfseg.score_cells([[1, 0, 2, 0, 3]], [[255, 0, 255, 0, 255]])
    scores = sfseg.score_cells([[1, 1, 2]], [[17, 17, 17]])
    assert scores.warnings == ("truth: there is only the id 17, so nothing can be a merge",)


def test_a_border_needs_the_size_of_a_pixel():
    with pytest.raises(OptionError, match="how many pixels are 25 nm is not known"):
        sfseg.score_cells(TRUTH, TRUTH, border_nm=25)
    with pytest.raises(OptionError, match="from 0, not -1"):
        sfseg.score_cells(TRUTH, TRUTH, border_nm=-1, pixel_size_nm=4)


def test_whole_floats_bools_and_one_pixel_are_fine():
    assert sfseg.score_cells(TRUTH.astype(np.float64), TRUTH).voi == 0
    assert sfseg.score_cells([[True]], [[7]]).voi == 0


def test_a_value_to_ignore_takes_no_part():
    cells, truth = np.array([[1, 1, 2, 3]]), np.array([[1, 1, 1, -1]])
    scores = sfseg.score_cells(cells, truth, ignore=-1)
    assert scores.pixels == 3
    unsigned = truth.astype(np.uint64)  # -1 becomes the largest number
    assert sfseg.score_cells(cells, unsigned, ignore=BEYOND) == scores
    warned = sfseg.score_cells(cells, cells, ignore=9).warnings
    assert any("no pixel has the value of --ignore" in warning for warning in warned)


def test_ids_that_differ_in_each_section_get_a_warning(tissue):
    truth, by_section = tissue
    scores = sfseg.score_cells(by_section, truth)
    assert scores.voi > 1 > 0.2 > scores.section_mean.voi
    (warning,) = (each for each in scores.warnings if "do not continue" in each)
    assert warning.startswith("cells: ids do not continue along z: ")
    turned = sfseg.score_cells(truth, by_section).warnings
    assert any(each.startswith("truth: ids do not continue") for each in turned)
    assert not any("continue" in each for each in sfseg.score_cells(truth, truth).warnings)


def test_pixels_without_an_id_and_sections_without_a_true_cell_are_told():
    truth = np.zeros((3, 4, 4), int)
    truth[1, :, :2], truth[1, :, 2:] = 1, 2
    cells = truth.copy()
    cells[1, 0] = 0
    warnings = sfseg.score_cells(cells, truth).warnings
    assert warnings[0].startswith("cells: 25.0% of the pixels in true cells are 0.")
    assert warnings[1].startswith("truth: sections 1,3: no pixel is in a true cell")


# --- files


@pytest.fixture(scope="module")
def tissue():
    """True ids that continue along z, and those of each section alone; 0 on membranes."""
    labels = sfseg.make_tissue((5, 96, 112), seed=3)[1] > 0
    by_section = np.stack([ndimage.label(section)[0] for section in labels])
    truth = by_section.copy()
    for z in range(1, len(truth)):
        for cell in range(1, by_section[z].max() + 1):
            below = truth[z - 1][(by_section[z] == cell) & (truth[z - 1] > 0)]
            new = truth.max() + 1
            truth[z][by_section[z] == cell] = np.bincount(below).argmax() if below.size else new
    return truth.astype(np.uint16), (by_section + 1000 * np.arange(5)[:, None, None]) * labels


@pytest.fixture(scope="module")
def files(tissue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    truth, by_section = tissue
    inside = np.where(truth > 0, 255, 0)
    soft = ndimage.gaussian_filter(inside.astype(float), (0, 2, 2))
    stacks = {
        "truth": truth,
        "sections": by_section.astype(np.uint32),
        "floats": truth.astype(np.float32),
        "not-labelled": np.where(np.arange(112) < 80, truth, 65535).astype(np.uint16),
        "mask": inside.astype(np.uint8),
        "classes": np.where(truth > 0, 2, 1).astype(np.uint8),
        "map": soft.astype(np.uint8),
        "sharp-map": np.clip(4 * soft - 400, 0, 255).astype(np.uint8),
        "votes": (np.round(soft / 51) * 51).astype(np.uint8),
        "float-map": (soft / 255).astype(np.float32),
    }
    for name, pixels in stacks.items():
        sfseg.write_stack(folder / f"{name}.tif", pixels, voxel_size_nm=(50, 4, 4))
    return folder


IDS = ("truth", "sections", "floats", "not-labelled")
NO_IDS = ("mask", "classes", "map", "sharp-map", "votes", "float-map")


@pytest.mark.parametrize("name", [*IDS, *NO_IDS, "missing"])
def test_files_of_cells_are_told_from_maps_masks_and_classes(name, files):
    path, truth = files / f"{name}.tif", files / "truth.tif"
    assert are_cells(path, truth) == are_cells(truth, path) == (name in IDS)


def test_scores_of_files_are_those_of_arrays_with_their_pixel_size_and_sections(tissue, files):
    truth, by_section = tissue
    seen = []
    found = sfseg.score_cell_files(
        files / "sections.tif",
        files / "truth.tif",
        sections="2-4",
        progress=lambda *done: seen.append(done),
    )
    expected = sfseg.score_cells(by_section[1:4], truth[1:4], pixel_size_nm=4)
    assert found.without_borders == expected.without_borders
    assert (found.voi, found.section_mean) == (expected.voi, expected.section_mean)
    assert [row.section for row in found.per_section] == [2, 3, 4]
    assert [error.z for error in found.errors] == [error.z + 1 for error in expected.errors]
    assert seen == [(done, 6) for done in range(7)]
    assert json.loads(json.dumps(found.as_dict()))["shape"] == [3, 96, 112]


def test_a_number_that_other_programs_use_for_not_labelled_gets_a_warning(files):
    paths = files / "truth.tif", files / "not-labelled.tif"
    warned = sfseg.score_cell_files(*paths).warnings[0]
    assert "65535 is perhaps no cell" in warned
    assert "--ignore 65535" in warned
    scores = sfseg.score_cell_files(*paths, ignore=65535)
    assert (scores.voi, scores.warnings) == (0, ())


def test_sections_are_read_one_at_a_time(files, monkeypatch):
    monkeypatch.setattr(sfseg.Stack, "read", None)
    assert sfseg.score_cell_files(files / "truth.tif", files / "truth.tif").voi == 0
