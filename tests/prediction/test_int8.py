"""int8: exact sums, fixed ranges, the comparison with float32, and where it cannot run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from torch.nn import functional

import sfseg
from sfseg import models
from sfseg.config import PredictConfig
from sfseg.errors import DeviceError, OptionError, ResumeError
from sfseg.io import open_array, write_stack
from sfseg.models import STRIDE
from sfseg.models.blocks import Conv
from sfseg.models.weights import Header
from sfseg.prediction import samples
from sfseg.prediction.engines import blockwise, calibrate, choose, int8, make_engine
from sfseg.prediction.engines.calibrate import Sample, measure_ranges, quantise
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.engine import Agreement, Quantisation
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.int8 import Int8Convolution, Levels, int8_engine, why_no_int8
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.prediction.tiles import halo_px

CPU, F32 = torch.device("cpu"), torch.float32
pytestmark = pytest.mark.skipif(why_no_int8() is not None, reason=str(why_no_int8()))


def sections(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def drawn(count):
    return [Sample(section) for section in sections(count, 32, 32)]


def model_of(network, **changes):
    """Make a model of a network that waits for its calibration."""
    engine, choice = make_engine(network, CPU, "torch", "int8")
    header = Header(arch="sfnet", recipe="default", **changes)
    return Model(network, header, (engine,), choice, halo_px(network, STRIDE), "0" * 64)


@pytest.fixture
def source(tissue, tmp_path):
    """Two sections of 96x112, three tiles each with 48 px."""
    write_stack(tmp_path / "small.tif", tissue[0][:2])
    return tmp_path / "small.tif"


def run(model, source, out, *, report=lambda _: None, say=lambda _: None, **options):
    config = PredictConfig(precision="int8", **options)
    return predict_job(Job(str(source), out), model, config, report=report, say=say)


# --- the numbers


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel"), [(64, 64, 3), (32, 64, 3), (64, 32, 1), (1, 64, 3)]
)
@pytest.mark.parametrize("zero", [0, 90])
@pytest.mark.parametrize("levels", [Levels(0.5), Levels(0.5, 17), Levels(0.5, 0, 100)])
def test_a_convolution_is_that_of_whole_numbers_to_the_level(
    channels, outputs, kernel, zero, levels
):
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (1, channels, 33, 50), dtype=torch.uint8, generator=generator)
    x[..., :8, :8] = 255  # sums that saturate first
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(outputs, channels, kernel, kernel, generator=generator) / 50
    weight[0] = weight.abs().max()
    bias, pad = torch.randn(outputs, generator=generator), kernel // 2
    after = int8._after(levels, relu=True)
    layer = Int8Convolution(weight, bias, zero, after, pad, weight_levels=int8.find_weight_levels())
    sums = functional.conv2d(x.double() - zero, layer.levels.double(), padding=pad)
    wanted = sums * layer.scale[:, None, None].double() + bias[:, None, None].double()
    wanted = (wanted.clamp_min(0) / levels.scale + levels.zero).round().clamp(0, levels.last)
    off = (layer(x).double() - wanted).abs()
    assert off.max() <= 1  # the numbers that lie between two levels are rounded in float32
    assert (off > 0).double().mean() < 1e-4
    assert wanted.unique().numel() > 50


@pytest.mark.parametrize("found", [(127, 127), (64, 64)])
def test_weights_have_as_many_bits_as_give_exact_sums(monkeypatch, found):
    most, expected = found
    monkeypatch.setattr(int8, "_is_exact", lambda levels: levels <= most)
    assert int8.find_weight_levels.__wrapped__() == expected


def test_activations_that_are_added_share_the_levels_and_never_overflow():
    one, other = Levels.shared((-2.0, 1.0), (0.0, 5.0))
    assert one.scale == other.scale == pytest.approx(8 / 255)
    assert one.last + other.last == 255
    assert (one.zero, other.zero) == (64, 0)


def test_activations_that_are_joined_have_one_level_of_0():
    one, other = Levels.joined((-2.0, 1.0), (0.0, 5.0))
    assert one.zero == other.zero == 170
    assert (255 - 170) * other.scale == pytest.approx(5)


def test_an_activation_that_is_never_positive_leaves_levels_to_the_other():
    assert Levels.from_range((-4.0, -1.0)).zero == 255
    one, other = Levels.joined((-4.0, -1.0), (0.0, 5.0))
    assert one.zero == other.zero == 204
    assert other.scale == pytest.approx(5 / 51)
    assert Levels.shared((-4.0, -1.0), (0.0, 4.0))[0] == Levels(8 / 255, 128, 128)


def test_every_architecture_is_near_to_float32(network):
    batch = sections(1, 48, 64)
    found = quantise(network, list(batch))(batch)
    exact = torch_engine(network, CPU, F32)(batch)
    assert np.abs(found - exact).max() < 0.1 * np.ptp(exact)
    assert np.abs(found - exact).mean() < 0.02 * np.ptp(exact)


def test_the_size_of_the_blocks_does_not_change_a_bit(small_network, monkeypatch):
    batch = sections(1, 112, 176)
    engine = quantise(small_network, [batch[0, :48, :48].copy()])
    expected = engine(batch)
    for pixels, columns in ((1, 26), (64 * 98, 98)):
        monkeypatch.setattr(blockwise, "BLOCK_PX", pixels)
        monkeypatch.setattr(blockwise, "BLOCK_COLUMNS", columns)
        np.testing.assert_array_equal(engine(batch), expected)


def test_the_blocks_of_the_real_channels_make_the_same_bits(monkeypatch):
    network = models.build("sfnet", seed=3).eval()
    batch = sections(1, 64, 112)
    engine = quantise(network, [batch[0, :32, :32].copy()])
    expected = engine(batch)
    monkeypatch.setattr(blockwise, "BLOCK_PX", 1)
    monkeypatch.setattr(blockwise, "BLOCK_COLUMNS", 58)
    np.testing.assert_array_equal(engine(batch), expected)


# --- the ranges


def test_ranges_are_those_of_the_layers_and_the_same_each_time(network):
    folded = fold(network)
    windows = sections(2, 32, 48)
    found = measure_ranges(folded, windows)
    assert found == measure_ranges(folded, windows)
    assert found["input"] == (windows.min(), windows.max())
    seen = []
    name, layer = next((n, m) for n, m in folded.named_modules() if isinstance(m, Conv))
    layer.register_forward_hook(lambda _layer, _input, output: seen.append(output))
    with torch.inference_mode():
        folded(torch.from_numpy(windows)[:, None])
    assert found[name] == pytest.approx([0, float(seen[0].max())], rel=1e-5)


def test_ranges_keep_all_bits_in_json():
    kept = Quantisation(64, {"a": (-1 / 3, 2 / 3)}, Agreement(0.999, 0.1, 0.01, 5))
    assert Quantisation.from_json(json.loads(json.dumps(kept.as_json()))) == kept


@pytest.mark.parametrize("shape", [(1, 5, 7), (1, 16, 16), (3, 96, 112), (2, 600, 530)])
def test_windows_are_as_the_network_takes_them_and_those_held_out_are_others(shape):
    stack = open_array(np.random.default_rng(0).integers(0, 255, shape, np.uint8), "it", hint="")
    windows, held_out = samples.sample_stack(stack, input_px=None, scaling=None)
    held_out = list(held_out)
    assert len(windows) == min(shape[0], samples.CALIBRATION_SECTIONS)
    assert len(held_out) == shape[0]
    for window in (one.image for one in (*windows, *held_out)):
        assert window.dtype == np.float32
        assert all(side % 16 == 0 and 16 <= side <= samples.SIDE_PX for side in window.shape)
    if shape[2] > 16:
        assert not np.array_equal(windows[0].image, held_out[0].image)


def test_windows_of_weights_that_resize_are_cut_from_the_resized_section(tissue):
    stack = open_array(tissue[0], "it", hint="")
    windows, held_out = samples.sample_stack(stack, input_px=160, scaling=None)
    assert {one.image.shape for one in (*windows, *held_out)} == {(160, 80)}


def test_sections_without_tissue_are_left_out_and_drawn_tissue_stands_for_them(tissue):
    blank = np.zeros((2, 96, 112), np.uint8)
    tissue_drawn, _ = samples.sample_tissue()
    found, _ = samples.sample_stack(open_array(blank, "it", hint=""), input_px=None, scaling=None)
    np.testing.assert_array_equal([one.image for one in found], [one.image for one in tissue_drawn])
    half = open_array(np.concatenate([blank, tissue[0]]), "it", hint="")
    windows, held_out = samples.sample_stack(half, input_px=None, scaling=None)
    assert windows[0].image.shape == tissue_drawn[0].image.shape  # the first two hold none
    assert len(list(held_out)) > 0


# --- the comparison with float32


def test_a_network_that_is_too_far_from_float32_is_refused(small_network, monkeypatch):
    monkeypatch.setattr(calibrate, "compare", lambda maps: Agreement(0.997, 0.5, 0.1, len(maps)))
    with pytest.raises(DeviceError, match=r"V_Rand of the two maps 0\.9970") as refused:
        calibrate.calibrate(small_network, drawn(1), drawn(5))
    assert refused.value.hint == "use --precision auto"


def test_where_the_first_windows_lose_too_much_all_decide(small_network, monkeypatch):
    seen = []

    def judged(maps):
        seen.append(len(maps))
        return Agreement(0.99 if len(maps) < 5 else 0.999, 0.1, 0.01, len(maps))

    monkeypatch.setattr(calibrate, "compare", judged)
    engine = calibrate.calibrate(small_network, drawn(1), drawn(5))
    assert seen == [calibrate.COMPARED, 5]
    assert engine.quantisation.agreement.v_rand == 0.999


def test_wrong_maps_lose_v_rand_and_equal_ones_nothing():
    exact = np.zeros((64, 64), np.float32)
    exact[:30], exact[34:] = 0.9, 0.9
    assert calibrate.compare([(exact, exact)]) == Agreement(1.0, 0.0, 0.0, 4096)
    merged = np.full_like(exact, 0.9)
    found = calibrate.compare([(exact, merged)])
    assert found.v_rand < 0.9
    assert found.largest == pytest.approx(0.9)
    empty = np.zeros_like(exact)
    assert calibrate.compare([(empty, empty)]).v_rand == 1  # there is no cell to compare


def test_a_membrane_that_is_doubtful_at_one_threshold_decides_nothing():
    exact = np.full((64, 64), 0.9, np.float32)
    exact[20], exact[40] = 0.49, 0.51
    fast = exact.copy()
    fast[20], fast[40] = 0.51, 0.49
    assert calibrate._score([(exact, fast)], 0.5) < 0.9
    assert calibrate.compare([(exact, fast)]).v_rand == 1  # two membranes at 0.6 in both


def test_empty_pixels_are_not_compared(small_network):
    image = np.tile(sections(1, 32, 32)[0], (1, 2))
    empty = np.zeros(image.shape, bool)
    empty[:, 32:] = True
    found = calibrate._output(torch_engine(small_network, CPU, F32), Sample(image, empty))
    assert not found[:, 32:].any()
    assert found[:, :32].all()


def test_windows_of_a_section_with_a_border_know_which_pixels_are_empty(tissue):
    volume = tissue[0].copy()
    volume[:, :, 70:] = 0
    stack = open_array(volume, "it", hint="")
    for input_px in (None, 160):
        _, held_out = samples.sample_stack(stack, input_px=input_px, scaling=None)
        assert all(np.array_equal(one.empty, one.image == 0) for one in held_out)


# --- from file to file


@pytest.fixture
def agreeing(monkeypatch):
    """Let the small networks, which have learnt nothing, agree with float32."""
    monkeypatch.setattr(calibrate, "MOST_LOSS", 1.0)


def stop_at(tile):
    def report(record):
        if record.done == tile:
            raise KeyboardInterrupt

    return report


@pytest.mark.usefixtures("agreeing")
def test_tiles_equal_the_whole_to_the_bit_and_the_record_holds_the_ranges(tissue, tmp_path):
    model = model_of(models.build("sfnet", seed=1).eval())
    source = tmp_path / "wide.tif"
    write_stack(source, np.tile(tissue[0][:1, :32], (1, 1, 6)))
    model = replace(model, halo_px=256)
    told = []
    run(model, source, tmp_path / "whole.tif", say=told.append)
    result = run(model, source, tmp_path / "tiles.tif", tile_px=64)
    assert result.tiles > 1
    assert (tmp_path / "whole.tif").read_bytes() == (tmp_path / "tiles.tif").read_bytes()
    record = json.loads((tmp_path / "whole.tif.json").read_text())
    resolved = record["identity"]["resolved"]
    assert resolved["dtype"] == "int8"
    assert resolved["int8"]["weight_levels"] == int8.find_weight_levels()
    assert resolved["int8"]["agreement"]["pixels"] > 0
    assert record["device"].endswith("torch, int8)")
    assert told[0].startswith(
        "int8 against float32, on parts that it was not calibrated on: V_Rand "
    )


@pytest.mark.usefixtures("agreeing")
def test_a_resumed_run_keeps_the_ranges_of_the_first(small_network, source, tmp_path, monkeypatch):
    model, out = model_of(small_network), tmp_path / "out.tif"
    whole = run(model, source, tmp_path / "whole.tif", tile_px=32)
    with pytest.raises(KeyboardInterrupt):
        run(model, source, out, tile_px=32, report=stop_at(1))
    real, told, measured = calibrate.measure_ranges, [], []

    def wider(network, windows):
        measured.append(1)
        found = real(network, windows)
        return {name: (2 * low, 2 * high) for name, (low, high) in found.items()}

    monkeypatch.setattr(calibrate, "measure_ranges", wider)
    result = run(model, source, out, tile_px=32, resume=True, say=told.append)
    assert 0 < result.resumed < result.tiles == whole.tiles
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert any("int8), as the first run did" in line for line in told)
    assert measured == []
    run(model, source, tmp_path / "other.tif", tile_px=32)
    assert (tmp_path / "other.tif").read_bytes() != out.read_bytes()


@pytest.mark.usefixtures("agreeing")
@pytest.mark.parametrize("damaged", ['"int8": 3', '"int8": {"ranges": {"input": [1]}}'])
def test_damaged_ranges_are_refused(small_network, source, tmp_path, damaged):
    model, out = model_of(small_network), tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt):
        run(model, source, out, tile_px=32, report=stop_at(1))
    manifest = tmp_path / "out.tif.part.manifest"
    head, *tiles = manifest.read_text().splitlines(keepends=True)
    identity = json.loads(head)
    identity["identity"]["resolved"].update(json.loads(f"{{{damaged}}}"))
    manifest.write_text(json.dumps(identity) + "\n" + "".join(tiles))
    with pytest.raises(ResumeError, match="damaged"):
        run(model, source, out, tile_px=32, resume=True)


@pytest.mark.usefixtures("agreeing")
def test_an_array_is_predicted_as_the_file_is(small_network, source, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "load", lambda _config: model_of(small_network))
    run(model_of(small_network), source, tmp_path / "out.tif")
    found = sfseg.predict(tifffile.imread(source), precision="int8")
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "out.tif"))


@pytest.mark.usefixtures("agreeing")
def test_a_loaded_model_is_calibrated_once_whatever_comes_first(small_network, tissue, monkeypatch):
    monkeypatch.setattr(Model, "load", lambda _config: model_of(small_network))
    model = sfseg.load_model(precision="int8")
    first = model.predict(tissue[0][0])
    model.predict(255 - tissue[0][1])
    np.testing.assert_array_equal(model.predict(tissue[0][0]), first)
    assert "int8" in repr(model)


# --- where it cannot run


def test_without_the_operators_auto_runs_and_a_sentence_says_so(small_network, monkeypatch):
    monkeypatch.setattr(int8, "_has_operators", lambda: False)
    monkeypatch.setattr(choose, "pick_dtype", lambda *_: F32)
    engine, chosen = make_engine(small_network, CPU, "auto", "int8")
    assert (engine.dtype, chosen.dtype) == (F32, "float32")
    assert chosen.notice == (
        f"int8 cannot be used here, PyTorch {torch.__version__} lacks its operators: "
        "float32 is used"
    )


@pytest.mark.parametrize(
    ("what", "told"), [("arm64", "x86-64"), ("sums", "gives wrong sums on this processor")]
)
def test_other_processors_and_wrong_sums_are_named(monkeypatch, what, told):
    if what == "arm64":
        monkeypatch.setattr(int8.platform, "machine", lambda: what)
    else:
        monkeypatch.setattr(int8, "find_weight_levels", lambda: 0)
    assert told in why_no_int8()


def test_an_engine_of_another_machine_is_refused_where_its_sums_would_be_wrong(
    small_network, monkeypatch
):
    monkeypatch.setattr(int8, "find_weight_levels", lambda: 64)
    with pytest.raises(DeviceError, match="began on a processor with VNNI"):
        int8_engine(small_network, Quantisation(127, {}))


def test_a_line_says_that_the_processor_has_no_units_for_int8(small_network, monkeypatch):
    for fast in (True, False):
        monkeypatch.setattr(choose, "has_fast_int8", lambda fast=fast: fast)
        _, chosen = make_engine(small_network, CPU, "auto", "int8")
        assert chosen.dtype == "int8"
        assert ("VNNI" in chosen.notice) is not fast


def test_int8_is_for_the_cpu_and_the_engine_torch(small_network):
    with pytest.raises(DeviceError, match="it only runs on the CPU, not on cuda"):
        make_engine(small_network, torch.device("cuda"), "auto", "int8")
    with pytest.raises(OptionError, match="the engine compile does not have it"):
        make_engine(small_network, CPU, "compile", "int8")


def test_auto_never_takes_int8(small_network):
    _, chosen = make_engine(small_network, CPU, "auto", "auto")
    assert chosen.dtype in ("float32", "bfloat16")
