"""What all commands share: help, completion, errors before torch, lines for a log, data folders."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sfseg import models
from sfseg.cli import app
from sfseg.cli.failures import find_package
from sfseg.cli.progress import ProgressLines
from sfseg.recipes import DEFAULT, RECIPES

COMMANDS = ("fetch", "train", "predict", "segment", "view", "score", "measure", "compare", "bench")
pytestmark = pytest.mark.usefixtures("small_shipped")
TINY = ("--epochs", "1", "--patch", "32", "--batch-size", "12", "--precision", "float32")


def run(*arguments, **settings):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **settings)


@pytest.fixture
def updates(monkeypatch):
    """What the progress displays of `score` and `fetch` show."""
    shown = []

    @contextlib.contextmanager
    def record(_what):
        yield SimpleNamespace(update=lambda *now: shown.append(now))

    for module in ("score_maps", "fetch"):
        monkeypatch.setattr(f"sfseg.cli.{module}.progress", record)
    return shown


def test_the_overview_has_the_commands_in_order_and_whole_sentences():
    shown = run("--help", env={"COLUMNS": "80"}).stdout
    places = [shown.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_ends_with_examples_of_at_most_80_columns(command):
    shown = run(command, "--help", env={"COLUMNS": "80"}).stdout
    examples = shown.partition("\nExamples:\n")[2].splitlines()
    assert 2 <= len(examples) <= 4
    assert all(line.startswith("  sfseg ") for line in examples)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sfseg ", COMMANDS),
        ("sfseg train --arch ", tuple(models.ARCHITECTURES)),
        ("sfseg train --dataset is", ("isbi2012",)),
        ("sfseg train --recipe the", ("thesis", "thesis-piriform")),
        ("sfseg predict --tta ", ("none", "flips", "d4")),
        ("sfseg predict -m ", ("sfnet-isbi2012",)),
        ("sfseg compare --archs unet,s", ("unet,sfnet",)),
        ("sfseg fetch ti", ("tissue",)),
    ],
)
def test_the_shell_completes_commands_and_choices(line, expected):
    words = line.split()
    asked = {
        "_SFSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - (not line.endswith(" "))),
    }
    shown = CliRunner().invoke(app, env=asked, prog_name="sfseg").stdout.split()
    assert set(shown) == set(expected)


REFUSED = [
    ("predict missing.tif -o x.tif", 1),
    ("predict volume.tif -o x.tif --model nosuch", 2),
    ("predict volume.tif -o x.tif --device cuda:x", 2),
    ("predict volume.tif -o x.tif --nosuch", 2),
    ("predict volume.tif -o labels.tif", 1),
    ("predict volume.tif", 2),
    ("score missing.tif labels.tif", 1),
    ("measure missing.tif -o x.csv", 1),
    ("measure labels.tif", 2),
    ("measure labels.tif -o x.tif", 2),
    ("measure labels.tif -o x.csv --voxel-size 4", 2),
    ("train --arch resnet", 2),
    ("train --images missing.tif --labels labels.tif", 1),
    ("train --dataset nosuch", 2),
    ("train --recipe nosuch", 2),
    ("train --data-dir nosuch", 2),
    ("train --data-dir volume.tif", 1),
    ("train --init nosuch", 2),
    ("train --resume --out nosuch", 1),
    ("train --images volume.tif --labels labels.tif -o trained", 1),
    ("train --images volume.tif --labels labels.tif -o labels.tif", 1),
    ("train --init sfnet-isbi2012 -o trained", 1),
    ("train --init sfnet-isbi2012 --dataset nosuch", 2),
    ("predict volume.tif -o maps", 1),
    ("predict volume.tif -o volume.tif --overwrite", 1),
    ("predict volume.tif -o x.png", 2),
    ("predict volume.tif -o x.tif --dask local", 2),
    ("predict volume.tif -o x.zarr --dask node1", 2),
    ("segment volume.tif -o x.tif --dask node1", 2),
    ("score volume.tif labels.tif --dask local --workers 2", 2),
    ("predict volume.tif -o x.zarr --dask local --output segments", 2),
    ("predict volume.tif -o x.tif --preview x.jpg", 2),
    ("predict volume.tif -o x.tif --preview labels.tif", 2),
    ("view", 2),
    ("view missing.tif", 1),
    ("view volume.tif -o x.tif", 2),
    ("view volume.tif -o x.html --neuroglancer", 2),
    ("view volume.tif --sections 9", 2),
    ("compare --archs a,b", 2),
    ("compare --resume --out nosuch", 1),
    ("bench --arch a", 2),
    ("fetch nosuch", 2),
    ("fetch tissue --data-dir no/such", 2),
    ("fetch isbi2012 --noise 2", 2),
    ("nosuch", 2),
]
"""Lines that a command refuses, and the exit codes."""

REFUSE = """
import json, sys
from typer.testing import CliRunner
from sfseg.cli import app
found = {}
for line in json.load(sys.stdin):
    before = "torch" in sys.modules
    result = CliRunner().invoke(app, line.split())
    imported = "torch" in sys.modules and not before
    found[line] = (result.exit_code, result.stdout, result.stderr, imported)
