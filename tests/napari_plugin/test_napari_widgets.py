"""The plugin in napari: its manifest, its widgets, and its real window under Xvfb.

Skipped without napari or Qt. The widgets run in Qt's offscreen platform, which has no OpenGL: so
the viewer is napari's model of one, and only the test with Xvfb draws.
"""

import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import sfseg
from sfseg.segmentation.edits import read_edits

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
with warnings.catch_warnings():  # those of napari's imports are not ours
    warnings.simplefilter("ignore")
    pytest.importorskip("napari", reason="napari is not installed: pip install 'sfseg[napari]'")
    pytest.importorskip("qtpy.QtWidgets", reason="there is no Qt here", exc_type=Exception)
    import npe2
    from napari.components import ViewerModel
    from napari.utils.notifications import notification_manager
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QWidget

    from sfseg.napari_plugin import widgets, work
    from sfseg.napari_plugin.cells_widget import CellsWidget
    from sfseg.napari_plugin.fields import add_layer
    from sfseg.napari_plugin.geometry import current_section, pixel_size_of, place_of
    from sfseg.napari_plugin.sample import make_sample
    from sfseg.napari_plugin.score_widget import ScoreWidget

pytestmark = [
    pytest.mark.usefixtures("small_shipped", "_own_settings"),
    pytest.mark.filterwarnings("default"),  # those of napari and Qt are not ours
]

MANIFEST = Path(sfseg.__file__).parent / "napari_plugin" / "napari.yaml"
WAIT_S = 120
ANGLE = 30


@pytest.fixture(scope="module")
def _own_settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CONFIG", str(tmp_path_factory.mktemp("napari") / "settings.yaml"))
        yield


@pytest.fixture(scope="module", autouse=True)
def _application():
    return QApplication.instance() or QApplication([])


@pytest.fixture
def viewer():
    """A viewer with the sample."""
    model = ViewerModel()
    for pixels, settings, kind in make_sample():
        add_layer(model, pixels, settings, kind)
    return model


@pytest.fixture
def make(viewer):
    """Make a widget for the viewer, whose fields list its layers as in a window."""
    made = []

    def make(kind):
        widget = kind(viewer)
        for name, wanted in (("image", "tissue"), ("map", "tissue"), ("truth", "tissue labels")):
            if hasattr(widget, name):
                getattr(widget, name).choices = [viewer.layers[wanted]]
        made.append(widget)
        return widget

    yield make
    for widget in made:
        widget.close()


def run(widget, *, each=lambda: None, start=None):
    """Start a widget, and handle events until its work has ended, as the window does."""
    (start or widget.start)()
    deadline = time.monotonic() + WAIT_S
    while widget.worker is not None:
        assert time.monotonic() < deadline, widget.report.value
        QApplication.processEvents()
        time.sleep(0.001)
        each()


def test_the_manifest_is_valid_and_each_command_is_there():
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", MANIFEST],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "valid" in done.stdout) == (0, True), done.stdout + done.stderr
    for command in npe2.PluginManifest.from_file(MANIFEST).contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_napari_lists_the_plugin():
    done = subprocess.run(
        [sys.executable, "-m", "napari", "--info"], capture_output=True, text=True, check=False
    )
    if not is_installed():
        pytest.skip("sfseg is not installed here, only on the path")
    assert f"- sfseg: {sfseg.__version__}" in done.stdout, done.stdout + done.stderr


def is_installed():
    """Tell whether napari finds this sfseg, as after `pip install`."""
    return "sfseg" in {entry.name for entry in entry_points(group="napari.manifest")}


def test_a_prediction_is_that_of_the_library_and_lies_on_its_source(make, viewer):
    widget = make(widgets.PredictWidget)
    assert widget.pixel_size.value == "4"
    widget.pixel_size.value = "8"
    run(widget)
    found, source = viewer.layers["tissue map"], viewer.layers["tissue"]
    assert np.array_equal(found.data, sfseg.predict(source.data, pixel_size_nm=8))
    assert np.array_equal(found.scale, source.scale)
    assert found.units == source.units
    assert found.metadata["sfseg"]["pixel_size_nm"] == (8.0, 8.0)
    assert "6 sections of 256x256" in widget.report.value


