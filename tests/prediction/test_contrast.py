"""Images with bright membranes: the option that swaps dark and bright, and the warning."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from sfseg import draw_tissue, load_model, make_tissue, predict
from sfseg.prediction.contrast import SMALLEST_PX, contrast_warning, measure_lines
from sfseg.prediction.windows import Window
from sfseg.transforms.normalise import measure_section
from tests.cli.commands import FAST, fails, sfseg

WHOLE = (slice(0, 192), slice(0, 192))
TRY = "the map looks as if membranes were bright in this image: try --invert-image"
LEAVE = "the map looks as if membranes were dark in this image: leave --invert-image out"


@pytest.fixture(scope="module")
def section():
    """A section of 192x192: enough to be judged."""
    return make_tissue((1, 192, 192), seed=24)[0][0]


@pytest.fixture(scope="module")
def model():
    return load_model(device="cpu", engine="torch", precision="float32")


def lines_of(image, probability):
    normalisation = measure_section(image)
    return measure_lines(
        Window(image, normalisation.mask(image), normalisation), WHOLE, probability
    )


def doubt(facts, **options):
    return contrast_warning(facts, SMALLEST_PX, 0.8, **{"inverted": False} | options)


# --- the measure


def test_lines_are_marked_or_not(section):
    facts = lines_of(section, np.zeros(section.shape, np.float32))  # membrane everywhere
    assert facts["dark_marked"] == pytest.approx(facts["dark"], rel=1e-6)
    assert facts["bright_marked"] == pytest.approx(facts["bright"], rel=1e-6)
    assert facts["dark"] > facts["bright"] > 0  # membranes beside noise
    facts = lines_of(section, np.ones(section.shape, np.float32))
    assert facts["dark_marked"] == facts["bright_marked"] == 0


def test_inverting_the_image_swaps_dark_and_bright_lines(section):
    half = np.full(section.shape, 0.5, np.float32)
    facts, other = lines_of(section, half), lines_of(255 - section, half)
    assert other["bright"] == pytest.approx(facts["dark"], rel=1e-4)
    assert other["dark_marked"] == pytest.approx(facts["bright_marked"], rel=1e-4)


def test_a_border_has_no_lines(section):
    padded = section.copy()
    padded[:, :48] = 0
    probability = np.zeros(section.shape, np.float32)
    inner = lines_of(padded, probability)
    assert inner["dark"] < 0.9 * lines_of(section, probability)["dark"]


def test_a_blank_section_has_no_lines():
    facts = lines_of(np.full((192, 192), 7, np.uint8), np.zeros((192, 192), np.float32))
    assert facts == dict.fromkeys(("dark", "dark_marked", "bright", "bright_marked"), 0.0)


def test_a_map_that_marks_dark_lines_or_bright_ones_is_not_doubted():
    marked = {"dark": 9.0, "dark_marked": 5.0, "bright": 9.0, "bright_marked": 1.0}
    learnt_bright = {"dark": 9.0, "dark_marked": 1.0, "bright": 9.0, "bright_marked": 5.0}
    assert doubt([marked]) is None
    assert doubt([learnt_bright]) is None
    missed = {**marked, "dark_marked": 1.0}
    assert doubt([missed]) == TRY
    assert doubt([missed], inverted=True) == LEAVE
    assert doubt([missed, marked, marked, marked]) is None  # the stack decides, not one tile
    assert contrast_warning([missed], SMALLEST_PX - 1, 0.8, inverted=False) is None
    few = contrast_warning([missed], SMALLEST_PX, 0.995, inverted=False)
    assert few.startswith("hardly any membrane is found")
    assert few.endswith("try --invert-image")


def test_a_tile_that_was_tried_swapped_decides_where_the_map_is_doubtful():
    missed = {"dark": 9.0, "dark_marked": 3.0, "bright": 9.0, "bright_marked": 1.0}
    hard = {**missed, "tried_as_is": 0.3, "tried_swapped": 0.2}
    wrong = {**missed, "tried_as_is": 0.3, "tried_swapped": 0.4}
    assert doubt([missed]) == doubt([wrong]) == TRY
    assert doubt([hard]) is None
    assert doubt([hard, wrong, wrong]) == TRY
    assert doubt([hard, hard, missed, missed]) is None
    marked = {**missed, "dark_marked": 6.0}
    assert doubt([wrong, marked, marked]) is None  # one odd tile is not the stack


def test_tiles_of_an_older_run_without_these_facts_are_not_doubted():
    assert doubt([{"interior": 9.0, "empty": 0, "blank": 0.0}]) is None


# --- the option and the warning, with the shipped weights

DISTURBED = {
    "as it is": lambda image: image,
    "noise": lambda image: image + np.random.default_rng(0).normal(0, 40, image.shape),
    "blur": lambda image: ndimage.gaussian_filter(image.astype(float), 2),
    "little contrast": lambda image: 100 + image * 0.2,
    "gamma": lambda image: 255 * (image / 255) ** 2,
    "border": lambda image: np.where(np.arange(192) < 48, 0, image),
}


@pytest.mark.parametrize("change", DISTURBED.values(), ids=DISTURBED)
def test_inverted_images_are_warned_about_and_others_are_not(section, model, change):
    image = change(section).clip(0, 255).round().astype(np.uint8)
    right = model.predict(image)  # a warning here would fail the test
    with pytest.warns(UserWarning, match="bright in this image: try invert_image=True"):
        model.predict(255 - image)
    with pytest.warns(UserWarning, match="dark in this image: leave invert_image=True out"):
        model.predict(image, invert_image=True)
    np.testing.assert_array_equal(model.predict(255 - image, invert_image=True), right)


def test_a_grainy_image_whose_membranes_are_found_badly_is_told_apart_from_a_swapped_one(model):
    grainy = draw_tissue((2, 256, 256), seed=31, noise=2).volume
    model.predict(grainy)  # a warning here would fail the test
    with pytest.warns(UserWarning, match="bright in this image: try invert_image=True"):
        model.predict(255 - grainy)


def test_the_warning_names_the_file_that_predicts(section, model):
    whole = partial(predict, device="cpu", engine="torch", precision="float32")
    for call in model.predict, whole:
        with pytest.warns(UserWarning, match="bright in this image") as caught:
            call(255 - section)
        assert [warning.filename for warning in caught] == [__file__]


def test_predict_warns_and_inverts(section, tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", section[None])
    tifffile.imwrite(tmp_path / "bright.tif", 255 - section[None])

    def run(name, out, *options):
        return sfseg("predict", tmp_path / name, "-o", tmp_path / out, *options, *FAST)

    assert "warning" not in run("dark.tif", "right.tif").stderr
    result = run("bright.tif", "wrong.tif", "--json")
    assert f"warning: {TRY}\n" in result.stderr
    assert json.loads(result.stdout)[0]["warnings"] == [TRY]
    assert "4 nm is assumed" in json.loads(result.stdout)[0]["notes"][0]
    assert json.loads((tmp_path / "wrong.tif.json").read_text())["warnings"] == [TRY]
    assert f"warning: {TRY}\n" in run("bright.tif", "wrong.tif", "--resume").stderr
    tifffile.imwrite(tmp_path / "white.tif", 255 - section, photometric="miniswhite")
    report = json.loads(run("white.tif", "o.tif", "--json", "--pixel-size", "4").stdout)[0]
    assert "stored min-is-white" in report["warnings"][0]
    assert report["notes"] == []
    error = fails(
        *("predict", tmp_path / "bright.tif", "-o", tmp_path / "wrong.tif"),
        *("--resume", "--invert-image", *FAST),
    )
    assert "options.invert_image: nothing -> true" in error
    mended = run("bright.tif", "mended.tif", "--invert-image")
    assert "warning" not in mended.stderr
    record = json.loads((tmp_path / "mended.tif.json").read_text())
    assert record["identity"]["options"]["invert_image"] is True
    assert (tmp_path / "mended.tif").read_bytes() == (tmp_path / "right.tif").read_bytes()
