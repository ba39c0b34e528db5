"""The command line as a person meets it: exit codes, what goes where, what an error says."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from sfseg import __version__
from sfseg.cli import app
from sfseg.cli.train import default_folder
from sfseg.io import write_stack
from sfseg.models.safetensors_file import read_tensors
from tests.processes import end, started, wait_until


def sfseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(*arguments, code=1):
    """Run a command that must fail with a message and a hint, and give the message."""
    result = sfseg(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    error = result.stderr[result.stderr.index("error: ") :]
    assert "\nhint: " in error
    assert "Traceback" not in error
    return error


@pytest.fixture(scope="session")
def tried(tmp_path_factory):
    """The choice of an engine for the shipped network, which takes seconds to find."""
    from sfseg.config import PredictConfig
    from sfseg.prediction.predict import Model

    memory = tmp_path_factory.mktemp("tried") / "engines.json"
    Model.load(PredictConfig(), memory=memory)
    return memory.read_text()


@pytest.fixture
def remembered(tried, tmp_path):
    """A cache in which that choice is known already."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "engines.json").write_text(tried)


@pytest.fixture
def volume(tissue_files):
    return tissue_files / "volume.tif"


@pytest.fixture
def labels(tissue_files):
    return tissue_files / "labels.tif"


TINY = ("--epochs", 1, "--patch", 32, "--batch-size", 12, "--precision", "float32")

# --- all commands


def test_help_lists_the_four_commands():
    result = sfseg("--help")
    assert result.exit_code == 0
    for command in ("fetch", "train", "predict", "score"):
        assert command in result.stdout


def test_version_is_printed():
    assert sfseg("--version").stdout == f"sfseg {__version__}\n"


def test_an_unknown_option_is_a_usage_error():
    assert sfseg("score", "--nonsense").exit_code == 2