def between_steps(monkeypatch, step, wait):
    """Let a prediction wait after a step of its progress; return the steps that were reported."""
    predict, steps = work.predict_pixels, []

    def slow(pixels, choices, progress):
        def report(done, total):
            progress(done, total)
            steps.append(done)
            if done == step:
                wait()

        return predict(pixels, choices, report)

    monkeypatch.setattr(work, "predict_pixels", slow)
    return steps


def test_the_thread_of_the_window_lives_while_it_predicts(make, viewer, monkeypatch):
    ticked, timer = threading.Event(), QTimer()
    # were the window frozen by the prediction, its timer would not tick, and this would fail
    steps = between_steps(monkeypatch, 2, lambda: ticked.wait(WAIT_S) or pytest.fail("frozen"))
    timer.timeout.connect(lambda: steps[-1:] == [2] and ticked.set())
    timer.start(5)
    run(make(widgets.PredictWidget))
    timer.stop()
    assert "tissue map" in viewer.layers
    assert steps == list(range(7))


def test_the_current_section_lies_where_it_was(make, viewer):
    viewer.layers["tissue"].rotate = [0, 0, ANGLE]
    viewer.dims.set_point(0, 150)  # nm
    widget = make(widgets.PredictWidget)
    widget.sections.value = "current section"
    widget.output.value = "segments"
    run(widget)
    found, source = viewer.layers["tissue segments"], viewer.layers["tissue"]
    probability = sfseg.predict(source.data[3], pixel_size_nm=4)
    assert np.array_equal(found.data, work.number_cells(probability)[np.newaxis])
    for corner in ((0, 0), (255, 100)):
        assert np.allclose(found.data_to_world((0, *corner)), source.data_to_world((3, *corner)))


@pytest.mark.parametrize("is_closed", [False, True])
def test_cancel_stops_and_leaves_no_layer(is_closed, make, viewer, monkeypatch):
    """So does closing the widget's dock, which takes the widget out of the window."""
    widget, before, pressed = make(widgets.PredictWidget), list(viewer.layers), threading.Event()
    dock = QWidget()
    widget.native.setParent(dock)
    widget.image.choices = [viewer.layers["tissue"]]
    steps = between_steps(monkeypatch, 2, lambda: pressed.wait(WAIT_S))

    def press():
        if widget.bar.value == 2:
            if is_closed:
                widget.native.setParent(None)
            else:
                widget.cancel_button.native.click()
            pressed.set()

    run(widget, each=press)
    assert steps == [0, 1, 2]
    assert list(viewer.layers) == before
    assert widget.report.value == "cancelled: nothing was added"
    assert (widget.start_button.enabled, widget.cancel_button.enabled) == (True, False)
    if not is_closed:
        run(widget)  # it can start again
        assert len(viewer.layers) == len(before) + 1
    widget.native.setParent(None)  # else it goes with the dock


def test_an_error_is_a_notification_with_its_hint_in_the_words_of_the_widget(make, viewer):
    widget = make(widgets.PredictWidget)
    widget.pixel_size.value = "400"
    run(widget)
    shown = notification_manager.records[-1]
    assert str(shown.severity) == "error"
    assert "too far apart to resample" in shown.message
    assert shown.message.startswith('"pixel size": ')
    assert widget.report.value == f"error: {shown.message}"
    assert len(viewer.layers) == 2
    widget.pixel_size.value = "four"
    run(widget)
    assert "hint: write it like 4" in widget.report.value


def test_without_a_layer_the_widgets_say_what_to_do():
    for kind in (widgets.PredictWidget, widgets.SegmentsWidget, ScoreWidget, CellsWidget):
        widget = kind(ViewerModel())
        run(widget)
        assert "hint: open a stack first" in widget.report.value
        widget.close()


