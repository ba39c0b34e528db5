"""The scores: the official numbers, cases by hand, brute force over pairs, properties."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import entropy

from sfseg.errors import NonFiniteError, ShapeMismatchError, StackError
from sfseg.scoring.contingency import Tallies, group, tally
from sfseg.scoring.measures import v_info, v_rand
from sfseg.scoring.score import ALPHAS, THRESHOLDS, score, score_sections
from sfseg.scoring.thresholds import as_stack, sweep_section

OWN_VECTORS = Path(__file__).parent / "vectors"
CHALLENGE_VECTORS = Path(__file__).parents[3] / "shared" / "data" / "score-vectors"
SYNTHETIC = ("binary", "f32", "u16_single", "u8")
CHALLENGE = (
    "better_f32",
    "binary_eroded",
    "crop_u16_odd",
    "early_u8",
    "nothing_inside",
    "smoothed_u8",
)

# Columns 0-1 are cell A (8 pixels), column 3 is cell B (4 pixels), column 2 is membrane.
TWO_CELLS = np.tile(np.array([255, 255, 0, 255], np.uint8), (4, 1))


def vector(folder, name):
    if not folder.is_dir():
        pytest.skip(f"the challenge's own score vectors are not at {folder}")
    expected = json.loads((folder / "expected.json").read_text())[name]
    prediction = tifffile.imread(folder / f"{name}.pred.tif")
    labels = tifffile.imread(folder / f"{name}.gt.tif")
    return prediction, labels, expected


every_vector = pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(pytest.param(OWN_VECTORS, name, id=name) for name in SYNTHETIC),
        *(pytest.param(CHALLENGE_VECTORS, name, id=name) for name in CHALLENGE),
    ],
)


@every_vector
def test_every_threshold_gives_the_official_programs_numbers(folder, name):
    prediction, labels, expected = vector(folder, name)
    scores = score(prediction, labels)
    for ours, official in zip(scores.per_threshold, expected["thresholds"], strict=True):
        assert ours.threshold == official["threshold"]
        for key in ("v_rand", "v_rand_pooled", "v_info"):
            assert getattr(ours, key) == pytest.approx(official[key], abs=1e-9, rel=0), key


@every_vector
def test_the_best_scores_are_the_official_programs(folder, name):
    prediction, labels, expected = vector(folder, name)
    scores = score(prediction, labels)
    for key in ("v_rand", "v_rand_pooled", "v_info", "pixel_f"):
        assert getattr(scores, key) == pytest.approx(expected[f"{key}_max"], abs=1e-9, rel=0), key


@every_vector
def test_merge_and_split_are_the_official_precision_and_recall(folder, name):
    prediction, labels, expected = vector(folder, name)
    pairs = zip(as_stack(prediction, "map"), as_stack(labels, "truth"), strict=True)
    swept = [sweep_section(*pair, 1, names=("map", "truth"))[0] for pair in pairs]
    pooled = Tallies(*np.sum(swept, axis=0).T)
    for key, half in (("precision_pooled", "merge"), ("recall_pooled", "split")):
        official = [row[key] for row in expected["thresholds"]]
        np.testing.assert_allclose(getattr(v_rand(pooled), half), official, atol=1e-9, rtol=0)


def test_the_thresholds_are_added_up_in_double_precision():
    assert len(THRESHOLDS) == 11
    assert THRESHOLDS[3] == 0.30000000000000004
    assert THRESHOLDS[-1] == 0.9999999999999999


def test_a_float32_prediction_is_compared_in_double_precision():
    prediction = TWO_CELLS.astype(np.float32) / 255
    prediction[:, :2] = np.float32(0.1)  # as a double above 0.1, as a float32 equal to it
    assert score(prediction, TWO_CELLS).per_threshold[1].v_rand == 1.0


def test_a_cut_cell_by_hand():
    prediction = TWO_CELLS.copy()
    prediction[1, :2] = 0  # cuts A into 2 and 4 pixels; its row 1 becomes two dams
    scores = score(prediction, TWO_CELLS)
    squares = 2**2 + 4**2 + 4**2 + 2 * 1**2
    assert scores.v_rand_merge == 1.0
    assert scores.v_rand_split == squares / (8**2 + 4**2)
    assert scores.v_rand == pytest.approx(2 * squares / (squares + 8**2 + 4**2))
    predicted, true = entropy([2, 4, 4, 1, 1]), entropy([8, 4])
    assert scores.v_info == pytest.approx(2 * true / (predicted + true))
    assert scores.v_info_split == pytest.approx(true / predicted)
    assert scores.v_info_merge == pytest.approx(1.0)
    assert scores.dice == pytest.approx(2 * 10 / (10 + 12))
    assert scores.jaccard == pytest.approx(10 / 12)
    assert scores.membrane_dice == pytest.approx(2 * 4 / (6 + 4))


def test_joined_cells_by_hand():
    scores = score(np.full_like(TWO_CELLS, 255), TWO_CELLS)
    assert scores.v_rand_split == 1.0
    assert scores.v_rand_merge == (8**2 + 4**2) / 12**2
    assert scores.v_rand == pytest.approx(2 * 80 / (144 + 80))
    assert scores.v_rand_alpha == pytest.approx(80 / (0.1 * 144 + 0.9 * 80))
    assert scores.v_info == scores.v_info_split == scores.v_info_merge == 0.0
    assert scores.membrane_dice == 0.0


segmentations = array_shapes(min_dims=1, max_dims=1, max_side=30).flatmap(
    lambda shape: st.tuples(
        arrays(np.int32, shape, elements=st.integers(1, 4)),
        arrays(np.int32, shape, elements=st.integers(0, 4)),
    )
)


def tallied(truth, predicted):
    return Tallies(*map(np.asarray, tally(group(truth, 4), predicted, 4)))


def with_dams_alone(predicted):
    return np.where(predicted == 0, 5 + np.arange(predicted.size), predicted)


@given(segmentations)
@settings(deadline=None)
def test_v_rand_counts_pairs_of_pixels(pair):
    truth, predicted = pair
    found, split, merge = v_rand(tallied(truth, predicted))
    alone = with_dams_alone(predicted)
    together = truth[:, None] == truth
    found_together = alone[:, None] == alone
    both = np.sum(together & found_together)
    assert split == pytest.approx(both / together.sum())
    assert merge == pytest.approx(both / found_together.sum())
    assert found == pytest.approx(2 * both / (together.sum() + found_together.sum()))


@given(segmentations)
@settings(deadline=None)
def test_v_info_is_the_mutual_information_over_the_mean_entropy(pair):
    truth, predicted = pair
    true, found, joint = (
        entropy(np.unique(keys, return_counts=True)[1])
        for keys in (truth, with_dams_alone(predicted), truth * 1000 + with_dams_alone(predicted))
    )
    expected = 2 * (true + found - joint) / (true + found) if true > 0 and found > 0 else 0
    assert v_info(tallied(truth, predicted)).score == pytest.approx(expected, abs=1e-12)


@given(segmentations, st.permutations(range(1, 5)), st.permutations(range(1, 5)))
@settings(deadline=None)
def test_the_numbers_of_the_segments_do_not_matter(pair, true_names, names):
    truth, predicted = pair
    renamed = (
        np.array([0, *true_names], np.int32)[truth],
        np.array([0, *names], np.int32)[predicted],
    )
    for measure in (v_rand, v_info):
        assert measure(tallied(*renamed)).score == pytest.approx(measure(tallied(*pair)).score)


def stacks(kind):
    return arrays(kind, (2, 6, 7), elements=st.sampled_from([0, 20, 70, 130, 200, 255]))


@st.composite
def pairs(draw):
    labels = draw(stacks(np.uint8))
    labels[:, 0, 0] = 255  # something to score
    return draw(stacks(np.uint8)), labels


@given(pairs())
@settings(max_examples=50, deadline=None)
def test_scores_lie_between_0_and_1_and_dice_is_never_below_jaccard(pair):
    scores = score(*pair)
    for name, value in dataclasses.asdict(scores).items():
        if isinstance(value, float):
            assert 0 <= value <= 1, name
    assert scores.dice == pytest.approx(2 * scores.jaccard / (1 + scores.jaccard))
    assert scores.dice <= scores.dice_best
    assert scores.v_rand <= scores.v_rand_alpha + 1e-12
    assert scores.v_rand == max(row.v_rand for row in scores.per_threshold)
    assert scores.v_info == max(row.v_info for row in scores.per_threshold)
    assert scores.v_rand == pytest.approx(np.mean([row.v_rand for row in scores.per_section]))


@given(pairs())
@settings(max_examples=50, deadline=None)
def test_the_truth_itself_scores_1(pair):
    labels = np.where(pair[1] > 0, np.uint8(255), np.uint8(0))
    scores = score(labels, labels)
    assert scores.v_rand == scores.v_rand_split == scores.v_rand_merge == 1.0
    assert scores.dice == scores.jaccard == scores.membrane_dice == scores.pixel_f == 1.0
    assert scores.v_rand_threshold == THRESHOLDS[0]  # the first of equals


def test_the_truth_itself_has_v_info_1_where_there_are_two_cells():
    assert score(TWO_CELLS, TWO_CELLS).v_info == pytest.approx(1.0)


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_only_the_thresholds_that_a_pixel_is_above_matter(pair):
    prediction, labels = pair
    midpoints = (np.searchsorted(THRESHOLDS, prediction / 255) - 0.5) / 10
    scores = score(np.clip(midpoints, 0, 1), labels)
    expected = dataclasses.replace(score(prediction, labels), shape=scores.shape)
    assert scores == expected


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_all_types_of_the_same_prediction_and_labels_score_the_same(pair):
    interior, labels = pair[0] > 127, pair[1] > 127
    expected = score(interior, labels)
    for kind, top in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1)):
        assert score(interior.astype(kind) * kind(top), labels.astype(kind)) == expected


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_the_order_of_sections_and_the_number_of_threads_do_not_matter(pair):
    prediction, labels = pair
    scores = score(prediction, labels, workers=1)
    assert score(prediction, labels, workers=3) == scores
    flipped = score(prediction[::-1], labels[::-1])
    assert flipped.v_rand == pytest.approx(scores.v_rand)
    assert [row.v_rand for row in flipped.per_section[::-1]] == pytest.approx(
        [row.v_rand for row in scores.per_section]
    )


def test_a_single_section_is_a_stack_of_one():
    prediction = np.where(TWO_CELLS > 0, 200, 30).astype(np.uint8)
    assert score(prediction, TWO_CELLS) == score(prediction[None], TWO_CELLS[None])
    assert score(prediction, TWO_CELLS).shape == (1, 4, 4)


@pytest.mark.parametrize("workers", [1, 3])
def test_progress_is_reported_at_the_start_and_after_each_section(workers):
    told = []
    stack = np.stack([TWO_CELLS] * 4)
    score(stack, stack, workers=workers, progress=lambda *now: told.append(now))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_soft_labels_are_thresholded_with_the_prediction():
    soft = np.where(TWO_CELLS > 0, 1.0, 0.35)  # below 0.4 the membrane counts as inside
    by_threshold = score(TWO_CELLS, soft).per_threshold
    assert by_threshold[3].v_rand < 1.0
    assert by_threshold[4].v_rand == 1.0


def test_v_rand_alpha_is_the_best_over_alpha_at_the_best_threshold():
    prediction = TWO_CELLS.copy()
    prediction[1, :2] = 0
    assert ALPHAS[0] == 0.1
    assert ALPHAS[-1] == 1.0
    assert score(prediction, TWO_CELLS).v_rand_alpha == 1.0  # alpha = 1 is the merge half


def test_sections_can_have_other_numbers():
    labels = np.stack([TWO_CELLS, TWO_CELLS])
    scores = score(labels, labels, numbers=(25, 30))
    assert [row.section for row in scores.per_section] == [25, 30]


def test_sections_of_several_sizes_are_scored_together(tissue):
    """At each threshold V_Rand and V_Info are means of sections, and Dice counts all pixels."""
    labels = [tissue[1][0], tissue[1][1, :96, :64]]
    predicted = [np.roll(section, 2, 0) for section in labels]
    together = score_sections(predicted, labels)
    alone = [score(*pair) for pair in zip(predicted, labels, strict=True)]
    assert together.shape == (2, 96, 112)
    for row, *rows in zip(together.per_threshold, *(s.per_threshold for s in alone), strict=True):
        assert row.v_rand == pytest.approx(np.mean([r.v_rand for r in rows]))
        assert row.v_info == pytest.approx(np.mean([r.v_info for r in rows]))
    assert min(s.dice for s in alone) < together.dice < max(s.dice for s in alone)
    stack = np.stack(labels[:1] * 2)
    assert score_sections(list(stack), list(stack)) == score(stack, stack)


def test_unequal_shapes_are_refused():
    with pytest.raises(ShapeMismatchError, match=r"does not match labels, \(1, 4, 4\)"):
        score(TWO_CELLS[:3], TWO_CELLS)
    with pytest.raises(ShapeMismatchError, match=r"section 2: .* does not match labels, \(4, 4\)"):
        score_sections([TWO_CELLS, TWO_CELLS[:3]], [TWO_CELLS, TWO_CELLS])


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (np.int32, "int32 cannot be scored"),
        (np.uint32, "uint32 cannot be scored"),
        (np.complex64, "the array holds no real numbers, but complex64"),
    ],
)
def test_other_types_are_refused(kind, found):
    with pytest.raises(StackError, match=f"prediction: {found}"):
        score(TWO_CELLS.astype(kind), TWO_CELLS)
    with pytest.raises(StackError, match=f"labels: {found}"):
        score(TWO_CELLS, TWO_CELLS.astype(kind))


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4, 4), (0, 4, 4), (4, 0)])
def test_what_is_no_stack_is_refused(shape):
    with pytest.raises(StackError, match=r"prediction: an array of shape .* is no stack"):
        score(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_a_section_too_large_for_the_kernels_is_refused():
    huge = np.broadcast_to(np.uint8(255), (50_000, 50_000))
    with pytest.raises(StackError, match=r"50000x50000 have too many pixels, 2\^31 or more"):
        score(huge, huge)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1.5, StackError),
        (-0.25, StackError),
        (math.nan, NonFiniteError),
        (math.inf, NonFiniteError),
    ],
)
def test_values_that_are_no_probability_are_refused_with_their_place(value, error):
    labels = np.stack([TWO_CELLS] * 3)
    prediction = labels / np.float32(255)
    prediction[1, 2, 3] = value
    with pytest.raises(error, match=rf"section 2: .* row 2, column 3 is {value:g}"):
        score(prediction, labels)


def test_a_section_with_nothing_inside_is_refused_by_its_number():
    labels = np.stack([TWO_CELLS, TWO_CELLS * 0])
    with pytest.raises(StackError, match=r"truth\.tif: section 30: .*nothing to score"):
        score(labels, labels, names=("map.tif", "truth.tif"), numbers=(29, 30))


def test_nothing_predicted_inside_is_one_segment_and_scores_low_without_failing():
    scores = score(np.zeros_like(TWO_CELLS), TWO_CELLS)
    assert scores.v_rand == pytest.approx(2 * 80 / (144 + 80))
    assert scores.v_info == scores.dice == scores.pixel_f == 0.0
