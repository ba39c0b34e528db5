"""What a prediction does where there is no tissue: 0 there, and inside as if nothing were there."""

import json

import numpy as np
import pytest
import tifffile

import sfseg
from tests.cli.commands import FAST
from tests.cli.commands import sfseg as run
from tests.transforms.test_empty import SAMPLE, TYPES, ring


@pytest.fixture(scope="module")
def sample():
    """The first section of the sample, and its labels."""
    with sfseg.open_stack(SAMPLE / "volume.tif") as stack:
        return stack.section(0), sfseg.read_labels(SAMPLE / "labels.tif")[0]


@pytest.fixture(scope="module")
def model():
    return sfseg.load_model(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def v_rand(sample, model):
    """Of the section without a border."""
    image, labels = sample
    return sfseg.score(model.predict(image), labels).v_rand


@pytest.mark.parametrize(
    ("share", "dtype", "value"),
    [(0.05, "uint8", 0), (0.4, "uint16", 0), (0.4, "uint8", 255), (0.75, "float32", 0)],
)
def test_a_border_costs_nothing_inside_and_is_0_in_the_map(
    sample, model, v_rand, share, dtype, value
):
    image, labels = sample
    width = round(len(image) * ((1 - share) ** -0.5 - 1) / 2)
    found = model.predict(np.pad(TYPES[dtype](image), width, constant_values=value))
    inside = found[width:-width, width:-width]
    assert sfseg.score(inside, labels).v_rand > v_rand - 0.003
    assert not found[ring(found.shape, width)].any()


def test_hot_pixels_cost_nothing(sample, model, v_rand):
    image, labels = sample
    hot = image.astype(np.uint16) * 10
    hot.flat[np.random.default_rng(0).integers(0, hot.size, 20)] = 65535
    assert sfseg.score(model.predict(hot), labels).v_rand > v_rand - 0.003


@pytest.mark.parametrize("output", ["probability", "binary", "segments"])
def test_the_command_tells_and_records_the_share_and_tiles_leave_no_trace(
    sample, tmp_path, output, monkeypatch
):
    image, _ = sample
    tifffile.imwrite(tmp_path / "in.tif", np.pad(image[:96, :96], ((0, 0), (32, 0))))
    common = ("predict", tmp_path / "in.tif", *FAST, "-d", "cpu", "--output", output, "-o")
    whole = run(*common, tmp_path / "whole.tif")
    assert "25.0% of the pixels hold no tissue" in whole.stderr
    (record,) = tmp_path.glob("whole*.json")
    assert json.loads(record.read_text())["empty_share"] == 0.25
    monkeypatch.setattr("sfseg.prediction.tile_reader.WHOLE_BYTES", 0)  # read in bands and tiles
    tiled = run(*common, tmp_path / "tiled.tif", "--tile", 48)
    assert tiled.exit_code == 0, tiled.stderr
    pixels = tifffile.imread(tmp_path / "whole.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "tiled.tif"), pixels)
    assert not pixels[:, :32].any()
    assert pixels[:, 32:].any()
