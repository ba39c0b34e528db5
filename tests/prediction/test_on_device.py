"""The work on a device gives the numbers of the host, to the bit; here the device is the CPU."""

import contextlib
from collections import defaultdict

import numpy as np
import pytest
import torch

from sfseg.errors import NonFiniteError
from sfseg.prediction.engines import copies
from sfseg.prediction.engines.gpu import gpu_engine
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.windows import Window
from sfseg.transforms.normalise import measure_section

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.float32, np.float64]
KEEP = slice(8, 60), slice(0, 90)


@pytest.fixture(scope="module")
def engine(small_network):
    return gpu_engine(small_network, torch.device("cpu"), torch.float32)


def windows_of(kind):
    """Make windows of four sections: ordinary, with a border, with a hot pixel, blank."""
    sections = np.random.default_rng(1).integers(40, 60, (4, 64, 96)).astype(kind)
    sections[1, :24] = 0
    sections[2, 30, 30] = np.iinfo(kind).max if np.dtype(kind).kind in "iu" else 1e9
    sections[3] = 7
    return [Window(one, (n := measure_section(one)).mask(one), n) for one in sections]


def both(engine, windows, **options):
    """Predict on the device, and with an engine that takes arrays only."""
    there, here = (Predictor(run, 16, **options) for run in (engine, engine.run))
    return there.predict(windows, KEEP), here.predict(windows, KEEP)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_values_of_each_type_are_normalised_alike(engine, kind):
    windows = windows_of(kind)
    assert windows[1].empty is not None
    assert windows[2].normalisation.bounds is not None
    there, here = both(engine, windows, batch=4)
    np.testing.assert_array_equal(there, here)
    assert np.ptp(there[0]) > 0
    assert not there[1][:10].any()  # the border


@pytest.mark.parametrize("tta", ["flips", "d4"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_orientations_are_averaged_alike(engine, tta, batch):
    there, here = both(engine, windows_of(np.uint8), tta=tta, batch=batch)
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("options", [{"limit_px": 48 * 48}, {"input_px": 48}, {"batch": 3}])
def test_small_tiles_resized_sections_and_swapped_windows_are_predicted_alike(engine, options):
    windows = windows_of(np.uint8)
    for each in (windows, [window.swapped() for window in windows]):
        there, here = both(engine, each, **options)
        np.testing.assert_array_equal(there, here)


def test_the_input_is_not_changed(engine):
    windows = windows_of(np.float32)
    before = [window.pixels.copy() for window in windows]
    both(engine, windows, batch=4)
    for window, pixels in zip(windows, before, strict=True):
        np.testing.assert_array_equal(window.pixels, pixels)


def test_an_overflow_in_any_orientation_is_refused(small_network):
    engine = gpu_engine(small_network, torch.device("cpu"), torch.float16)
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