def test_segments_and_scores_of_layers(make, viewer):
    segments = make(widgets.SegmentsWidget)
    run(segments)
    expected = work.number_cells(viewer.layers["tissue"].data)
    assert np.array_equal(viewer.layers["tissue segments"].data, expected)
    score = make(ScoreWidget)
    score.map_max.value = "200"
    run(score)
    expected = sfseg.score(
        np.minimum(viewer.layers["tissue"].data / np.float32(200), 1).astype(np.float32),
        viewer.layers["tissue labels"].data,
    )
    assert f"V_Rand {expected.v_rand:.4f}" in score.report.value
    check_errors(score, viewer, expected)
    score.ignore.value = "x"
    run(score)
    assert score.report.value == "error: ignore: this is not a number: x\nhint: write it like 255"


def check_errors(score, viewer, expected):
    """The errors are those of the library; choosing one moves the view to it."""
    layer = viewer.layers["tissue"]
    shares = np.minimum(layer.data / np.float32(200), 1).astype(np.float32)
    errors = sfseg.find_errors(
        shares, viewer.layers["tissue labels"].data, threshold=expected.v_rand_threshold
    )
    drawn = np.stack([each.draw() for each in errors.sections()])
    assert np.array_equal(viewer.layers["tissue errors"].data, drawn)
    assert errors.listed
    assert [each.as_dict() for each in score.error.choices] == [
        each.as_dict() for each in errors.listed
    ]
    score.error.value = last = score.error.choices[-1]
    assert current_section(layer, viewer.dims.point) == last.section - 1
    camera = getattr(viewer, "scene", viewer).camera
    assert np.allclose(camera.center[-2:], (4 * last.y, 4 * last.x))


def shift_click(layer, *place):
    """Click on a voxel of a layer with Shift held, as napari tells its callbacks."""
    event = SimpleNamespace(
        modifiers=("Shift",), position=layer.data_to_world(place), dims_displayed=(1, 2)
    )
    for callback in layer.mouse_drag_callbacks:
        callback(layer, event)


@pytest.fixture
def cells(make, viewer):
    """The widget of cells, with a map that is drawn from the labels."""
    labels = viewer.layers["tissue labels"]
    light = ndimage.gaussian_filter(labels.data / np.float32(255), (0, 2, 2))
    viewer.layers["tissue"].data = light
    widget = make(CellsWidget)
    run(widget)
    return widget


def test_cells_are_those_of_the_library_and_other_options_divide_no_section_again(
    cells, viewer, monkeypatch
):
    light, found = viewer.layers["tissue"], viewer.layers["tissue cells"]
    assert np.array_equal(found.data, sfseg.segment(light.data))
    assert found.data.dtype == np.uint32
    assert np.array_equal(found.scale, light.scale)
    assert f"{found.data.max()} cells in 6 sections of 256x256" in cells.report.value
    monkeypatch.setattr(work, "divide_map", None)
    cells.beta.value, cells.min_size.value, cells.fill.value = 0.8, 0, True
    run(cells)
    expected = sfseg.segment(light.data, beta=0.8, min_size=0, fill=True)
    assert np.array_equal(viewer.layers[-1].data, expected)
    assert len(viewer.layers) == 4


def test_corrections_are_drawn_and_written_as_the_command_takes_them(cells, viewer, tmp_path):
    layer, table = viewer.layers["tissue cells"], tmp_path / "edits.csv"
    before = layer.data
    ids, places = np.unique(before, return_index=True)
    places = [np.unravel_index(place, before.shape) for place in places]
    (first, one), (second, other) = list(zip(ids, places, strict=True))[1:3]
    cells.merge_button.native.click()
    assert "hint: hold Shift, and click on two cells" in cells.report.value
    shift_click(layer, *one)
    shift_click(layer, *other)
    assert cells.picked.value.startswith(f"cell {first} at {one[0] + 1}, {one[1]}, {one[2]}, ")
    press(cells, cells.merge_button)
    assert np.array_equal(layer.data, np.where(before == second, first, before))
    shift_click(layer, *other)
    press(cells, cells.split_button)
    assert len(np.unique(layer.data)) == len(ids)
    cells.file.line_edit.value = str(table)
    cells.save()
    assert f"sfseg segment map.tif -o corrected.tif --edits {table}" in cells.report.value
    light, out = tmp_path / "map.tif", tmp_path / "corrected.tif"
    sfseg.write_stack(light, viewer.layers["tissue"].data)
    sfseg.segment_file(light, out, edits=read_edits(table))
    with sfseg.open_stack(out, labels=True) as stack:
        assert np.array_equal(stack.read(), layer.data)
    press(cells, cells.undo_button)
    press(cells, cells.undo_button)
    assert np.array_equal(layer.data, before)
    table.write_text("something else")
    cells.save()
    assert "the column edit is missing" in cells.report.value
    assert table.read_text() == "something else"


