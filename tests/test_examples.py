"""The examples run, each as a user would run it."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sfseg.cli import app
from sfseg.io import open_stack

EXAMPLES = Path(__file__).parents[1] / "examples"
DOCS = EXAMPLES.parent / "docs"
SCALED_DOWN = ("--epochs", "1", "--patch", "48")
"""What the tutorial's training is given besides, so that it takes seconds."""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a script in an empty folder, and return what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(script, argument):
        monkeypatch.setattr(sys, "argv", [script, str(argument)])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_predict_and_score_finds_the_membranes_of_the_sample(tmp_path):
    """In a process of its own, as a user starts it."""
    command = [sys.executable, "-W", "error", EXAMPLES / "predict_and_score.py", "out.tif"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = ran.stdout
    score = float(printed.splitlines()[-1].split()[1])
    assert score > 0.85
    with open_stack(tmp_path / "out.tif") as stack:
        assert stack.describe() == "3 sections of 256x256, float32, voxel 50x4x4 nm"


@pytest.mark.usefixtures("small_architectures")
def test_train_on_tissue_prints_its_epochs_and_the_weights(run, tmp_path):
    printed = run("train_on_tissue.py", tmp_path / "run").splitlines()
    assert [line.split(":")[0] for line in printed[:-1]] == ["epoch 1", "epoch 2"]
    assert Path(printed[-1]).is_file()


@pytest.mark.parametrize("name", ["volume", "labels"])
def test_the_sample_is_the_tissue_that_its_page_says(name):
    """On other platforms single pixels may differ by rounding, so a thousandth may."""
    from sfseg.datasets.synthetic import make_tissue

    expected = dict(zip(("volume", "labels"), make_tissue((3, 256, 256), seed=2), strict=True))
    with open_stack(EXAMPLES / "sample" / f"{name}.tif") as stack:
        assert (stack.read() != expected[name]).mean() < 1e-3


def test_make_pictures_draws_a_picture_that_is_small_enough_for_the_readme(run, tmp_path):
    run("make_pictures.py", tmp_path / "picture.png")
    assert 10_000 < (tmp_path / "picture.png").stat().st_size < 200_000


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_use_the_public_names_only(script):
    assert re.findall(r"^ *(?:from|import) sfseg.*$", script.read_text(), re.MULTILINE) == [
        "import sfseg"
    ]


def blocks_of(page):
    text = (DOCS / page).read_text()
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_block(block):
    """Run the lines of a block for a shell; return what each command prints, and what it says."""
    printed, said = [], []
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "python":
            command = [sys.executable, EXAMPLES.parent / arguments[0], *arguments[1:]]
            subprocess.run(command, check=True)
            continue
        if arguments[0] == "train":
            arguments += SCALED_DOWN
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        printed.append(result.stdout)
        said += result.stderr.splitlines()
    return printed, said


def v_rand(table):
    return float(re.search(r"^V_Rand +([\d.]+) ", table, re.MULTILINE)[1])


def test_the_tutorial_runs_from_its_first_line_to_its_last_and_finds_what_it_shows(
    tmp_path, monkeypatch
):
    """The scores before the training to a hundredth; the training itself is scaled down."""
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of("tutorial.md")
    shown = [text for language, text in blocks if language == "text"]
    before, pairs, _, after = shown
    printed, said = [], []
    for language, block in blocks:
        if language == "python":
            (tmp_path / "files.py").write_text(block)
            runpy.run_path("files.py")
        elif language == "sh":
            more, lines = run_block(block)
            printed += more
            said += lines
    tables = [text for text in printed if "V_Rand" in text]
    assert v_rand(tables[0]) == pytest.approx(v_rand(before), abs=0.01)
    assert len(tables) == 2
    assert v_rand(after) > v_rand(before)
    assert v_rand(tables[1]) > v_rand(tables[0]) + 0.05  # the scaled-down training: 0.86
    for line in pairs.splitlines():  # grey values may differ by rounding on other platforms
        start = line.split("; ")[0]
        assert any(heard.startswith(start) for heard in said), line


def test_the_tutorial_of_cells_runs_and_corrected_cells_are_better(tmp_path, monkeypatch):
    """On smaller stacks, so the numbers are others than on the page."""
    monkeypatch.chdir(tmp_path)
    printed = []
    for language, block in blocks_of("tutorial_cells.md"):
        if language == "python":
            assert "(8, 256, 256)" in block
            exec(block.replace("(8, 256, 256)", "(3, 128, 128)"), {})
        elif language == "sh":
            printed += run_block(block)[0]
    found = [re.search(r"^in 3D +([\d.]+) ", text, re.MULTILINE) for text in printed]
    before, corrected, *others = (float(voi[1]) for voi in found if voi)
    assert corrected < before - 0.02
    assert len(others) == 4
