"""`sfseg predict` as a person meets it."""

import json
import re

import numpy as np
import pytest
import tifffile
import torch

from tests.cli.commands import FAST, fails, sfseg

pytestmark = pytest.mark.usefixtures("small_shipped")


def test_predict_prints_the_output_and_names_device_and_input_on_stderr(volume, tmp_path):
    out = tmp_path / "out.tif"
    result = sfseg("predict", volume, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "sfnet-isbi2012" in result.stderr
    assert "on cpu (" in result.stderr or "on cuda" in result.stderr
    assert "volume.tif: 4 sections of 96x112, uint8, voxel 50x4x4 nm\n" in result.stderr
    assert "plan: 4 sections whole, " in result.stderr
    assert f"{out}: done in " in result.stderr
    assert tifffile.imread(out).shape == (4, 96, 112)


@pytest.mark.bf16
def test_predict_takes_every_option(volume, tmp_path):
    (tmp_path / "out.tif").write_text("to be replaced")
    result = sfseg(
        *("predict", volume, "--out", tmp_path / "out.tif", "--model", "sfnet-isbi2012"),
        *("--device", "cpu", "--engine", "torch", "--precision", "bf16", "--tta", "d4"),
        *("--output", "probability", "--dtype", "uint8", "--tile", 64, "--memory", 4),
        *("--axes", "ZYX", "--close-gaps", "--overwrite", "--json"),
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out.tif.json").read_text())
    assert record["identity"]["options"]["close_gaps"] is True
    (facts,) = json.loads(result.stdout)
    assert facts["shape"] == [4, 96, 112]
    assert facts["voxel_size_nm"] == [50, 4, 4]
    assert (facts["pieces"], facts["resumed"]) == (4, 0)
    assert facts["stages"].keys() == {"read_s", "compute_s", "write_s"}
    assert "torch, bf16" in result.stderr
    assert tifffile.imread(tmp_path / "out.tif").dtype == np.uint8


@pytest.mark.parametrize(("output", "dtype"), [("binary", "uint8"), ("segments", "int32")])
def test_predict_writes_masks_and_segments(volume, tmp_path, output, dtype):
    options = ("-o", tmp_path / "o.tif", "--output", output, "--threshold", 0.4, "--tile", "auto")
    assert sfseg("predict", volume, *options, *FAST).exit_code == 0
    assert tifffile.imread(tmp_path / "o.tif").dtype == dtype


def test_predict_averages_over_flips_into_a_pyramid(volume, tmp_path):
    pytest.importorskip("zarr")
    out = tmp_path / "out.zarr"
    result = sfseg("predict", volume, "-o", out, "--multiscale", "--tta", "flips", *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    record = json.loads((tmp_path / "out.zarr.json").read_text())
    assert record["identity"]["options"]["multiscale"] is True
    assert "--overwrite" in fails("predict", volume, "-o", out, *FAST)


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_predict_runs_on_torch_by_default_and_by_name(volume, tmp_path, engine):
    options = ("-o", tmp_path / "out.tif", "--engine", engine, "--device", "cpu")
    result = sfseg("predict", volume, *options)
    assert result.exit_code == 0, result.output
    assert re.search(r" on cpu \(\d+ threads?, torch, (bf16|float32)\)", result.stderr)


def test_predict_does_nothing_on_resume_when_all_is_done(volume, tmp_path):
    command = ("predict", volume, "-o", tmp_path / "out.tif", "--resume", *FAST)
    assert ": done in " in sfseg(*command).stderr
    again = sfseg(*command)
    assert again.exit_code == 0
    assert again.stdout == f"{tmp_path / 'out.tif'}\n"
    assert "out.tif: finished already" in again.stderr
    error = fails(*command, "--tta", "flips")
    assert 'options.tta: "none" -> "flips"' in error


def test_predict_refuses_tiles_memory_and_levels_that_cannot_be(volume, tmp_path):
    own = ("predict", volume, "-o", tmp_path / "out.tif")
    for tile in ("nonsense", "15", "-16", "1.5", "²"):
        assert "--tile: must be auto or a number from 16" in fails(*own, "--tile", tile, code=2)
    assert "-o map.zarr" in fails(*own, "--multiscale", code=2)
    assert sfseg(*own, "--memory", 0.5).exit_code == 2
    assert sfseg(*own, "--engine", "abacus").exit_code == 2
    assert not list(tmp_path.glob("out*"))


def test_predict_does_the_good_files_names_the_bad_ones_and_exits_3(volume, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.tif").write_bytes(volume.read_bytes())
    (folder / "truncated.tif").write_bytes(volume.read_bytes()[:30_000])
    (folder / "empty.tif").write_bytes(b"")
    result = sfseg("predict", folder, "-o", tmp_path / "maps", *FAST)
    assert result.exit_code == 3
    assert result.stdout.split() == [str(tmp_path / "maps" / f"{name}.tif") for name in "ab"]
    assert "truncated.tif" in result.stderr
    assert "empty.tif" in result.stderr
    assert "2 done, 2 failed" in result.stderr


def test_predict_warns_of_blank_sections(tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", np.full((1, 64, 64), 9, np.uint8))
    result = sfseg("predict", tmp_path / "flat.tif", "-o", tmp_path / "out.tif", *FAST)
    assert result.exit_code == 0
    assert "warning: 1 section is blank: it has one" in result.stderr


def test_predict_tells_pixels_of_another_size_before_the_work(tmp_path, tissue):
    tifffile.imwrite(
        tmp_path / "coarse.tif",
        tissue[0],
        imagej=True,
        resolution=(1 / 9, 1 / 9),
        metadata={"axes": "ZYX", "spacing": 50, "unit": "nm"},
    )
    result = sfseg("predict", tmp_path / "coarse.tif", "-o", tmp_path / "out.tif", *FAST)
    assert "plan: 4 sections, resampled from 9 nm to 4 nm for the network, " in result.stderr


def test_json_has_no_nan(tmp_path, tissue):
    tifffile.imwrite(
        tmp_path / "flat.tif",
        tissue[0][0],
        resolution=(2.5e6, 2.5e6),
        resolutionunit="CENTIMETER",
    )
    result = sfseg("predict", tmp_path / "flat.tif", "-o", tmp_path / "out.tif", "--json", *FAST)
    assert json.loads(result.stdout)[0]["voxel_size_nm"] == [None, 4.0, 4.0]


def bad_missing(path, _):
    return path.with_name("missing.tif")


def bad_empty(path, _):
    path.write_bytes(b"")
    return path


def bad_truncated(path, _):
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def bad_not_an_image(path, _):
    path.write_text("Dear reader")
    return path


def bad_rgb(path, rng):
    tifffile.imwrite(path, rng.integers(0, 255, (40, 50, 3), np.uint8), photometric="rgb")
    return path


def bad_four_axes(path, rng):
    stack = rng.integers(0, 255, (2, 3, 40, 50), np.uint8)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZYX"})
    return path


def bad_nan(path, rng):
    stack = rng.random((2, 40, 50), np.float32)
    stack[0, 1, 2] = np.nan
    tifffile.imwrite(path, stack)
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        bad_missing,
        bad_empty,
        bad_truncated,
        bad_not_an_image,
        bad_rgb,
        bad_four_axes,
        bad_nan,
    ],
)
def test_bad_input_is_named_with_a_hint_and_leaves_nothing(spoil, volume, labels, tmp_path, rng):
    bad = spoil(volume, rng)
    (tmp_path / "maps").mkdir()
    assert bad.name in fails("predict", bad, "-o", tmp_path / "maps" / "out.tif", *FAST)
    assert list((tmp_path / "maps").iterdir()) == []
    assert bad.name in fails("score", bad, labels)


def test_rgb_is_averaged_when_axes_say_so(tmp_path, rng):
    image = rng.integers(0, 255, (40, 50, 3), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", image, photometric="rgb")
    own = ("predict", tmp_path / "rgb.tif", "-o", tmp_path / "out.tif", *FAST)
    assert "--axes YXS" in fails(*own)
    result = sfseg(*own, "--axes", "YXS")
    assert result.exit_code == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == (40, 50)


def test_predict_refuses_an_output_that_exists_or_is_the_input(volume, tmp_path):
    before = volume.read_bytes()
    assert "which is an input" in fails("predict", volume, "-o", volume, "--overwrite")
    out = tmp_path / "out.tif"
    out.write_text("precious")
    assert "--overwrite" in fails("predict", volume, "-o", out)
    assert out.read_text() == "precious"
    assert ".tif" in fails("predict", volume, "-o", tmp_path / "out.png", code=2)
    (tmp_path / "file").write_text("")
    assert "this is a file" in fails("predict", volume, "-o", tmp_path / "file")
    assert "the output is a folder" in fails(
        "train", "--images", volume, "--labels", volume, "--out", tmp_path / "file"
    )
    assert volume.read_bytes() == before


def test_predict_refuses_bad_weights_and_devices(volume, tmp_path):
    out = ("-o", tmp_path / "out.tif")
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04 pickle")
    assert "bad.safetensors" in fails(
        "predict", volume, *out, "--model", tmp_path / "bad.safetensors"
    )
    assert "sfnet-isbi2012" in fails("predict", volume, *out, "--model", "sfnet-isbi2013", code=2)
    assert "must be auto, cpu" in fails("predict", volume, *out, "--device", "gpu", code=2)
    for name in ("cuda:0,cuda:1", "0,1"):
        told = fails("predict", volume, *out, "--device", name, code=2)
        assert "hint: --device cuda:0,1\n" in told
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    told = fails("predict", volume, *out, "--model", tmp_path / "run")
    assert f"sfseg train --resume --out {tmp_path / 'run'}" in told
    if not torch.cuda.is_available():
        assert "--device cpu" in fails("predict", volume, *out, "--device", "cuda")
    assert not (tmp_path / "out.tif").exists()


def test_predict_refuses_options_that_would_do_nothing(volume, tmp_path):
    out = ("-o", tmp_path / "out.tif")
    assert "binary" in fails("predict", volume, *out, "--threshold", 0.3, code=2)
    assert "segments" in fails(
        "predict", volume, *out, "--output", "segments", "--dtype", "uint8", code=2
    )


def test_paths_with_spaces_brackets_and_other_letters_work(volume, tmp_path):
    source = tmp_path / "größe [uint8] 1.tif"
    source.write_bytes(volume.read_bytes())
    out = tmp_path / "[/scratch] é" / "out [1].tif"
    result = sfseg("predict", source, "-o", out, *FAST)
    assert result.exit_code == 0, result.output
    assert out.is_file()
    assert "größe [uint8] 1.tif" in result.stderr
    assert "[uint8]" in fails(
        "predict", tmp_path / "none [uint8].tif", "-o", tmp_path / "x.tif", *FAST
    )


def test_control_codes_in_a_name_do_not_reach_the_terminal(tmp_path):
    said = fails(
        "predict", tmp_path / "a\x1b]0;mine\x07\r\x9b2J\u202e.tif", "-o", tmp_path / "x", *FAST
    )
    assert r"a\x1b]0;mine\x07\r\x9b2J\u202e.tif" in said
    assert not {c for c in said if ord(c) < 32} - {"\n"}
