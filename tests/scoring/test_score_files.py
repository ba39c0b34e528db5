"""`score_files`: the numbers of `score` for files, whichever way round they are stored."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.scoring.score import score
from sfseg.scoring.score_files import score_files

VECTORS = Path(__file__).parent / "vectors"


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
