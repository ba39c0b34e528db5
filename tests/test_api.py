"""What `import sfseg` offers: arrays in, arrays out, and plain sentences for what is neither."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

import sfseg
from sfseg.cli import app
from sfseg.errors import (
    NonFiniteError,
    OptionError,
    SfsegError,
    ShapeMismatchError,
    StackError,
    UnknownNameError,
)

ARRAYS = {
    "predict": lambda array: sfseg.predict(array, device="cpu"),
    "score": lambda array: sfseg.score(array, np.array([[0, 255]], np.uint8)),
    "score labels": lambda array: sfseg.score(np.array([[0, 255]], np.uint8), array),
    "write_stack": lambda array: sfseg.write_stack("never.tif", array),
}
PATHS = {
    "open_stack": sfseg.open_stack,
    "predict_file": lambda path: sfseg.predict_file(path, "out.tif"),
    "predict_file out": lambda path: sfseg.predict_file("in.tif", path),
    "read_labels": sfseg.read_labels,
    "score_files": lambda path: sfseg.score_files(path, "labels.tif"),
    "write_stack": lambda path: sfseg.write_stack(path, np.zeros((2, 2), np.uint8)),
    "load_model": sfseg.load_model,
    "train": lambda path: sfseg.train(out=path),
}


@pytest.fixture(scope="module")
def model():
    return sfseg.load_model(device="cpu")


# --- names


def test_the_public_names_are_sorted_and_there():
    assert sfseg.__all__ == sorted(sfseg.__all__)
    assert dir(sfseg) == sfseg.__all__
    for name in sfseg.__all__:
        assert getattr(sfseg, name) is not None
    with pytest.raises(AttributeError, match="'nothing'"):
        sfseg.nothing  # noqa: B018


def test_the_names_for_type_checkers_are_those_at_run_time():
    tree = ast.parse(Path(sfseg.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {(home, name) for home, names in sfseg._HOMES.items() for name in names}
    assert typed == homes
    assert {name for _, name in homes} | {"__version__"} == set(sfseg.__all__)


def test_every_public_name_says_what_it_is():
    for name in set(sfseg.__all__) - {"__version__"}:
        assert getattr(sfseg, name).__doc__.strip()


def test_a_name_brings_what_it_needs_and_no_more():
    code = (
        "import sys, sfseg; sfseg.SfsegError; assert 'torch' not in sys.modules;"
        "sfseg.score; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False True\n"


# --- predict


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", [{}, {"tta": "d4"}, {"close_gaps": True}])
def test_an_array_gives_what_the_command_writes_to_the_bit(tissue, tmp_path, model, dtype, options):
    volume = tissue[0][:2, :80, :96].astype(dtype)
    sfseg.write_stack(tmp_path / "in.tif", volume)
    words = [f"--{key.replace('_', '-')}" for key in options]
    words += [str(value) for value in options.values() if value is not True]
    command = ["predict", str(tmp_path / "in.tif"), "-o", str(tmp_path / "out.tif"), *words]
    result = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    found = model.predict(volume, **options)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "out.tif"))


def test_predict_is_load_model_and_predict(tissue, model):
    section = tissue[0][0, :64, :80]
    found = sfseg.predict(section, device="cpu")
    assert found.shape == section.shape
    np.testing.assert_array_equal(found, model.predict(section[None])[0])


def test_lists_and_tensors_of_numbers_are_arrays_too(model):
    rows = [[0, 50, 100], [100, 50, 0]]
    expected = model.predict(np.array(rows))
    np.testing.assert_array_equal(model.predict(rows), expected)
    np.testing.assert_array_equal(model.predict(torch.tensor(rows)), expected)


def test_a_file_and_an_array_are_scored_alike(tissue, tmp_path):
    volume, labels = tissue
    sfseg.write_stack(tmp_path / "map.tif", volume)
    sfseg.write_stack(tmp_path / "labels.tif", labels)
    scores = sfseg.score_files(tmp_path / "map.tif", tmp_path / "labels.tif").scores
    assert scores == sfseg.score(volume, labels)


def test_files_are_predicted_with_options_by_their_names(tissue_files):
    out = tissue_files / "out.tif"
    result = sfseg.predict_file(
        tissue_files / "volume.tif", str(out), device="cpu", output="binary", threshold=0.4
    )
    assert result.shape == (4, 128, 160)
    assert sorted(np.unique(tifffile.imread(out))) == [0, 255]
    config = sfseg.PredictConfig(device="cpu", output="binary", threshold=0.4)
    again = sfseg.predict_file(tissue_files / "volume.tif", out, config, resume=True)
    assert again.resumed == again.tiles


# --- bad input


@pytest.mark.parametrize("function", ARRAYS)
def test_a_path_is_no_array(function):
    with pytest.raises(SfsegError, match="array") as caught:
        ARRAYS[function]("stack.tif")
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize("function", PATHS)
@pytest.mark.parametrize("value", [np.zeros((2, 2)), 3, None])
def test_an_array_is_no_path(function, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SfsegError, match="path") as caught:
        PATHS[function](value)
    assert "hint: " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", ARRAYS)
@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.zeros((1, 2, 3, 4)),
        np.zeros((0, 4, 4)),
        np.zeros((2, 2), complex),
        np.array(["a"]),
        np.array([object()]),
        [[1, 2], [3]],
        None,
    ],
    ids=["1-d", "4-d", "empty", "complex", "text", "objects", "ragged", "None"],
)
def test_what_is_no_stack_of_numbers_is_refused_in_a_sentence(function, array):
    with pytest.raises((StackError, ShapeMismatchError)) as caught:
        ARRAYS[function](array)
    assert "hint: " in str(caught.value)


def test_a_colour_image_is_refused(model):
    with pytest.raises(StackError, match="colour image"):
        model.predict(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_place(value, model):
    section = np.zeros((20, 30), np.float32)
    section[3, 4] = value
    with pytest.raises(NonFiniteError, match=r"row 3, column 4"):
        model.predict(section)
    with pytest.raises(NonFiniteError):
        sfseg.score(section, np.full((20, 30), 255, np.uint8))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: sfseg.load_model("nosuch"), UnknownNameError),
        (lambda: sfseg.load_model(device="gpu"), SfsegError),
        (lambda: sfseg.load_model(engine="tensorrt"), OptionError),
        (lambda: sfseg.predict_file("in.tif", "out.tif", tile=64), UnknownNameError),
        (lambda: sfseg.predict_file("in.tif", "out.png"), OptionError),
        (lambda: sfseg.predict_file("in.tif", "out.tif", tta="d5"), OptionError),
        (lambda: sfseg.train(out="runs/a", recipe="nosuch"), UnknownNameError),
        (lambda: sfseg.train(out="runs/a", arch="resnet"), UnknownNameError),
        (sfseg.train, OptionError),
        (lambda: sfseg.fetch("isbi2013"), UnknownNameError),
        (lambda: sfseg.fetch(3), UnknownNameError),
    ],
)
def test_unknown_names_and_options_are_refused(call, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        call()
    assert "hint: " in str(caught.value)
    assert list(tmp_path.iterdir()) == []
