"""Sections of another pixel size than that of the weights: resampled, and back on their grid."""

import json

import numpy as np
import pytest
import tifffile

import sfseg
from sfseg.prediction import tile_reader
from sfseg.prediction.arrays import predict_stack
from sfseg.prediction.tiles import scaled_tiles
from sfseg.transforms.resample import Resampler, Scaling
from tests.cli.commands import FAST, fails
from tests.cli.commands import sfseg as run
from tests.transforms.test_empty import SAMPLE


@pytest.fixture(scope="module")
def sample():
    """The first section of the sample, and its labels; 4 nm."""
    with sfseg.open_stack(SAMPLE / "volume.tif") as stack:
        return stack.section(0), sfseg.read_labels(SAMPLE / "labels.tif")[0]


@pytest.fixture(scope="module")
def model():
    return sfseg.load_model(device="cpu", engine="torch", precision="float32")


def resized(image, nm):
    """Give a section of 4 nm pixels of another size, (y, x)."""
    shape = tuple(round(n * 4 / size) for n, size in zip(image.shape, nm, strict=True))
    pixels = Resampler.cubic(image.shape, shape).whole(image.astype(np.float32))
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def v_rand(found, labels):
    """Score a map on the labels' grid of 4 nm."""
    found = Resampler.linear(found.shape, labels.shape).whole(found)
    return sfseg.score(found.clip(0, 1), labels).v_rand


@pytest.mark.parametrize("nm", [(8, 8), (8, 4), (2, 2)])
def test_with_its_pixel_size_a_section_scores_as_at_that_of_the_weights(sample, model, nm):
    image, labels = sample
    section = resized(image, nm)
    found = model.predict(section, pixel_size_nm=nm)
    assert found.shape == section.shape
    assert v_rand(found, labels) > v_rand(model.predict(image), labels) - 0.01


def test_within_a_border_it_scores_the_same_and_the_border_is_0(sample, model):
    image, labels = sample
    for nm, width in (8, 20), (2, 80):
        section = np.pad(resized(image, (nm, nm)), width)
        found = model.predict(section, pixel_size_nm=nm)
        inside = found[width:-width, width:-width]
        alone = model.predict(section[width:-width, width:-width], pixel_size_nm=nm)
        assert v_rand(inside, labels) > v_rand(alone, labels) - 0.003
        border = np.ones(section.shape, bool)
        border[width:-width, width:-width] = False
        assert not found[border].any()


@pytest.mark.parametrize("nm", [8, (8, 3), 2])
def test_tiles_read_from_the_file_leave_no_trace_to_the_bit(sample, model, nm, monkeypatch):
    section = sample[0][:150, :130].copy()
    section[:40] = 0  # an empty area
    section[:, 110:] = 0
    whole = model.predict(section, pixel_size_nm=nm)
    monkeypatch.setattr(tile_reader, "WHOLE_BYTES", 0)
    options = {"pixel_size_nm": nm, "tile_px": 48}
    stack = sfseg.io.open_array(section, "test")
    tiled = predict_stack(stack, sfseg.config.PredictConfig(**options), model.prepare)[0]
    assert (tiled == whole).all()


@pytest.mark.parametrize(
    ("shape", "network_shape"), [((500, 600), (1250, 300)), ((333, 777), (1332, 194))]
)
@pytest.mark.parametrize("tile_px", [16, 100])
def test_tiles_cover_the_section_once_and_keep_what_they_need(shape, network_shape, tile_px):
    scaling, halo = Scaling.between(shape, network_shape), 32
    count = np.zeros(shape, int)
    for tile in scaled_tiles(scaling, halo, tile_px=tile_px):
        count[tile.write] += 1
        needed = scaling.back.needed(*tile.write)
        for need, read, keep in zip(needed, tile.read, tile.keep, strict=True):
            assert read.start + keep.start <= need.start
            assert need.stop <= read.start + keep.stop
            assert keep.start >= halo or read.start == 0
    assert (count == 1).all()


def write(path, section, nm):
    """Write three sections with their pixel size, or without."""
    options = {} if nm is None else {"voxel_size_nm": (50, nm, nm)}
    sfseg.write_stack(path, np.stack([section, section[::-1], section[:, ::-1]]), **options)
    return path


def test_the_command_tells_resamples_and_records_and_resumes(sample, model, tmp_path):
    section = resized(sample[0], (8, 8))
    source, out = write(tmp_path / "in.tif", section, 8), tmp_path / "out.tif"
    result = run("predict", source, "-o", out, *FAST)
    assert "plan: 3 sections, resampled from 8 nm to 4 nm for the network, whole, " in result.stderr
    with sfseg.open_stack(out) as stack:
        assert (stack.shape, stack.voxel_size_nm) == ((3, 128, 128), (50, 8, 8))
        assert (stack.section(0) == model.predict(section, pixel_size_nm=8)).all()
    options = json.loads((tmp_path / "out.tif.json").read_text())["identity"]["options"]
    assert options["resampled"] == {"from_nm": [8, 8], "to_nm": [4, 4]}
    assert "finished already" in run("predict", source, "-o", out, "--resume", *FAST).stderr
    refused = fails("predict", source, "-o", out, "--resume", "--rescale", "none", *FAST)
    assert "options.resampled.to_nm: [4.0, 4.0] -> nothing" in refused


def test_the_option_gives_the_size_that_the_file_lacks_and_the_output_has_it(sample, tmp_path):
    section = resized(sample[0], (8, 8))
    known, unknown = write(tmp_path / "a.tif", section, 8), tmp_path / "b.tif"
    tifffile.imwrite(unknown, tifffile.imread(known), photometric="minisblack")
    run("predict", known, "-o", tmp_path / "a_map.tif", *FAST)
    result = run("predict", unknown, "-o", tmp_path / "b_map.tif", "--pixel-size", "8", *FAST)
    assert "resampled from 8 nm to 4 nm" in result.stderr
    maps = [tifffile.imread(tmp_path / f"{name}_map.tif") for name in "ab"]
    assert (maps[0] == maps[1]).all()
    with sfseg.open_stack(tmp_path / "b_map.tif") as stack:
        assert stack.voxel_size_nm[1:] == (8, 8)


def test_without_a_known_size_one_sentence_says_what_is_assumed(sample, tmp_path):
    source = write(tmp_path / "in.tif", sample[0][:64, :64], None)
    said = run("predict", source, "-o", tmp_path / "out.tif", *FAST).stderr
    assert said.count("the pixel size is not known: 4 nm is assumed, that of the weights") == 1
    assert said.index("is assumed") < said.index("plan: ")
    assert "resampled" not in said


@pytest.mark.parametrize("text", ["0", "-4", "four", "4,4,4", "inf", "nan"])
def test_what_is_no_pixel_size_is_refused(text, tmp_path):
    error = fails("predict", "in.tif", "-o", tmp_path / "o.tif", f"--pixel-size={text}", code=2)
    assert "pixel size: must be one number of nm above 0" in error
