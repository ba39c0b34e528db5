"""`sfseg train` as a person meets it."""

import numpy as np
import pytest
import tifffile
import torch

from sfseg.cli.train import default_folder
from sfseg.models.weights import open_weights
from tests.cli.commands import TINY, fails, sfseg

pytestmark = pytest.mark.usefixtures("small_architectures")


def test_train_prints_the_path_of_the_weights(volume, labels, tmp_path):
    out = tmp_path / "run"
    result = sfseg(
        *("train", "--images", volume, "--labels", labels, "--sections", "1-3", "--out", out),
        *("--validation", "3", "--seed", 1, "--device", "cpu", "--half", "--axes", "ZYX"),
        *("--label-axes", "ZYX"),
        *("--labels-are", "interior", "--recipe", "default", "--learning-rate", 0.001, *TINY),
        *("--arch", "sfnet", "--augmentation", "eightfold"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'weights.safetensors'}\n"
    assert "; recipe default, changed: epochs" in result.stderr
    assert "on cpu (" in result.stderr
    assert "volume.tif sections 1-2 (validation 3)" in result.stderr
    assert "epoch 1: loss" in result.stderr
    assert "V_Rand" in result.stderr


def test_train_takes_a_dataset_by_name_and_resumes(tmp_path):
    out = tmp_path / "run"
    command = ("train", "--dataset", "tissue", "--arch", "unet", "--out", out, *TINY)
    first = sfseg(*command)
    assert first.exit_code == 0
    assert "licence" in first.stderr
    assert "--resume" in fails(*command)
    assert sfseg(*command, "--resume").stdout == f"{out / 'weights.safetensors'}\n"


def test_train_compiles_when_asked(tissue_files, monkeypatch):
    """With the compiler itself replaced, which takes a minute."""
    compiled = []
    monkeypatch.setattr(
        "sfseg.system.compiler.compile_network", lambda network: compiled.append(network) or network
    )
    own = ("--images", tissue_files / "volume.tif", "--labels", tissue_files / "labels.tif")
    assert sfseg("train", *own, "--out", tissue_files / "run", "--compile", *TINY).exit_code == 0
    assert len(compiled) == 1


def test_a_run_is_named_by_its_architecture_and_its_data():
    assert default_folder("sfnet", None, None).name == "sfnet-isbi2012"
    assert default_folder("unet", "vnc", None).name == "unet-vnc"
    assert default_folder("unet", None, "data/my volume.tif").name == "unet-my volume"
    assert default_folder("unet", None, "data/raw/*.png").name == "unet-raw"


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
    assert "write it like 2-3" in fails(*own, "--labels", labels, "--sections", "3-2", code=2)
    assert "1 to 4" in fails(*own, "--labels", labels, "--sections", "3-9", code=2)
    assert "multiple of 16" in fails(*own, "--labels", labels, "--patch", 40, code=2)
    for rate in (0, "inf"):
        said = fails(*own, "--labels", labels, "--learning-rate", rate, code=2)
        assert f"must be a number above 0, not {rate}" in said
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
    tifffile.imwrite(flat, np.full((4, 96, 112), 255, np.uint8), photometric="minisblack")
    assert "flat.tif" in fails(*own, "--labels", flat)
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.eye(20, dtype=np.uint8)[None].repeat(4, 0), photometric="minisblack")
    assert "(4, 96, 112)" in fails(*own, "--labels", small)
    assert "leave --resume out" in fails(*own, "--labels", labels, "--resume")
    nan = tmp_path / "nan.tif"
    tifffile.imwrite(nan, np.full((4, 96, 112), np.nan, np.float32), photometric="minisblack")
    assert "nan.tif" in fails(*own[:-1], nan, "--labels", labels)
    empty = np.where(np.arange(4)[:, None, None] == 2, 0, tifffile.imread(labels))
    tifffile.imwrite(tmp_path / "empty.tif", empty.astype(np.uint8), photometric="minisblack")
    assert "section 3" in fails(*own, "--labels", tmp_path / "empty.tif")
    if not torch.cuda.is_available():
        assert "cuda" in fails(*own, "--labels", labels, "--device", "cuda")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small_architectures")
def test_bright_membranes_are_warned_about_and_turned(volume, labels, tmp_path):
    bright = tmp_path / "bright.tif"
    tifffile.imwrite(bright, 255 - tifffile.imread(volume), photometric="minisblack")

    def run(images, name, *options):
        own = ("--images", images, "--labels", labels, "--out", tmp_path / name)
        return sfseg("train", *own, *options, *TINY)

    warned = run(bright, "wrong")
    line = f"warning: membranes are brighter than cells in {bright}: "
    assert f"{line}try --invert-image\n" in warned.stderr
    assert line not in run(bright, "turned", "--invert-image").stderr
    run(volume, "dark")
    turned, dark = (open_weights(str(tmp_path / name)) for name in ("turned", "dark"))
    assert turned.header.training["invert_image"] is True
    assert turned.header.training["pixels_sha256"] == dark.header.training["pixels_sha256"]
    assert "invert_image" not in dark.header.training
    error = fails("train", "--resume", "--out", tmp_path / "dark", "--invert-image")
    assert "invert_image: nothing -> true" in error
