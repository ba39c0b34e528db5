"""What the README shows is what the program does."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from sfseg.cli import app
from sfseg.config import PredictConfig
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_file
from sfseg.prediction.predictor import Predictor
from sfseg.scoring.score_files import score_files
from tests.forks import forked
from tests.processes import end

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS
    if language in {"sh", "console"}
    for line in block.splitlines()
    if line.removeprefix("$ ").startswith("sfseg ")
]


LINKS = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", README)
RESULTS = (ROOT / "docs" / "results.md").read_text()


def test_the_readme_has_at_most_150_lines():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_each_link_leads_to_a_file(link):
    assert (ROOT / link).is_file()


def test_the_readme_has_a_page_for_each_command():
    for command in typer.main.get_command(app).commands:
        assert f"[`sfseg {command}`](docs/commands/{command}.md)" in README


def test_the_table_of_networks_is_that_of_the_results():
    for arch in ("unet", "fusionnet", "sfnet"):
        row = re.search(rf"^\| {arch} \|.* M ", README, re.MULTILINE)[0]
        assert row in RESULTS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_shown_command_parses(command):
    group = typer.main.get_command(app)
    name, *arguments = shlex.split(command, comments=True)[1:]
    assert group.commands[name].make_context(name, arguments)


def test_the_python_block_runs_and_prints_a_score(tmp_path):
    (block,) = (text for language, text in BLOCKS if language == "python")
    with forked(exec, block, {}, cwd=tmp_path) as process:
        printed, said = end(process)
    assert process.returncode == 0, said
    assert 0.85 < float(printed) < 1


@pytest.mark.parametrize("name", ["run", "test"])
def test_ci_finds_its_lines(name):
    """`.ci/run` takes the one line of the block after the marker, as this does."""
    (block,) = re.findall(rf"<!-- ci: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert len(block.splitlines()) == 1
    assert block.startswith("python3 -m venv")


def test_the_score_that_the_first_line_is_said_to_print_is_the_one_it_prints(tmp_path):
    """To a hundredth: bf16 and float32 machines differ in the third digit."""
    said = float(re.search(r"^V_Rand +([\d.]+) ", README, re.MULTILINE)[1])
    sample = ROOT / "examples" / "sample"
    predict_file(sample / "volume.tif", tmp_path / "out.tif")
    scores = score_files(tmp_path / "out.tif", sample / "labels.tif").scores
    assert scores.v_rand == pytest.approx(said, abs=0.01)


def test_the_scores_of_the_shipped_weights_are_those_of_their_card():
    card = (ROOT / "sfseg" / "weights" / "sfnet-isbi2012.md").read_text()
    for way, phrase in (("one pass", "in one pass"), ("`--tta d4`", "with `--tta d4`")):
        row = re.compile(rf"^\| {way} \| (0\.\d{{4}}) ", re.MULTILINE)
        said = row.search(card)[1]
        assert said == row.search(RESULTS)[1]
        assert f"{said} {phrase}" in README


@pytest.mark.slow
def test_the_shipped_weights_reach_their_score_on_a_real_section(isbi):
    """Section 25, one pass: the card's value to a hundredth, whatever the arithmetic."""
    from sfseg.io import open_stack
    from sfseg.scoring.score import score

    card = (ROOT / "sfseg" / "weights" / "sfnet-isbi2012.md").read_text()
    said = float(re.search(r"^\| 25 \| ([\d.]+) ", card, re.MULTILINE)[1])
    threshold = float(re.search(r"one pass, threshold ([\d.]+)", card)[1])
    model = Model.load(PredictConfig())
    predictor = Predictor(model.engine, model.halo_px)
    with (
        open_stack(isbi / "train-volume.tif") as images,
        open_stack(isbi / "train-labels.tif") as labels,
    ):
        scores = score(predictor(images.section(24)), labels.section(24))
    found = next(
        row.v_rand for row in scores.per_threshold if abs(row.threshold - threshold) < 0.01
    )
    assert found == pytest.approx(said, abs=0.01)
