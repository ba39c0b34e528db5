"""The examples run, each as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfseg.io import open_stack

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, argument, tmp_path):
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, argument],
        cwd=tmp_path,
        env=os.environ | {"SFSEG_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_predict_and_score_finds_the_membranes_of_the_sample(tmp_path):
    printed = run("predict_and_score.py", tmp_path / "out.tif", tmp_path)
    score = float(printed.splitlines()[-1].split()[1])
    assert score > 0.85
    with open_stack(tmp_path / "out.tif") as stack:
        assert stack.describe() == "3 sections of 256x256, float32, voxel 50x4x4 nm"


def test_train_on_tissue_prints_its_epochs_and_the_weights(tmp_path):
    printed = run("train_on_tissue.py", tmp_path / "run", tmp_path).splitlines()
    assert [line.split(":")[0] for line in printed[:-1]] == ["epoch 1", "epoch 2"]
    assert Path(printed[-1]).is_file()


@pytest.mark.parametrize("name", ["volume", "labels"])
def test_the_sample_is_the_tissue_that_its_page_says(name):
    """On other platforms single pixels may differ by rounding, so a thousandth may."""
    from sfseg.tissue import make_tissue

    expected = dict(zip(("volume", "labels"), make_tissue((3, 256, 256), seed=2), strict=True))
    with open_stack(EXAMPLES / "sample" / f"{name}.tif") as stack:
        assert (stack.read() != expected[name]).mean() < 1e-3