def test_the_module_runs_as_well():
    result = subprocess.run(
        [sys.executable, "-m", "sfseg", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"sfseg {__version__}\n"


# --- fetch


def test_fetch_prints_the_folder_and_nothing_else_on_stdout(tmp_path):
    result = sfseg("fetch", "tissue", "--to", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'tissue'}\n"
    assert "licence" in result.stderr
    assert (tmp_path / "tissue" / "volume.tif").is_file()


def test_fetch_verify_reads_a_fetched_dataset_through(tmp_path):
    assert "sfseg fetch tissue" in fails("fetch", "tissue", "--verify", "--to", tmp_path)
    sfseg("fetch", "tissue", "--to", tmp_path)
    result = sfseg("fetch", "tissue", "--verify", "--to", tmp_path)
    assert result.exit_code == 0
    assert "volume.tif" in result.stderr


def test_fetch_list_says_what_is_here():
    sfseg("fetch", "tissue")
    lines = sfseg("fetch", "--list").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert {"isbi2012", "piriform", "vnc", "snemi3d", "cremi", "tissue"} <= rows.keys()
    assert " yes " in rows["tissue"]
    assert " no " in rows["isbi2012"]


def test_fetch_from_takes_the_data_that_the_user_has(isbi, tmp_path):
    result = sfseg("fetch", "isbi2012", "--from", isbi, "--to", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "isbi2012" / "train-labels.tif").is_file()


def test_fetch_of_an_unknown_dataset_suggests_the_nearest():
    assert "did you mean 'isbi2012'" in fails("fetch", "isbi2021", code=2)


def test_fetch_from_with_nothing_to_fetch_is_refused(tmp_path):
    assert "--from" in fails("fetch", "tissue", "--verify", "--from", tmp_path, code=2)


def test_fetch_without_a_name_is_a_usage_error():
    assert "sfseg fetch --list" in fails("fetch", code=2)


# --- train


def test_train_prints_the_path_of_the_weights(volume, labels, tmp_path):
    out = tmp_path / "run"
    result = sfseg(
        *("train", "--images", volume, "--labels", labels, "--sections", "1-3", "--out", out),
        *("--validation", "3", "--seed", 1, "--device", "cpu", "--half", "--axes", "ZYX"),
        *("--labels-are", "interior", "--recipe", "default", "--learning-rate", 0.001, *TINY),
        *("--arch", "sfnet", "--augmentation", "eightfold"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'weights.safetensors'}\n"
    assert "sfnet, recipe default, changed: epochs" in result.stderr
    assert "on cpu (" in result.stderr
    assert "volume.tif sections 1-2 (validation 3)" in result.stderr
    assert "epoch 1: loss" in result.stderr
    assert "V_Rand" in result.stderr


@pytest.mark.usefixtures("small_architectures")
def test_train_takes_a_dataset_by_name_and_resumes(tmp_path):
    out = tmp_path / "run"
    command = ("train", "--dataset", "tissue", "--arch", "unet", "--out", out, *TINY)
    first = sfseg(*command)
    assert first.exit_code == 0
    assert "licence" in first.stderr
    assert "--resume" in fails(*command)
    assert sfseg(*command, "--resume").stdout == f"{out / 'weights.safetensors'}\n"


@pytest.mark.usefixtures("small_architectures")
def test_train_compiles_when_asked(tissue_files, monkeypatch):
    """With the compiler itself replaced, which takes a minute."""
    compiled = []
    monkeypatch.setattr(
        "sfseg.system.devices.compiled", lambda network: compiled.append(network) or network
    )
    own = ("--images", tissue_files / "volume.tif", "--labels", tissue_files / "labels.tif")
    assert sfseg("train", *own, "--out", tissue_files / "run", "--compile", *TINY).exit_code == 0
    assert len(compiled) == 1


def test_a_run_is_named_by_its_architecture_and_its_data():
    assert default_folder("sfnet", None, None).name == "sfnet-isbi2012"
    assert default_folder("unet", "vnc", None).name == "unet-vnc"
    assert default_folder("unet", None, "data/my volume.tif").name == "unet-my volume"
    assert default_folder("unet", None, "data/raw/*.png").name == "unet-raw"


@pytest.mark.usefixtures("small_architectures")
def test_train_warns_of_labels_that_look_turned_round(volume, labels, tmp_path):
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(turned, 255 - tifffile.imread(labels), photometric="minisblack")
    own = ("--images", volume, "--labels", turned, "--out", tmp_path / "run", *TINY)
    assert "warning: cells fill" in sfseg("train", *own).stderr
    own = ("--images", volume, "--labels", turned, "--out", tmp_path / "right", *TINY)
    assert "warning" not in sfseg("train", *own, "--labels-are", "membrane").stderr


def test_train_refuses_options_that_do_not_fit(volume, labels, tmp_path):
    own = ("train", "--out", tmp_path / "run", "--images", volume)
    assert "--labels" in fails(*own, code=2)
    assert "lower number first" in fails(*own, "--labels", labels, "--sections", "3-2", code=2)
    assert "1 to 4" in fails(*own, "--labels", labels, "--sections", "3-9", code=2)
    assert "multiple of 16" in fails(*own, "--labels", labels, "--patch", 40, code=2)
    assert "leave --labels-are out" in fails("train", "--labels-are", "membrane", code=2)
    assert "leave --dataset out" in fails(*own, "--labels", labels, "--dataset", "tissue", code=2)
    assert not (tmp_path / "run").exists()


def test_train_refuses_bad_input(volume, labels, tmp_path):
    own = ("train", "--out", tmp_path / "run", "--images", volume)
    assert "did you mean 'sfnet'" in fails(
        "train", "--arch", "sfnett", "--out", tmp_path / "run", code=2
    )
    assert "did you mean 'thesis'" in fails("train", "--recipe", "theses", code=2)
    assert "did you mean 'tissue'" in fails(
        "train", "--dataset", "tisue", "--out", tmp_path / "r", code=2
    )
    flat = tmp_path / "flat.tif"
    tifffile.imwrite(flat, np.full((4, 128, 160), 255, np.uint8), photometric="minisblack")
    assert "flat.tif" in fails(*own, "--labels", flat)
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.eye(20, dtype=np.uint8)[None].repeat(4, 0), photometric="minisblack")
    assert "(4, 128, 160)" in fails(*own, "--labels", small)
    assert "leave --resume out" in fails(*own, "--labels", labels, "--resume")
    nan = tmp_path / "nan.tif"
    tifffile.imwrite(nan, np.full((4, 128, 160), np.nan, np.float32), photometric="minisblack")
    assert "nan.tif" in fails(*own[:-1], nan, "--labels", labels)
    empty = np.where(np.arange(4)[:, None, None] == 2, 0, tifffile.imread(labels))
    tifffile.imwrite(tmp_path / "empty.tif", empty.astype(np.uint8), photometric="minisblack")
    assert "section 3" in fails(*own, "--labels", tmp_path / "empty.tif")
    if not torch.cuda.is_available():
        assert "cuda" in fails(*own, "--labels", labels, "--device", "cuda")
    assert not (tmp_path / "run").exists()


# --- predict

FAST = ("--engine", "torch", "--precision", "float32")  # no trial


@pytest.mark.usefixtures("remembered")
def test_predict_prints_the_output_and_names_device_and_input_on_stderr(volume, tmp_path):
    out = tmp_path / "out.tif"
    result = sfseg("predict", volume, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "sfnet-isbi2012" in result.stderr
    assert "on cpu (" in result.stderr or "on cuda" in result.stderr
    assert "volume.tif: 4 sections of 128x160, uint8, voxel 50x4x4 nm\n" in result.stderr
    assert "plan: 4 sections whole, " in result.stderr
    assert f"{out}: done in " in result.stderr
    assert tifffile.imread(out).shape == (4, 128, 160)


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
    assert facts["shape"] == [4, 128, 160]
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


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_predict_runs_on_torch_whether_it_is_named_or_not(volume, tmp_path, engine):
    options = ("-o", tmp_path / "out.tif", "--engine", engine, "--device", "cpu")
    result = sfseg("predict", volume, *options)
    assert result.exit_code == 0, result.output
    assert re.search(r" on cpu \(\d+ threads, torch, (bf16|float32)\)", result.stderr)


def test_predict_resumes_nothing_where_all_is_done(volume, tmp_path):
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
    for tile in ("nonsense", "15", "-16", "1.5", "", "²"):
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
    assert "warning: 1 sections are blank" in result.stderr


def test_predict_warns_of_pixels_of_another_size(tmp_path, tissue):
    tifffile.imwrite(
        tmp_path / "coarse.tif",
        tissue[0],
        imagej=True,
        resolution=(1 / 9, 1 / 9),
        metadata={"axes": "ZYX", "spacing": 50, "unit": "nm"},
    )
    result = sfseg("predict", tmp_path / "coarse.tif", "-o", tmp_path / "out.tif", *FAST)
    assert "warning: pixels are 9 nm, but the network was trained on 4 nm" in result.stderr


def test_json_knows_no_nan(tmp_path, tissue):
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


def test_rgb_is_settled_by_axes(tmp_path, rng):
    image = rng.integers(0, 255, (40, 50, 3), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", image, photometric="rgb")
    own = ("predict", tmp_path / "rgb.tif", "-o", tmp_path / "out.tif", *FAST)
    assert "--axes YXS" in fails(*own)
    result = sfseg(*own, "--axes", "YXS")
    assert result.exit_code == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == (40, 50)


def test_predict_refuses_an_output_that_exists_or_is_the_input(volume, tmp_path):
    before = volume.read_bytes()
    assert "not an input" in fails("predict", volume, "-o", volume, "--overwrite")
    out = tmp_path / "out.tif"
    out.write_text("precious")
    assert "--overwrite" in fails("predict", volume, "-o", out)
    assert out.read_text() == "precious"
    assert ".tif" in fails("predict", volume, "-o", tmp_path / "out.png", code=2)
    (tmp_path / "file").write_text("")
    assert "found a file" in fails("predict", volume, "-o", tmp_path / "file")
    assert "this is a file, the output is a folder" in fails(
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
    assert "expected auto, cpu" in fails("predict", volume, *out, "--device", "gpu", code=2)
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


def test_a_name_gives_no_commands_to_the_terminal(tmp_path):
    said = fails(
        "predict", tmp_path / "a\x1b]0;mine\x07\r\x9b2J\u202e.tif", "-o", tmp_path / "x", *FAST
    )
    assert r"a\x1b]0;mine\x07\r\x9b2J\u202e.tif" in said
    assert not {c for c in said if ord(c) < 32} - {"\n"}


# --- score


def test_score_prints_a_table_for_people_and_json_for_programs(labels):
    table = sfseg("score", labels, labels)
    assert table.exit_code == 0
    assert "V_Rand" in table.stdout
    assert "1.000000" in table.stdout
    report = json.loads(sfseg("score", labels, labels, "--json").stdout)
    assert report["v_rand"] == 1
    assert report["shape"] == [4, 128, 160]
    assert len(report["per_threshold"]) == 11
    assert [row["section"] for row in report["per_section"]] == [1, 2, 3, 4]


def test_score_takes_sections_and_the_other_polarity(labels, tmp_path):
    inverted = tmp_path / "inverted.tif"
    tifffile.imwrite(inverted, 255 - tifffile.imread(labels), photometric="minisblack")
    plain = json.loads(sfseg("score", labels, labels, "--sections", "2-3", "--json").stdout)
    options = ("--sections", "2-3", "--json", "--axes", "ZYX", "--invert", "--invert-labels")
    turned = json.loads(sfseg("score", inverted, inverted, *options).stdout)
    assert [row["section"] for row in turned["per_section"]] == [2, 3]
    assert {k: v for k, v in plain.items() if k not in {"prediction", "truth"}} == {
        k: v for k, v in turned.items() if k not in {"prediction", "truth"}
    }


def test_score_warns_of_a_truth_that_looks_like_an_image(volume, labels):
    assert "are these labels?" in sfseg("score", labels, volume).stderr
    assert sfseg("score", labels, labels).stderr == ""


def test_score_refuses_bad_pairs(volume, labels, tmp_path):
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.zeros((4, 20, 20), np.uint8), photometric="minisblack")
    assert "small.tif" in fails("score", small, labels)
    dark = tmp_path / "dark.tif"
    tifffile.imwrite(dark, np.zeros((4, 128, 160), np.uint8), photometric="minisblack")
    assert "found only 0" in fails("score", volume, dark)
    half = np.stack([np.zeros((128, 160)), *np.eye(128, 160)[None].repeat(3, 0)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "half.tif", half, photometric="minisblack")
    assert "section 1" in fails("score", volume, tmp_path / "half.tif")


# --- a terminal


def on_a_terminal(*arguments, cwd):
    """Run a command whose stderr is a terminal of 80 columns; give what it shows there."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "sfseg", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the command ends
            while chunk := os.read(ours, 4096):
                shown += chunk
        stdout = process.communicate()[0].decode()
    os.close(ours)
    assert process.returncode == 0, shown
    return stdout, shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_how_training_and_prediction_go(tissue_files):
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", "run", *TINY)
    stdout, shown = on_a_terminal("train", *own, cwd=tissue_files)
    assert stdout == "run/weights.safetensors\n"
    assert re.search(r"epoch 1/1 loss \d\.\d{4} lr \d\.\de-\d\d.* left", shown)
    stdout, shown = on_a_terminal("predict", "volume.tif", "-o", "out.tif", *FAST, cwd=tissue_files)
    assert stdout == "out.tif\n"
    assert re.search(r"volume\.tif [1-4]/4", shown)
    # Messages stand on lines of their own, not behind a bar.
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    assert any(line.startswith("volume.tif: 4 sections") for line in lines)
    assert any(line.startswith("out.tif: done in ") for line in lines)


# --- signals


PATIENT = "from sfseg.cli import signals, main; signals.GRACE_S = 3600; main()"
"""The command, which waits for its running step however busy the machine is."""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_training_with_a_state_to_resume_from(tissue_files, number, code):
    out = tissue_files / "run"
    own = ("--images", "volume.tif", "--labels", "labels.tif", "--out", out)
    endless = ("--epochs", 100_000, "--sections", 1, "--validation", "none", "--patch", 32)
    command = ("-c", PATIENT, "train", *own, *endless)
    with started(*command, cwd=tissue_files) as process:
        wait_until((out / "history.csv").exists, process)
        process.send_signal(number)
        _, stderr = end(process)
    assert process.returncode == code, stderr
    assert "--resume" in stderr
    assert not list(out.glob("*.part"))
    _, saved = read_tensors(out / "state.safetensors")
    assert saved["progress"]["step"] > 0


SIGNALLED = """
import os, sys
from sfseg.cli import main
from sfseg.prediction import run
number = int(sys.argv.pop(1))
put = run.WriteBehind.put
def put_or_stop(self, item, pieces=[]):
    put(self, item)
    pieces.append(item)
    if len(pieces) == 5:  # the third is written
        os.kill(os.getpid(), number)
run.FLUSH_S, run.WriteBehind.put = 0, put_or_stop
main()
"""
"""The command, which sends itself a signal when some pieces are done."""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_predict_with_what_is_done_to_go_on_from(tissue_files, number, code):
    big = np.tile(tifffile.imread(tissue_files / "volume.tif")[:, :80, :80], (3, 1, 1))
    write_stack(tissue_files / "big.tif", big)
    command = ("-c", SIGNALLED, int(number), "predict", "big.tif", "-o", "out.tif", *FAST)
    with started(*command, cwd=tissue_files) as process:
        stdout, stderr = end(process)
    assert process.returncode == code, stderr
    assert stdout == ""
    assert "out.tif: finished tiles are kept; continue with --resume" in stderr
    assert "Traceback" not in stderr
    assert not (tissue_files / "out.tif").exists()
    assert "without --resume" in fails(
        *("predict", tissue_files / "big.tif", "-o", tissue_files / "out.tif", *FAST),
        *("--resume", "--tta", "flips"),
    )
    result = sfseg(
        *("predict", tissue_files / "big.tif", "-o", tissue_files / "out.tif", *FAST),
        *("--resume", "--json"),
    )
    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    assert 0 < facts["resumed"] < facts["pieces"] == 12
    assert f"continuing after {facts['resumed']} of 12 tiles" in result.stderr
    found = tifffile.imread(tissue_files / "out.tif")
    for copy in range(1, 3):  # each four sections are the same
        np.testing.assert_array_equal(found[4 * copy : 4 * copy + 4], found[:4])
    assert not list(tissue_files.glob("*.part*"))