def test_a_layer_of_cells_that_was_painted_in_stays_as_it_is(cells, viewer):
    layer = viewer.layers["tissue cells"]
    places = [np.argwhere(layer.data == cell)[0] for cell in (1, 2)]
    layer.paint((0, 5, 5), 1)
    painted = layer.data.copy()
    for place in places:
        shift_click(layer, *place)
    press(cells, cells.merge_button)
    assert np.array_equal(layer.data, painted)
    assert 2 not in viewer.layers[-1].data


def press(widget, button):
    """Press another button than Start, and wait for its work."""
    run(widget, start=button.native.click)


def test_open_takes_axes_and_an_array_in_a_file(make, viewer, tissue, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.moveaxis(tissue[0], 0, 2))
    widget = make(widgets.OpenWidget)
    widget.file.line_edit.value = str(path)
    widget.axes.value = "YXZ"
    run(widget)
    assert np.array_equal(viewer.layers["a"].data, tissue[0])
    widget.file.line_edit.value = str(tmp_path / "<b>none</b>.tif")
    run(widget)
    assert "<b>none</b>.tif: there is no such file" in widget.report.value


def test_pixel_sizes_are_those_of_the_layer(viewer):
    layer = viewer.layers["tissue"]
    assert pixel_size_of(layer) == (4.0, 4.0)
    layer.units, layer.scale = ("um", "um", "um"), (0.05, 0.004, 0.005)
    assert pixel_size_of(layer) == pytest.approx((4.0, 5.0))
    layer.units = ("pixel",) * 3
    assert pixel_size_of(layer) is None
    assert current_section(viewer.layers["tissue labels"], (1e9, 0, 0)) == 5
    assert place_of(layer).keys() >= {"scale", "units", "translate", "affine"}


WINDOW = """
import sys, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication
from sfseg import models
from tests.networks import Small

models.ARCHITECTURES = {**models.ARCHITECTURES, "sfnet": Small}
viewer = napari.Viewer()
viewer.open(sys.argv[1], plugin="sfseg")
viewer.open_sample("sfseg", "tissue")
docks = {
    name: viewer.window.add_plugin_dock_widget("sfseg", name)[1]
    for name in ("Open", "Score", "Segments", "Cells", "Predict")
}
predict = docks["Predict"]
predict.image.value = viewer.layers["volume"]
predict.model.value, predict.weights.value = predict.model.choices[-1], sys.argv[2]
predict.start()
deadline = time.monotonic() + 120
while predict.worker is not None and time.monotonic() < deadline:
    QApplication.processEvents()
    time.sleep(0.01)
picture = viewer.screenshot(canvas_only=False, flash=False)
print(viewer.layers["volume map"].data.shape, len(np.unique(picture)) > 100)
viewer.close()
"""


@pytest.mark.slow
def test_the_real_window_opens_a_file_and_predicts_it(tissue_files, small_weights):
    if shutil.which("xvfb-run") is None:
        pytest.skip("Xvfb is not installed")
    if not is_installed():
        pytest.skip("sfseg is not installed here, only on the path")
    arguments = [sys.executable, "-c", WINDOW, tissue_files / "volume.tif", small_weights]
    done = subprocess.run(
        ["xvfb-run", "-a", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "QT_QPA_PLATFORM": "xcb"},
    )
    if "Could not load the Qt platform plugin" in done.stderr:
        pytest.skip("libraries of a window are missing: see docs/contributing.md")
    assert done.stdout.splitlines()[-1:] == ["(4, 96, 112) True"], done.stdout + done.stderr
