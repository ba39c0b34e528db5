"""`score_files`: the numbers of `score` for files, whichever way round they are stored."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.scoring.score import score
from sfseg.scoring.score_files import score_files

VECTORS = Path(__file__).parent / "vectors"


SAMPLE = Path(__file__).parents[2] / "examples" / "sample" / "labels.tif"


@pytest.fixture(scope="module")
def inside():
    """The inside of the cells of the sample, bool, shape (3, 256, 256)."""
    return tifffile.imread(SAMPLE) > 0


@pytest.fixture(scope="module")
def soft(inside):
    """A map of them, float32, with a gap that merges two cells."""
    blurred = ndimage.gaussian_filter(inside.astype(np.float32), (0, 1.5, 1.5))
    blurred[:, 100:104] = np.maximum(blurred[:, 100:104], 0.7)
    return blurred


@pytest.fixture
def scored(tmp_path, soft):
    """Give a function that scores the map, or another one, against labels."""

    def run(labels, probability=soft, **options):
        for name, array in (("map.tif", probability), ("truth.tif", labels)):
            tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
        return score_files(tmp_path / "map.tif", tmp_path / "truth.tif", **options)

    return run


@pytest.fixture
def files(tmp_path):
    """Write a map and its truth, uint8, 3 sections; give the paths and the arrays."""
    prediction = tifffile.imread(VECTORS / "u8.pred.tif")
    labels = tifffile.imread(VECTORS / "u8.gt.tif")
    paths = tmp_path / "map.tif", tmp_path / "truth.tif"
    for path, array in zip(paths, (prediction, labels), strict=True):
        tifffile.imwrite(path, array, photometric="minisblack")
    return *paths, prediction, labels


@pytest.mark.parametrize("name", ["binary", "f32", "u16_single", "u8"])
def test_files_score_the_official_programs_numbers(name):
    expected = json.loads((VECTORS / "expected.json").read_text())[name]
    report = score_files(VECTORS / f"{name}.pred.tif", VECTORS / f"{name}.gt.tif")
    for key in ("v_rand", "v_rand_pooled", "v_info", "pixel_f"):
        ours = getattr(report.scores, key)
        assert ours == pytest.approx(expected[f"{key}_max"], abs=1e-9, rel=0), key


def test_progress_counts_the_sections_that_are_scored(files):
    told = []
    score_files(*files[:2], sections="2-3", progress=lambda *now: told.append(now))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_the_report_names_the_files_as_they_were_named(files):
    report = score_files(str(files[0]), files[1])
    assert (report.prediction, report.truth) == (str(files[0]), str(files[1]))


def test_the_report_as_a_dictionary_has_the_order_of_the_json_output(files):
    report = score_files(*files[:2]).as_dict()
    assert list(report) == [
        "prediction",
        "truth",
        "shape",
        "v_rand",
        "v_rand_split",
        "v_rand_merge",
        "v_rand_threshold",
        "v_rand_pooled",
        "v_rand_alpha",
        "v_info",
        "v_info_split",
        "v_info_merge",
        "v_info_threshold",
        "dice",
        "jaccard",
        "membrane_dice",
        "dice_best",
        "pixel_f",
        "per_threshold",
        "per_section",
        "warnings",
    ]
    assert list(report["per_threshold"][0]) == [
        "threshold",
        "v_rand",
        "v_rand_pooled",
        "v_info",
        "dice",
        "v_rand_split",
        "v_rand_merge",
        "v_info_split",
        "v_info_merge",
    ]
    assert list(report["per_section"][0]) == ["section", "v_rand", "v_info", "dice"]
    assert json.loads(json.dumps(report))["shape"] == [3, 72, 88]


def test_chosen_sections_are_scored_alone_and_keep_their_numbers(files):
    prediction, truth, map_array, labels = files
    scores = score_files(prediction, truth, sections="1,3").scores
    assert [row.section for row in scores.per_section] == [1, 3]
    assert scores == score(map_array[[0, 2]], labels[[0, 2]], numbers=(1, 3))


@pytest.mark.parametrize("sections", ["4", "0", "two", "2-1"])
def test_sections_outside_the_stack_are_refused(files, sections):
    with pytest.raises(OptionError):
        score_files(*files[:2], sections=sections)


@pytest.mark.parametrize(
    "turn",
    [
        lambda array: 255 - array,
        lambda array: 65535 - array.astype(np.uint16) * 257,
        lambda array: 1 - array.astype(np.float32) / np.float32(255),
    ],
    ids=["uint8", "uint16", "float32"],
)
def test_a_map_of_the_membrane_is_turned_by_invert(files, tmp_path, turn):
    prediction, truth, map_array, _ = files
    membrane = tmp_path / "membrane.tif"
    tifffile.imwrite(membrane, turn(map_array), photometric="minisblack")
    turned = score_files(membrane, truth, invert=True).scores
    expected = score_files(prediction, truth).scores
    assert turned.v_rand == pytest.approx(expected.v_rand, abs=1e-6)
    assert turned.dice == pytest.approx(expected.dice, abs=1e-6)


@pytest.mark.parametrize("mark", [1, 255])
def test_labels_that_mark_the_membrane_are_turned_by_invert_labels(files, tmp_path, mark):
    prediction, truth, _, labels = files
    membrane = tmp_path / "membrane.tif"
    marked = np.where(labels == 0, np.uint8(mark), np.uint8(0))
    tifffile.imwrite(membrane, marked, photometric="minisblack")
    turned = score_files(prediction, membrane, invert_labels=True).scores
    assert turned == score_files(prediction, truth).scores


def test_float_labels_that_mark_the_membrane_are_turned_by_invert_labels(files, tmp_path):
    prediction, truth, _, labels = files
    membrane = tmp_path / "membrane.tif"
    tifffile.imwrite(membrane, (labels == 0).astype(np.float32), photometric="minisblack")
    turned = score_files(prediction, membrane, invert_labels=True).scores
    assert turned == score_files(prediction, truth).scores


def test_axes_are_used_for_both_files(files, tmp_path):
    paths = tmp_path / "map_yxz.tif", tmp_path / "truth_yxz.tif"
    for path, array in zip(paths, files[2:], strict=True):
        tifffile.imwrite(path, np.moveaxis(array, 0, -1), photometric="minisblack")
    assert score_files(*paths, axes="YXZ").scores == score_files(*files[:2]).scores


def test_the_labels_may_have_axes_of_their_own(files, tmp_path):
    path = tmp_path / "map_yxz.tif"
    tifffile.imwrite(path, np.moveaxis(files[2], 0, -1), photometric="minisblack")
    found = score_files(path, files[1], axes="YXZ", label_axes="ZYX").scores
    assert found == score_files(*files[:2]).scores


def test_stacks_of_unequal_shape_are_refused_by_name(files, tmp_path):
    short = tmp_path / "short.tif"
    tifffile.imwrite(short, files[2][:2], photometric="minisblack")
    with pytest.raises(ShapeMismatchError, match=r"short\.tif: the shape .*truth\.tif"):
        score_files(short, files[1])


def test_a_section_with_nothing_inside_is_refused_by_file_and_number(files, tmp_path):
    empty = tmp_path / "empty.tif"
    labels = files[3].copy()
    labels[2] = 0
    tifffile.imwrite(empty, labels, photometric="minisblack")
    with pytest.raises(StackError, match=r"empty\.tif: section 3: .*nothing to score"):
        score_files(files[0], empty, sections="2-3")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16])
def test_a_mask_of_0_and_1_is_refused_as_a_prediction(files, tmp_path, kind):
    mask = tmp_path / "mask.tif"
    tifffile.imwrite(mask, (files[3] > 0).astype(kind), photometric="minisblack")
    with pytest.raises(StackError, match=r"mask\.tif: this is a mask of 0 and 1"):
        score_files(mask, files[1])


def test_a_missing_file_is_refused_by_name(files, tmp_path):
    with pytest.raises(StackError, match=r"nowhere\.tif"):
        score_files(tmp_path / "nowhere.tif", files[1])


def test_folders_are_paired_by_the_numbers_of_their_sections(files, tmp_path):
    _, _, prediction, labels = files
    for name, numbers, array in (("maps", (1, 2, 3), prediction), ("truth", (1, 2, 4), labels)):
        (tmp_path / name).mkdir()
        for number, section in zip(numbers, array, strict=True):
            tifffile.imwrite(tmp_path / name / f"s{number:03}.tif", section)
    report = score_files(tmp_path / "maps", tmp_path / "truth")
    assert report.scores.v_rand == score(prediction[:2], labels[:2]).v_rand
    assert report.notes[0].endswith(
        "the number 3 is missing: the sections there are neighbours now"
    )
    assert [note.rpartition(" ")[2] for note in report.notes[1:]] == ["3", "4"]
    alone = score_files(tmp_path / "maps", tmp_path / "truth", sections="2")
    assert [row.section for row in alone.scores.per_section] == [2]
    with pytest.raises(OptionError, match="sections 3: they have no labels in"):
        score_files(tmp_path / "maps", tmp_path / "truth", sections="1-3")


def test_a_min_is_white_truth_is_read_as_it_is_seen(files):
    expected = score_files(*files[:2]).scores
    mask = np.where(files[3] > 0, np.uint8(255), np.uint8(0))
    tifffile.imwrite(files[1], 255 - mask, photometric="miniswhite", metadata=None)
    report = score_files(*files[:2])
    assert report.scores == expected
    assert "min-is-white" in report.notes[0]


def test_what_is_right_raises_no_warning(scored, inside, soft):
    assert scored(inside.astype(np.uint8) * 255).warnings == ()
    binary = (soft > 0.5).astype(np.uint8) * 255
    report = scored(inside.astype(np.uint16), binary)
    assert report.scores.v_rand_threshold == 0  # all thresholds are alike
    assert report.warnings == ()
    border = [np.pad(array, ((0, 0), (40, 40), (40, 40))) for array in (inside, soft)]
    assert scored(border[0].astype(np.uint8), border[1]).warnings == ()


READINGS = {
    "ilastik": (lambda c: c + 1, {"membrane_value": 1}),
    "membrane": (lambda c: ~c * 7, {"labels_are": "membrane"}),
    "numbers": (
        lambda c: np.stack([ndimage.label(section)[0] for section in c]).astype(np.int32),
        {},
    ),
    "organelles": (
        lambda c: (
            c.astype(np.uint8)
            + np.stack([ndimage.binary_opening(section, np.ones((21, 21))) for section in c])
        ),
        {},
    ),
    "percent": (lambda c: c * np.float32(100), {"membrane_value": 0}),
    "blurred": (
        lambda c: np.stack([ndimage.uniform_filter(s * np.uint8(255), 3) for s in c]),
        {"threshold_labels": "auto"},
    ),
}


@pytest.mark.parametrize("case", READINGS)
def test_labels_of_other_values_score_as_they_are_meant(scored, inside, case):
    make, options = READINGS[case]
    labels = np.asarray(make(inside))
    expected = scored(inside.astype(np.uint8)).scores
    found = scored(labels.astype(np.uint8) if labels.dtype == np.int64 else labels, **options)
    if case == "blurred":
        assert found.scores.v_rand == pytest.approx(expected.v_rand, abs=0.002)
    else:
        assert found.scores == expected
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda c: c + 1, "1 and 2, and none is 0.*--membrane-value 1"),
        (lambda c: ndimage.uniform_filter(c * np.uint8(255), (0, 3, 3)), "--threshold-labels auto"),
        (lambda c: np.where(np.arange(256) < 80, c, 255), "--ignore 255"),
        (
            lambda c: np.stack([ndimage.grey_dilation(ndimage.label(s)[0], 5) for s in c]),
            "numbers of cells.*--labels-are instances",
        ),
    ],
    ids=["ilastik", "blurred", "ignore", "touching numbers"],
)
def test_labels_that_would_be_misread_are_refused_with_the_option_that_reads_them(
    scored, inside, make, found
):
    with pytest.raises(StackError, match=f"(?s){found}"):
        scored(np.asarray(make(inside)).astype(np.uint8))


def test_ignored_pixels_take_no_part_in_any_score(scored, inside, soft):
    """The scores are those of the strip that is labelled, alone."""
    painted = np.where(np.arange(256) < 80, inside + 1, 0).astype(np.uint8)
    strip = scored(inside[..., :80].astype(np.uint8), soft[..., :80]).scores
    for labels, options in (
        (painted, {"membrane_value": 1, "ignore": 0}),
        (np.where(painted == 0, 255, inside).astype(np.uint8), {"ignore": 255}),
        (np.where(painted == 0, -1, inside).astype(np.int16), {"ignore": -1}),
    ):
        report = scored(labels, **options)
        for name in ("v_rand", "v_info", "v_rand_pooled"):
            ours, alone = getattr(report.scores, name), getattr(strip, name)
            assert ours == pytest.approx(alone, abs=1e-3), name
        for name in ("dice", "jaccard", "membrane_dice", "dice_best", "pixel_f"):
            assert getattr(report.scores, name) == getattr(strip, name), name
        assert report.warnings == ()


def test_a_cell_that_ignored_pixels_cut_is_two_cells_on_both_sides():
    labels = np.full((1, 9, 21), 255, np.uint8)
    labels[:, :, 6] = 0
    prediction = labels.copy()
    labels[:, 3:6] = 128
    assert score(prediction, labels, ignore=128).v_rand == 1
    prediction[:, :, 6] = 255  # a true error still counts
    assert score(prediction, labels, ignore=128).v_rand < 1


def test_parts_that_are_not_labelled_are_warned_about(scored, inside):
    labels = inside.astype(np.uint8) * 255
    labels[:, :, 80:] = 0
    (warning,) = scored(labels).warnings
    assert "truth.tif: sections 1-3: up to " in warning
    assert warning.endswith("add --ignore 128")
    labels[:, :, 80:] = 128
    assert scored(labels, ignore=128).warnings == ()


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("border", [0, 40])
def test_opposite_polarity_is_warned_about_with_the_option_that_turns_it(
    scored, inside, soft, invert, border
):
    wide = [np.pad(inside, ((0, 0), (border,) * 2, (border,) * 2))]
    wide += [np.pad(soft if invert else 1 - soft, ((0, 0), (border,) * 2, (border,) * 2))]
    labels = ~inside if invert else wide[0]
    probability = soft if invert else wide[1]
    report = scored(labels.astype(np.uint8), probability)
    option = "--invert-labels" if invert else "--invert"
    assert len(report.warnings) == 1
    assert report.warnings[0].endswith(f"with {option}")
    turned = {"invert_labels": True} if invert else {"invert": True}
    mended = scored(labels.astype(np.uint8), probability, **turned)
    back = scored(inside.astype(np.uint8), soft, **turned)
    assert back.warnings[0].endswith(f"without {option}")
    assert mended.scores.dice > report.scores.dice + 0.5


def test_files_that_are_both_high_on_membranes_are_warned_about(scored, inside, soft):
    labels, probability = (~inside).astype(np.uint8), 1 - soft
    (warning,) = scored(labels, probability).warnings
    assert warning.endswith("score them with --invert and with --invert-labels")
    assert scored(labels, probability, invert=True, invert_labels=True).warnings == ()


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (lambda map_: map_[:, ::-1], "only with top and bottom exchanged"),
        (lambda map_: map_[:, :, ::-1], "only with left and right exchanged"),
        (lambda map_: map_.transpose(0, 2, 1), "only with rows and columns exchanged"),
    ],
)
def test_a_mirrored_map_is_warned_about(scored, inside, soft, turn, told):
    side = min(inside.shape[1:])
    labels, map_ = inside[:, :side, :side], soft[:, :side, :side]
    assert scored(labels, map_).warnings == ()
    (warning,) = scored(labels, turn(map_)).warnings
    assert told in warning


def test_one_inverted_section_of_several_is_named(scored, inside):
    labels = inside.astype(np.uint8) * 255
    labels[1] = 255 - labels[1]
    (warning,) = scored(labels).warnings
    assert "section 2: the labels look inverted there" in warning
    assert "Edit > Invert" in warning


@pytest.mark.parametrize(("full", "kind"), [(100, np.uint8), (255, np.uint16), (4095, np.uint16)])
def test_a_map_on_another_scale_is_warned_about_and_map_max_mends_it(
    scored, inside, soft, full, kind
):
    labels, probability = inside.astype(np.uint8), np.rint(soft * full).astype(kind)
    assert any(w.endswith(f"add --map-max {full}") for w in scored(labels, probability).warnings)
    mended = scored(labels, probability, map_max=full)
    assert mended.warnings == ()
    assert mended.scores.v_rand == pytest.approx(scored(labels).scores.v_rand, abs=0.01)


def test_floats_above_1_and_masks_of_1_are_refused_with_the_value_that_means_1(
    scored, inside, soft
):
    labels = inside.astype(np.uint8)
    with pytest.raises(StackError, match="add --map-max 255"):
        scored(labels, soft * 255)
    with pytest.raises(StackError, match="add --map-max 65535"):
        scored(labels, soft * 65535)
    assert scored(labels, soft * 255, map_max=255).scores.v_rand == pytest.approx(
        scored(labels).scores.v_rand, abs=1e-6
    )
    mask = (soft > 0.5).astype(np.uint8)
    with pytest.raises(StackError, match="add --map-max 1"):
        scored(labels, mask)
    assert scored(labels, mask, map_max=1).scores.dice == scored(labels, mask * 255).scores.dice
    with pytest.raises(OptionError, match="--map-max: must be a number above 0"):
        scored(labels, map_max=0)


def test_a_best_threshold_at_an_end_of_the_range_is_warned_about(scored, inside, soft):
    squeezed = np.where(soft > 0.9, 1, 0.95 + soft / 40)
    (warning,) = scored(inside.astype(np.uint8), squeezed.astype(np.float32)).warnings
    assert "V_Rand is best at the threshold 1.0, an end of the range" in warning


def test_a_map_without_two_cells_at_any_threshold_is_warned_about(scored, inside, soft):
    labels = inside.astype(np.uint8)
    constant = soft.copy()
    constant[1] = 0.7
    (warning,) = scored(labels, constant).warnings
    assert "map.tif: section 2: the map is 0.7 everywhere" in warning
    narrow = (0.95 + soft / 25).astype(np.float32)
    (warning,) = scored(labels, narrow).warnings
    assert "map.tif: sections 1-3: the map goes from 0.95" in warning
    assert scored(labels, narrow).scores.v_info == 0


def test_labels_with_membranes_in_the_majority_are_not_taken_for_an_inverted_map(scored, inside):
    thick = ndimage.binary_erosion(inside, np.ones((1, 9, 9)))
    assert (~thick).mean() > 0.5
    (warning,) = scored(np.where(thick, 0, 255).astype(np.uint8)).warnings
    assert warning.endswith("with --invert-labels")
    now, turned = re.findall(r"0\.\d\d", warning)
    assert float(turned) > float(now)


def test_of_a_wrong_scale_and_a_wrong_polarity_the_scale_comes_first(scored, inside, soft):
    labels, reverse = inside.astype(np.uint8), np.rint((1 - soft) * 100).astype(np.uint8)
    scale, polarity = scored(labels, reverse).warnings
    assert scale.endswith("add --map-max 100")
    assert polarity.endswith("mend the scale, then score with --invert, too")
    assert "with --invert" in scored(labels, reverse, map_max=100).warnings[0]
    mended = scored(labels, reverse, map_max=100, invert=True)
    assert mended.warnings == ()
    assert mended.scores.dice == pytest.approx(scored(labels).scores.dice, abs=0.001)


def test_a_map_of_whole_numbers_of_another_type_is_refused_with_the_value_that_means_1(
    scored, inside, soft
):
    labels = inside.astype(np.uint8)
    for kind in (np.int16, np.uint32):
        with pytest.raises(StackError, match="not known which of them means 1") as caught:
            scored(labels, np.rint(soft * 1000).astype(kind))
        assert caught.value.hint.startswith("add --map-max 1000, if 1000 means")
        mended = scored(labels, np.rint(soft * 1000).astype(kind), map_max=1000)
        assert mended.scores.v_rand == pytest.approx(scored(labels).scores.v_rand, abs=0.001)


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_numbers_of_cells_in_place_of_a_map_are_refused_and_map_max_1_reads_them(
    scored, inside, kind
):
    labels, cells = inside.astype(np.uint8), inside.astype(kind)
    for section in cells:
        section[...] = ndimage.label(section)[0]
    with pytest.raises(StackError, match="numbers of cells, not probabilities") as caught:
        scored(labels, cells)
    assert "--map-max 1:" in caught.value.hint
    scores = scored(labels, cells, map_max=1).scores
    assert (scores.v_rand, scores.v_info, scores.dice) == (1, 1, 1)


def test_a_resized_mask_from_0_to_1_is_warned_about(scored, inside):
    labels = ndimage.zoom(inside.astype(np.float32), (1, 0.8, 0.8), order=1)
    labels = ndimage.zoom(labels, (1, 256 / labels.shape[1], 256 / labels.shape[2]), order=1)
    (warning,) = scored(labels).warnings
    assert "truth.tif: the labels have values between 0 and 1" in warning
    cut = scored(labels, threshold_labels="auto")
    assert cut.warnings == ()
    assert cut.scores.dice == pytest.approx(scored(inside.astype(np.uint8)).scores.dice, abs=0.01)


def test_sections_of_another_size_are_refused_with_the_shapes_of_the_files(scored, inside):
    with pytest.raises(ShapeMismatchError, match=r"\(3, 256, 256\) does not.*\(3, 250, 256\)"):
        scored(inside[:, :250].astype(np.uint8))


def test_a_value_to_ignore_that_no_label_has_is_told(scored, inside):
    report = scored(inside.astype(np.uint8), ignore=7)
    (warning,) = report.warnings
    assert "truth.tif: no pixel has the value of --ignore" in warning
    assert report.scores == scored(inside.astype(np.uint8)).scores


def test_labels_of_a_single_cell_are_warned_about(scored, inside):
    labels = inside.astype(np.uint8)
    labels[2] = 1
    (warning,) = scored(labels).warnings
    assert "truth.tif: section 3: the labels are a single cell" in warning
    assert scored(labels, sections="1-2").warnings == ()
    everything = score(np.full((4, 4), 255, np.uint8), np.full((4, 4), 255, np.uint8))
    assert (everything.v_rand, everything.v_info) == (1, 0)
    assert "a single cell" in everything.warnings[0]


def test_labels_of_some_sections_are_scored(scored, inside):
    labels = inside.astype(np.uint8)
    with pytest.raises(ShapeMismatchError, match="say with --sections which 1 of the 3"):
        scored(labels[2:])
    report = scored(labels[2:], sections="3")
    assert report.scores == scored(labels, sections="3").scores
    assert "its sections are those of --sections 3, in order" in report.warnings[0]


def test_options_of_labels_that_do_not_fit_each_other_are_refused(scored, inside):
    with pytest.raises(OptionError, match="--invert-labels: it does not work with"):
        scored(inside.astype(np.uint8), invert_labels=True, membrane_value=1)
