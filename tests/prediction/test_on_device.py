"""The work on a device gives the numbers of NumPy, to the bit; here the device is the CPU."""

import contextlib
from collections import defaultdict

import numpy as np
import pytest
import torch

from sfseg.errors import NonFiniteError
from sfseg.prediction.engines import copies
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.gpu import gpu_engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.windows import Window
from sfseg.transforms.normalise import measure_section
from sfseg.transforms.orient import ORIENTATIONS

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.float32, np.float64]
KEEP = slice(8, 60), slice(0, 90)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def engine(small_network):
    """Make an engine whose result does not depend on the batch, to the bit."""
    return torch_engine(small_network, CPU, torch.float32)


def windows_of(kind):
    """Make windows of four sections: ordinary, with a border, with a hot pixel, blank."""
    sections = np.random.default_rng(1).integers(40, 60, (4, 64, 96)).astype(kind)
    sections[1, :24] = 0
    sections[2, 30, 30] = np.iinfo(kind).max if np.dtype(kind).kind in "iu" else 1e9
    sections[3] = 7
    return [Window(one, (n := measure_section(one)).mask(one), n) for one in sections]


def turn(image, orientation):
    """Turn and mirror an image as `sfseg.transforms.orient.orient` does."""
    return np.rot90(image[:, ::-1] if orientation >= 4 else image, orientation % 4)


def turn_back(image, orientation):
    """Undo `turn`."""
    image = np.rot90(image, -orientation % 4)
    return image[:, ::-1] if orientation >= 4 else image


def expected(engine, windows, tta="none"):
    """Average one pass for each orientation of each window in NumPy, upright ones first."""
    orientations = sorted(ORIENTATIONS[tta], key=lambda orientation: orientation % 2)
    results = []
    for window in windows:
        image, total = window.standardise(), np.zeros(window.pixels.shape, np.float32)
        for orientation in orientations:
            (turned,) = engine(np.ascontiguousarray(turn(image, orientation)[None]))
            total += turn_back(turned, orientation)
        mean = total / np.float32(len(orientations))
        if window.empty is not None:
            mean[window.empty] = 0
        results.append(mean[KEEP])
    return results


def predict(engine, windows, **options):
    return Predictor(engine, 16, **options).predict(windows, KEEP)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_values_of_each_type_are_normalised_alike(engine, kind):
    windows = windows_of(kind)
    assert windows[1].empty is not None
    assert windows[2].normalisation.bounds is not None
    found = predict(engine, windows, batch=4)
    np.testing.assert_array_equal(found, expected(engine, windows))
    assert np.ptp(found[0]) > 0
    assert not found[1][:10].any()  # the border


@pytest.mark.parametrize("tta", ["flips", "d4"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_orientations_are_averaged_as_on_the_host(engine, tta, batch):
    windows = windows_of(np.uint8)
    found = predict(engine, windows, tta=tta, batch=batch)
    np.testing.assert_array_equal(found, expected(engine, windows, tta))


@pytest.mark.parametrize("tta", ORIENTATIONS)
@pytest.mark.parametrize("options", [{"limit_px": 48 * 48}, {"input_px": 48}, {"batch": 3}])
def test_an_engine_that_takes_no_tensors_gives_the_same_numbers(small_network, tta, options):
    engine = gpu_engine(small_network, CPU, torch.float32)
    windows = windows_of(np.uint16)
    found = predict(engine.run, windows, tta=tta, **options)
    np.testing.assert_array_equal(found, predict(engine, windows, tta=tta, **options))


def test_swapped_windows_are_predicted_as_they_are_swapped(engine):
    windows = [window.swapped() for window in windows_of(np.uint8)]
    np.testing.assert_array_equal(predict(engine, windows, batch=3), expected(engine, windows))


def test_the_input_is_not_changed(engine):
    windows = windows_of(np.float32)
    before = [window.pixels.copy() for window in windows]
    predict(engine, windows, batch=4)
    for window, pixels in zip(windows, before, strict=True):
        np.testing.assert_array_equal(window.pixels, pixels)


def test_an_overflow_in_any_orientation_is_refused(small_network):
    engine = gpu_engine(small_network, CPU, torch.float16)
    windows = windows_of(np.uint8)[:2]
    Predictor(engine, 16, tta="flips", batch=1).predict(windows, KEEP)
    bright = windows[0].swapped().normalised.copy()
    bright[0, 0] = 1e7
    windows[0] = Window(windows[0].pixels, None, windows[0].normalisation, bright)
    with pytest.raises(NonFiniteError, match="use --precision bf16"):
        Predictor(engine, 16, tta="flips", batch=1).predict(windows, KEEP)


def test_a_stream_is_used_again_but_never_by_two_at_a_time(monkeypatch):
    made, used, gpu = [], [], torch.device("cuda", 7)

    def stream(chosen):
        used.append(chosen)
        return contextlib.nullcontext()

    monkeypatch.setattr(copies, "_FREE_STREAMS", defaultdict(list))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or len(made))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    with pytest.raises(ZeroDivisionError), copies.copy_stream(gpu):
        raise ZeroDivisionError
    with copies.copy_stream(gpu), copies.copy_stream(gpu):
        pass
    assert made == [gpu, gpu]
    assert used == [1, 1, 2]
