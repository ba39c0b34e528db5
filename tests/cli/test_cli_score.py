"""`sfseg score` as a person meets it."""

import json

import numpy as np
import tifffile

from tests.cli.commands import fails, sfseg


def test_score_prints_a_table_for_people_and_json_for_programs(labels):
    table = sfseg("score", labels, labels)
    assert table.exit_code == 0
    assert "V_Rand" in table.stdout
    assert "1.000000" in table.stdout
    report = json.loads(sfseg("score", labels, labels, "--json").stdout)
    assert report["v_rand"] == 1
    assert report["shape"] == [4, 96, 112]
    assert len(report["per_threshold"]) == 11
    assert [row["section"] for row in report["per_section"]] == [1, 2, 3, 4]


def test_score_takes_sections_and_the_other_polarity(labels, tmp_path):
    inverted = tmp_path / "inverted.tif"
    tifffile.imwrite(inverted, 255 - tifffile.imread(labels), photometric="minisblack")
    plain = json.loads(sfseg("score", labels, labels, "--sections", "2-3", "--json").stdout)
    options = (
        "--sections",
        "2-3",
        "--json",
        "--axes",
        "ZYX",
        "--label-axes",
        "ZYX",
        "--invert",
        "--invert-labels",
    )
    turned = json.loads(sfseg("score", inverted, inverted, *options).stdout)
    assert [row["section"] for row in turned["per_section"]] == [2, 3]
    assert {k: v for k, v in plain.items() if k not in {"prediction", "truth"}} == {
        k: v for k, v in turned.items() if k not in {"prediction", "truth"}
    }


def test_score_refuses_a_truth_that_looks_like_an_image(volume, labels):
    assert "lie scattered, as in an image" in fails("score", labels, volume)
    assert "warning" not in sfseg("score", labels, labels).stderr


def test_score_refuses_bad_pairs(volume, labels, tmp_path):
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.zeros((4, 20, 20), np.uint8), photometric="minisblack")
    assert "small.tif" in fails("score", small, labels)
    dark = tmp_path / "dark.tif"
    tifffile.imwrite(dark, np.zeros((4, 96, 112), np.uint8), photometric="minisblack")
    assert "all labels are 0" in fails("score", volume, dark)
    half = np.stack([np.zeros((96, 112)), *np.eye(96, 112)[None].repeat(3, 0)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "half.tif", half, photometric="minisblack")
    assert "section 1" in fails("score", volume, tmp_path / "half.tif")


def test_several_maps_are_compared(labels, tmp_path):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, tifffile.imread(labels)[:, ::-1].copy(), photometric="minisblack")
    alone = sfseg("score", labels, labels).stdout
    both = sfseg("score", labels, other, labels)
    assert both.stdout.startswith(f"{labels}\n{alone}\n{other}\n4 sections")
    assert both.stdout.splitlines()[-2].split() == ["1.000000"] * 3 + [str(labels)]
    facts = json.loads(sfseg("score", labels, other, labels, "--json").stdout)
    assert [one["prediction"] for one in facts] == [str(labels), str(other)]
    assert facts[0]["v_rand"] == 1 > facts[1]["v_rand"]
    drawn = "--errors", tmp_path / "errors.tif"
    assert "of one file, not of 2" in fails("score", labels, other, labels, *drawn, code=2)


def test_a_pattern_that_the_shell_replaced_is_answered_by_one_with_quotes(labels, tmp_path):
    for number, section in enumerate(tifffile.imread(labels)):
        path = tmp_path / f"s{number}.tif"
        tifffile.imwrite(path, section, photometric="minisblack")
    error = fails("score", *sorted(tmp_path.glob("s?.tif")), labels)
    assert error.endswith(f"hint: put quotes around a pattern: '{tmp_path}/s*.tif'\n")


def test_score_takes_the_options_of_labels_and_tells_warnings_in_json(labels, tmp_path):
    classes = tmp_path / "classes.tif"
    marks = np.where(tifffile.imread(labels) > 0, 2, 1).astype(np.uint8)
    marks[:, :, 90:] = 0
    tifffile.imwrite(classes, marks, photometric="minisblack")
    options = ("--membrane-value", 1, "--ignore", 0, "--map-max", 255, "--json")
    report = json.loads(sfseg("score", labels, classes, *options).stdout)
    assert (report["v_rand"], report["warnings"]) == (1, [])
    inverted = sfseg("score", labels, labels, "--labels-are", "membrane", "--json")
    warning = json.loads(inverted.stdout)["warnings"][0]
    assert warning.endswith("1.00 with --labels-are interior")
    assert f"warning: {warning}" in inverted.stderr
    assert "is not a number" in fails("score", labels, labels, "--ignore", "none", code=2)
    assert "--threshold-labels" in fails(
        *("score", labels, labels, "--threshold-labels", "auto", "--membrane-value", 1), code=2
    )


def test_score_draws_errors_and_lists_the_worst(labels, tmp_path):
    wrong = tifffile.imread(labels)
    wrong[1] = 255
    tifffile.imwrite(tmp_path / "map.tif", wrong, photometric="minisblack")
    plain = json.loads(sfseg("score", tmp_path / "map.tif", labels, "--json").stdout)
    options = ("score", tmp_path / "map.tif", labels, "--errors", tmp_path / "errors.tif")
    table = sfseg(*options)
    assert table.exit_code == 0
    assert "errors drawn in" in table.stderr
    count, _header, row = table.stdout.splitlines()[-3:]
    assert count == "errors: 1 by their cost in V_Rand, and 0 small (0.000000 together)"
    assert row.split()[:2] == ["1", "2"]
    assert len(row) <= 80
    assert set(np.unique(tifffile.imread(tmp_path / "errors.tif")[1])) == {0, 1, 3}
    assert "exists already" in fails(*options)
    report = json.loads(sfseg(*options, "--overwrite", "--json").stdout)
    (error,) = report.pop("errors")
    assert (error["id"], error["kind"], error["section"]) == (1, "merge", 2)
    assert report.pop("small_errors") == {"count": 0, "cost": 0}
    assert report == plain
    assert error["cost"] * 4 == 1 - plain["per_section"][1]["v_rand"]


def test_score_never_writes_errors_over_an_input(labels):
    before = labels.read_bytes()
    assert "is an input" in fails("score", labels, labels, "--errors", labels, "--overwrite")
    assert labels.read_bytes() == before
    png = labels.with_suffix(".png")
    refused = fails("score", labels, labels, "--errors", png, code=2)
    assert f"error: --errors: {png}: the name of a stack of uint8 ends in .tif or .zarr" in refused