print(json.dumps(found))
"""
"""Runs lines in one process, and tells what each printed and whether it imported torch."""


@pytest.fixture(scope="module")
def refusals(tissue_folder, tmp_path_factory):
    """What each of the lines came to, in a folder with a volume, labels and two outputs."""
    folder = shutil.copytree(tissue_folder, tmp_path_factory.mktemp("refused") / "tissue")
    for taken in ("trained/state.safetensors", "maps/volume.tif"):
        (folder / taken).parent.mkdir()
        (folder / taken).touch()
    lines = json.dumps([line for line, _ in REFUSED])
    environment = os.environ | {"SFSEG_CACHE": str(folder.parent / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE],
        input=lines,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


@pytest.mark.parametrize(("line", "code"), REFUSED)
def test_a_wrong_path_name_or_option_is_an_error_line_before_torch_is_imported(
    line, code, refusals
):
    found, stdout, stderr, imported_torch = refusals[line]
    assert found == code, stderr
    assert (stdout, imported_torch) == ("", False)
    assert stderr.startswith("error: ")
    assert "\nhint: " in stderr


def test_a_log_has_a_line_each_minute_with_what_how_far_and_the_time_left(capsys):
    now = [0.0]
    lines = ProgressLines("training", clock=lambda: now[0])
    waits = []

    def wait(seconds):
        waits.append(seconds)
        now[0] += seconds
        lines.update(len(waits) * 10, 40, f"epoch {len(waits)}")
        return len(waits) == 3

    assert lines.line() == "training: at work for 0 s"
    lines.keep_saying(wait)
    assert waits == [60, 60, 60]
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert shown[0].startswith("epoch 1: 25%, ")
    assert shown[1].startswith("epoch 2: 50%, ")
    assert shown[1].endswith(" left")


def test_a_log_estimates_the_time_left_where_the_work_does_not():
    now = [0.0]
    lines = ProgressLines("scoring", clock=lambda: now[0])
    lines.update(0, 4, "0 of 4 done")
    now[0] = 10.0
    assert lines.line() == "0 of 4 done: at work for 10 s"
    lines.update(1, 4, "1 of 4 done")
    assert lines.line() == "1 of 4 done: 25%, 30 s left"
    now[0] = 20.0
    assert lines.line() == "1 of 4 done: 25%, 20 s left"
    lines.update(1, 4, "a\nb.tif")
    assert lines.line() == r"a\nb.tif: 25%, 1:00 left"


def test_score_shows_how_many_sections_are_done(tissue_files, updates, monkeypatch):
    monkeypatch.chdir(tissue_files)
    assert run("score", "labels.tif", "labels.tif").exit_code == 0
    notes = [f"scoring labels.tif, {done} of 4 sections done" for done in range(5)]
    assert updates == [(done, 4, note) for done, note in enumerate(notes)]


def test_verify_shows_how_many_bytes_are_done(updates, tmp_path):
    assert run("fetch", "tissue", "--to", tmp_path).exit_code == 0
    updates.clear()
    assert run("fetch", "tissue", "--verify", "--to", tmp_path).exit_code == 0
    names = ("volume.tif", "labels.tif", "cells.tif")
    sizes = [(tmp_path / "tissue" / name).stat().st_size for name in names]
    assert updates == [
        (sum(sizes[:place]), sum(sizes), f"verifying {name}") for place, name in enumerate(names)
    ]


LONG_WORK = {
    "fetch": ("fetch", "tissue"),
    "train": ("train", "--images", "volume.tif", "--labels", "labels.tif", "-o", "run", *TINY),
    "predict": ("predict", "volume.tif", "-o", "map.tif", "--precision", "float32"),
    "view": ("view", "volume.tif", "labels.tif"),
    "segment": ("segment", "labels.tif", "-o", "cells.tif"),
    "score": ("score", "labels.tif", "labels.tif"),
    "measure": ("measure", "labels.tif", "-o", "cells.csv"),
    "compare": (
        "compare",
        "--dataset",
        "tissue",
        "--recipe",
        "quick",
        "--archs",
        "sfnet",
        "--seeds",
        "1",
    ),
    "bench": ("bench", "--arch", "sfnet", "--side", "64", "--repeats", "1"),
}
STARTS = {
    "fetch": "tissue: Synthetic neuropil",
    "train": "training sfnet on ",
    "predict": "predicting volume.tif with sfnet-isbi2012",
    "view": "volume.tif: an image (4 sections of 96x112",
    "segment": "segmenting labels.tif",
    "score": "scoring labels.tif against labels.tif",
    "measure": "measuring labels.tif",
    "compare": "comparing sfnet on tissue: 1 training run of ",
    "bench": "measuring predictions of sfnet",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_off_a_terminal_long_work_says_what_it_does_and_then_how_far_it_is(
    command, tissue_files, monkeypatch
):
    quick = DEFAULT.changed(epochs=1, patch_px=32, batch_size=12)
    monkeypatch.setattr("sfseg.recipes.RECIPES", {**RECIPES, "quick": quick})
    monkeypatch.chdir(tissue_files)
    monkeypatch.setattr("sfseg.cli.progress.LINE_EVERY_S", 0.001)
    monkeypatch.setattr("sfseg.system.machine.MATMUL_SIDES_ELSEWHERE", (64, 128))
    monkeypatch.setattr("sfseg.system.machine.COPY_BYTES", 2**20)
    monkeypatch.setattr("sfseg.benchmark.bench.SECTIONS", 1)
    monkeypatch.setattr("sfseg.prediction.engines.calibrate.MOST_LOSS", 1)  # of 64x64 pixels
    result = run(*LONG_WORK[command])
    assert result.exit_code == 0, result.output
    how_far = re.compile(r": (\d+%, .+ left|at work for .+)$")  # by another thread, at any time
    lines = result.stderr.splitlines()
    said = [line for line in lines if not how_far.search(line)]
    assert said[0].startswith(STARTS[command])
    assert len(said) < len(lines)


@pytest.mark.parametrize("compiler", ["/nowhere", "false"])
@pytest.mark.parametrize(
    "line",
    [
        "predict volume.tif -o x.tif --engine compile --precision float32",
        "train --images volume.tif --labels labels.tif --out run --compile",
    ],
)
def test_a_broken_compiler_is_an_error_line(line, compiler, tissue_files, monkeypatch):
    monkeypatch.chdir(tissue_files)
    monkeypatch.setenv("CXX", compiler)
    found = run(*line.split())
    assert found.exit_code == 1
    assert "error: CXX: the C++ compiler" in found.stderr
    assert "\nhint: " in found.stderr
    assert "Traceback" not in found.stderr


def test_segment_never_replaces_an_input(tissue_files):
    path = tissue_files / "labels.tif"
    before = path.read_bytes()
    known = tissue_files / "volume.tif", path
    for options in ((path,), (tissue_files / "volume.tif", "--learn-from", *known)):
        found = run("segment", *options, "-o", path, "--overwrite")
        assert found.exit_code == 1
        assert "this would overwrite" in found.stderr
    assert path.read_bytes() == before


def test_an_error_belongs_to_the_package_that_raised_it():
    import tifffile

    with pytest.raises(tifffile.TiffFileError) as caught:
        raise tifffile.TiffFileError("damaged")
    assert find_package(caught.value) == "tifffile"


def test_a_reader_of_stdout_that_has_left_and_a_full_disk_are_no_tracebacks(tissue_files):
    labels = tissue_files / "labels.tif"
    program = f"{sys.executable} -m sfseg score {labels} {labels}"
    for line, code in ((f"{program} | true", 0), (f"{program} > /dev/full", 1)):
        found = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False
        )
        assert found.returncode == code, found.stderr
        assert "Traceback" not in found.stderr
        assert "Exception ignored" not in found.stderr


def test_train_finds_what_fetch_fetched_and_resumes_with_its_folder_alone(tmp_path):
    data, out = tmp_path / "data", tmp_path / "run"
    assert run("fetch", "tissue", "--to", data).exit_code == 0
    assert (
        f"tissue is in {data / 'tissue'} already"
        in run("fetch", "tissue", "--data-dir", data).stderr
    )
    assert f"looked in {data}" in run("fetch", "--list", "--data-dir", data).stderr
    options = ("--dataset", "tissue", "--data-dir", data, "--out", out, *TINY)
    first = run("train", *options)
    assert first.exit_code == 0, first.output
    assert f"tissue is in {data / 'tissue'} already" in first.stderr
    again = run("train", "--resume", "--out", out)
    assert again.exit_code == 0, again.output
    assert "finished already" in again.stderr
    other = run("train", "--resume", "--out", out, "--seed", 7)
    assert other.exit_code == 1
    assert "seed: 0 -> 7" in other.stderr
