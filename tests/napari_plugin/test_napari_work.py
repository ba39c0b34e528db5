"""What the widgets do, without a window and without napari: the same as the commands."""

from types import SimpleNamespace

import numpy as np
import pytest

import sfseg
from sfseg.config import LabelFormat, SegmentConfig
from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.napari_plugin import work
from sfseg.napari_plugin.wording import describe_scores, in_widget_words

pytestmark = pytest.mark.usefixtures("small_shipped")


def read_stack(path):
    with sfseg.open_stack(path) as stack:
        return stack.read()


class StopError(Exception):
    pass


def stop_at(step, seen):
    """Make a progress that notes what it is called with, and raises at a step."""

    def progress(done, total):
        seen.append((done, total))
        if done == step:
            raise StopError

    return progress


def test_a_prediction_is_that_of_the_library(tissue):
    choices = work.PredictChoices(device="cpu", tta="flips", pixel_size_nm=(8, 8))
    steps = []
    found = work.predict_pixels(tissue[0], choices, lambda *step: steps.append(step))
    expected = sfseg.predict(tissue[0], device="cpu", tta="flips", pixel_size_nm=8)
    assert np.array_equal(found, expected)
    assert steps == [(done, 4) for done in range(5)]


def test_without_rescale_the_pixel_size_does_not_count(tissue):
    choices = work.PredictChoices(device="cpu", pixel_size_nm=(8, 8), rescale="none")
    found = work.predict_pixels(tissue[0], choices)
    assert np.array_equal(found, sfseg.predict(tissue[0], device="cpu"))


def test_a_prediction_stops_where_its_progress_raises(tissue):
    seen = []
    with pytest.raises(StopError):
        work.predict_pixels(tissue[0], work.PredictChoices(device="cpu"), stop_at(1, seen))
    assert seen[-1] == (1, 4)


@pytest.mark.parametrize("close_gaps", [False, True])
def test_segments_are_those_of_the_command(close_gaps, tissue_files):
    options = {"device": "cpu", "threshold": 0.4, "close_gaps": close_gaps}
    out = tissue_files / "cells.tif"
    sfseg.predict_file(tissue_files / "volume.tif", out, output="segments", **options)
    volume = read_stack(tissue_files / "volume.tif")
    probability = sfseg.predict(volume, device="cpu")
    steps = []
    found = work.number_cells(
        probability,
        threshold=0.4,
        close_gaps=close_gaps,
        progress=lambda *step: steps.append(step),
    )
    assert found.dtype == np.int32
    assert np.array_equal(found, read_stack(out))
    assert steps == [(done, 4) for done in range(5)]
    assert work.number_cells(probability[0], close_gaps=close_gaps).shape == probability[0].shape


def test_superpixels_make_the_cells_of_the_library_with_any_of_the_other_options(tissue):
    light = tissue[1] / np.float32(255)
    finder, doubts = work.divide_map(light, SegmentConfig(), "light")
    assert "light: this is a mask" in doubts[0]
    for options in ({}, {"beta": 0.9, "min_size": 0}, {"fill": True}):
        found = finder.draw(SegmentConfig(**options))
        assert np.array_equal(found, sfseg.segment(light, **options))
    seen = []
    with pytest.raises(StopError):
        work.divide_map(light, SegmentConfig(), "light", stop_at(1, seen))
    assert seen[-1] == (1, 4)


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({}, LabelFormat()),
        ({"labels_are": "membrane"}, LabelFormat("membrane")),
        ({"ignore": 255}, LabelFormat(ignore=255)),
    ],
)
def test_scores_are_those_of_the_command(options, form, tissue_files):
    volume, labels = (tissue_files / f"{name}.tif" for name in ("volume", "labels"))
    truth = read_stack(labels)
    if options:
        truth[:, :40] = 127
        sfseg.write_stack(labels, truth, overwrite=True)
    if options.get("labels_are"):
        truth = np.where(truth == 255, 0, 255).astype(np.uint8)
        sfseg.write_stack(labels, truth, overwrite=True)
    expected = sfseg.score_files(volume, labels, map_max=200, invert=True, **options)
    choices = work.ScoreChoices(invert=True, map_max=200, labels_are=form)
    found = work.score_pixels(read_stack(volume), truth, choices)
    assert found == (expected.scores, None)


def test_the_warnings_of_a_score_name_the_fields(tissue):
    scores, errors = work.score_pixels(
        255 - tissue[1][1:2], tissue[1][1:2], work.ScoreChoices(), first_section=1, with_errors=True
    )
    assert {each.section for each in errors.listed} == {2}
    assert scores.per_section[0].section == 2
    text = describe_scores(scores, errors, "map", "labels")
    assert f"V_Rand {scores.v_rand:.4f}" in text
    assert 'with "invert"' in text
    assert "--" not in text
    assert in_widget_words("with --invert-labels") == 'with "labels are" membrane'


def test_maps_and_labels_of_other_shapes_are_refused(tissue):
    with pytest.raises(ShapeMismatchError, match=r"^a: the shape"):
        work.score_pixels(tissue[1], tissue[1][:2], work.ScoreChoices(), names=("a", "b"))


def make_layer(shape, **facts):
    return SimpleNamespace(name="layer", data=np.zeros(shape, np.uint8), **facts)


def test_a_section_of_a_stack_stays_a_stack():
    assert work.pixels_of(make_layer((4, 5, 6))).shape == (4, 5, 6)
    assert work.pixels_of(make_layer((4, 5, 6)), 3).shape == (1, 5, 6)
    assert work.pixels_of(make_layer((5, 6)), None).shape == (5, 6)
    pyramid = SimpleNamespace(name="a", multiscale=True, data=[np.zeros((4, 5)), np.zeros((2, 2))])
    assert work.pixels_of(pyramid).shape == (4, 5)


def test_layers_of_colours_or_channels_are_refused():
    with pytest.raises(OptionError, match="colours"):
        work.pixels_of(make_layer((5, 6, 3), rgb=True))
    with pytest.raises(OptionError, match="4 dimensions"):
        work.pixels_of(make_layer((2, 4, 5, 6)))


def test_a_stack_that_does_not_fit_in_memory_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(work, "available_bytes", lambda _: 1000)
    with pytest.raises(OptionError, match="sfseg predict FILE"):
        work.predict_pixels(np.zeros((4, 16, 16), np.uint8), work.PredictChoices())
    with pytest.raises(OptionError, match=r"sfseg segment map\.tif"):
        work.divide_map(np.zeros((4, 16, 16), np.uint8), SegmentConfig(), "map")
