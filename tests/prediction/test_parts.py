"""Parts of one output: the bytes, what is refused, what a kill leaves."""

import contextlib
import json
import os
import random
import re
import signal
from functools import partial
from pkgutil import resolve_name

import pytest

pytest.importorskip("zarr")

from sfseg.config import PredictConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import OutputExistsError, ResumeError
from sfseg.io import hash_input, write_stack
from sfseg.io.zarr import writer
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.parts import finish_job
from sfseg.prediction.parts_folder import PartsFolder
from sfseg.prediction.predict import predict_file, predict_job
from tests.cli.children import signalled_command, small_command
from tests.cli.commands import fails, sfseg
from tests.forks import forked
from tests.processes import end

pytestmark = pytest.mark.usefixtures("small_shipped")
PLAIN = {"device": "cpu", "engine": "torch", "precision": "float32"}
FAST = tuple(word for name, value in PLAIN.items() for word in (f"--{name}", value))


@pytest.fixture
def volume(tmp_path):
    """Four sections."""
    write_stack(tmp_path / "volume.tif", make_tissue((4, 64, 70), seed=3)[0])
    return tmp_path / "volume.tif"


@pytest.fixture
def tiled(tmp_path):
    """Four sections that ``tile_px=48`` cuts into four tiles, which are no whole files."""
    write_stack(tmp_path / "tiled.tif", make_tissue((4, 210, 220), seed=3)[0])
    return tmp_path / "tiled.tif"


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    """Let a section have several files, and two levels."""
    monkeypatch.setattr(writer, "_CHUNK_PX", 32)
    monkeypatch.setattr(writer, "_SHARD_BYTES", 64 * 64 * 4)
    monkeypatch.setattr(writer, "_SMALLEST_PX", 60)


@pytest.fixture(scope="module")
def model(small_shipped):  # noqa: ARG001 - the order counts
    return Model.load(PredictConfig(**PLAIN))


def content(path):
    files = (inner for inner in sorted(path.rglob("*")) if inner.is_file())
    return {str(inner.relative_to(path)): inner.read_bytes() for inner in files}


def make(volume, out, model, **options):
    return predict_job(Job(str(volume), out), model, PredictConfig(**PLAIN, **options))


def finish(volume, out, **options):
    return finish_job(Job(str(volume), out), PredictConfig(**PLAIN, finish=True, **options))


@pytest.fixture
def whole(volume, tmp_path, model):
    """The output of one run."""
    make(volume, tmp_path / "one" / "out.zarr", model)
    return content(tmp_path / "one" / "out.zarr")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "parts" / "out.zarr"


def names(out):
    return sorted(path.name for path in out.parent.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "uint8", "multiscale": True, "tile_px": 48},
        {"output": "binary", "threshold": 0.4, "multiscale": True},
        {"close_gaps": True, "tile_px": 48},
    ],
    ids=["float32", "uint8-multiscale", "binary", "gaps"],
)
def test_parts_make_the_bytes_of_one_run(tiled, tmp_path, out, model, options):
    one = tmp_path / "one" / "out.zarr"
    alone = make(tiled, one, model, **options)
    for sections in ("3-4", "1,2"):
        result = make(tiled, out, model, sections=sections, **options)
        assert (result.shape[0], result.sections) == (2, sections.replace(",", "-"))
        assert not out.exists()
    together = finish(tiled, out, **options)
    assert hash_input(out) == hash_input(one)
    assert content(out) == content(one)
    assert names(out) == ["out.zarr", "out.zarr.json"]
    assert together.shape == alone.shape
    assert together.interior_share == pytest.approx(alone.interior_share, rel=1e-12)
    records = [json.loads((each.parent / "out.zarr.json").read_text()) for each in (out, one)]
    assert records[0]["identity"] == records[1]["identity"]
    assert records[0]["output"] == records[1]["output"] == {"sha256": hash_input(out)}
    assert [part["sections"] for part in records[0]["parts"]] == ["1-2", "3-4"]


def test_any_parts_in_any_order_stopped_anywhere_make_the_same_bytes(tiled, tmp_path, out, model):
    make(tiled, tmp_path / "one" / "out.zarr", model)
    draw, stops = random.Random(5), []
    for trial in range(4):
        again = {"overwrite": trial > 0}
        sections = [1, 2, 3, 4]
        draw.shuffle(sections)
        cut = draw.randint(1, 3)
        for part in (sections[:cut], sections[cut:]):
            options = {"sections": ",".join(map(str, part)), "resume": True, "tile_px": 48} | again
            stop_at, reports = draw.randint(0, 12), []

            def stop(record, stop_at=stop_at, reports=reports):
                reports.append(record)
                if len(reports) == stop_at:
                    raise KeyboardInterrupt

            config = PredictConfig(**PLAIN, **options)
            for report in (stop, lambda _: None):
                try:
                    predict_job(Job(str(tiled), out), model, config, report=report)
                except KeyboardInterrupt:
                    stops.append(trial)
        finish(tiled, out, tile_px=48, **again)
        assert content(out) == content(tmp_path / "one" / "out.zarr"), trial
    assert len(stops) > 2


@pytest.mark.slow
def test_processes_at_the_same_time_fill_one_store_and_a_killed_one_is_resumed(
    tiled, out, model, small_weights, tmp_path, monkeypatch
):
    monkeypatch.undo()  # the processes make larger files
    command = ("predict", tiled, "-o", out, *FAST, "--tile", 48, "--model", small_weights)
    parts = [(*command, "--resume", "--sections", name) for name in ("1-2", "3", "4")]
    with contextlib.ExitStack() as stack:
        killed, *others = (
            stack.enter_context(forked(child, *arguments, cwd=tmp_path))
            for child, arguments in (
                (partial(signalled_command, signal.SIGTERM), parts[0]),
                (small_command, parts[1]),
                (small_command, parts[2]),
            )
        )
        said = [end(child) for child in (killed, *others)]
    assert [child.returncode for child in (killed, *others)] == [143, 0, 0], said
    assert "finished tiles are kept" in said[0][1]
    assert [stdout for stdout, _ in said] == ["", "", ""]
    error = fails(*command, "--finish")
    assert (
        "out.zarr: sections 1-2 are missing\nhint: run the same command with --sections 1-2 "
        in error
    )
    resumed = sfseg(*parts[0], "--json")
    (facts,) = json.loads(resumed.stdout)
    assert 0 < facts["resumed"] < facts["pieces"] == 8
    done = sfseg(*command, "--finish")
    assert (done.exit_code, done.stdout) == (0, f"{out}\n"), done.output
    make(tiled, tmp_path / "one" / "out.zarr", model)
    assert names(out) == ["out.zarr", "out.zarr.json"]
    assert content(out) == content(tmp_path / "one" / "out.zarr")


def test_finish_names_what_is_missing_and_its_hint_makes_it(volume, out, model, whole):
    assert "there are no parts" in fails("predict", volume, "-o", out, *FAST, "--finish")
    stop(volume, out, model, "2-3")
    make(volume, out, model, sections="4")
    error = fails("predict", volume, "-o", out, *FAST, "--finish")
    assert "out.zarr: sections 1-3 are missing\n" in error
    commands = re.findall(r"--sections [\d-]+(?: --resume)?", error)
    assert commands == ["--sections 2-3 --resume", "--sections 1"]
    for options in (*commands, "--finish"):
        assert sfseg("predict", volume, "-o", out, *FAST, *options.split()).exit_code == 0
    assert content(out) == whole


def stop(volume, out, model, sections):
    """Start a part, and stop it after its first tile."""

    def report(record):
        if record.done:
            raise KeyboardInterrupt

    config = PredictConfig(**PLAIN, sections=sections)
    with pytest.raises(KeyboardInterrupt):
        predict_job(Job(str(volume), out), model, config, report=report)


def test_parts_of_other_options_or_input_are_refused_and_named(volume, out, model):
    make(volume, out, model, sections="1-2")
    with pytest.raises(ResumeError, match=r'options.tta: "none" -> "flips"'):
        make(volume, out, model, sections="3-4", tta="flips")
    with pytest.raises(ResumeError, match=r'options.dtype: "float32" -> "uint8"'):
        finish(volume, out, dtype="uint8")
    os.utime(volume, (1, 1))
    with pytest.raises(ResumeError, match=r"input\.stamp"):
        make(volume, out, model, sections="3-4")
    assert names(out.with_suffix(".zarr.parts") / "x") == ["1-2.json", "identity.json", "store"]


def test_a_part_is_made_by_one_process_and_no_section_by_two_parts(volume, out, model, whole):
    stop(volume, out, model, "1-2")
    with PartsFolder(out).hold("1-2"):
        with pytest.raises(OutputExistsError, match="sections 1-2: another run is writing"):
            make(volume, out, model, sections="1,2")
        with pytest.raises(ResumeError, match=r"sections 1-4 are missing\n.* 1-2 is still running"):
            finish(volume, out)
    with pytest.raises(OutputExistsError, match="the part of sections 1-2 has some") as refused:
        make(volume, out, model, sections="2-4")
    assert refused.value.hint == "--sections 3-4"
    make(volume, out, model, sections="3-4")
    with pytest.raises(OutputExistsError, match="--sections 3: the part of sections 3-4 has them"):
        make(volume, out, model, sections="3")
    with pytest.raises(OutputExistsError, match="sections 3-4 are made already"):
        make(volume, out, model, sections="3-4")
    again = make(volume, out, model, sections="3-4", resume=True)
    assert (again.resumed, again.tiles, again.shape[0]) == (2, 2, 2)
    make(volume, out, model, sections="1-2", resume=True)
    finish(volume, out)
    assert content(out) == whole


def test_parts_and_whole_runs_of_one_output_refuse_each_other(volume, out, model, whole):
    make(volume, out, model, sections="1-3")
    with pytest.raises(OutputExistsError, match=r"parts of this output .*\n.*--finish"):
        make(volume, out, model, overwrite=True)
    make(volume, out, model, sections="4")
    finish(volume, out)
    with pytest.raises(OutputExistsError, match="exists already"):
        make(volume, out, model, sections="1")
    assert finish(volume, out).resumed == 4  # an array job may run it twice
    with pytest.raises(OutputExistsError, match="there are no parts of it"):
        finish(volume, out, dtype="uint8")
    assert make(volume, out, model, resume=True).resumed == 4  # its record is that of one run
    assert content(out) == whole


STEPS = (
    "sfseg.prediction.parts_folder.PartsFolder.hash",
    "sfseg.system.files.publish",
    "sfseg.prediction.parts_folder.write_record",
    "sfseg.system.files.remove",
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_finish_stopped_at_any_step_is_done_by_the_next_one(volume, out, model, whole, step, after):
    make(volume, out, model, sections="1-4")
    with pytest.MonkeyPatch.context() as patch:
        module, _, name = step.rpartition(".")
        owner = resolve_name(module)
        real = getattr(owner, name)

        def stopped(*arguments, **options):
            if after:
                real(*arguments, **options)
            raise KeyboardInterrupt

        patch.setattr(owner, name, stopped)
        with contextlib.suppress(KeyboardInterrupt):
            finish(volume, out)
    finish(volume, out)
    assert content(out) == whole
    assert names(out) == ["out.zarr", "out.zarr.json"]


def test_a_part_whose_files_are_gone_is_missing_and_is_made_again(volume, out, model, whole):
    for sections in ("1-2", "3-4"):
        make(volume, out, model, sections=sections)
    (PartsFolder(out).store / "0" / "c" / "2" / "0" / "0").unlink()
    said = []
    with pytest.raises(ResumeError, match="sections 3-4 are missing"):
        finish_job(Job(str(volume), out), PredictConfig(**PLAIN, finish=True), say=said.append)
    assert "1 file of sections 3-4 is gone" in said[-1]
    make(volume, out, model, sections="3-4")
    ticket = PartsFolder(out).store / "killed.part"  # as a process leaves it that was killed
    ticket.mkdir()
    (ticket / "0.c.1.0.0.part").write_bytes(b"half")
    finish(volume, out)
    assert content(out) == whole


@pytest.mark.parametrize(
    ("options", "reason", "hint"),
    [
        (("-o", "o.tif", "--sections", "1"), "only a .zarr", "-o o.zarr"),
        (("-o", "o.mrc", "--finish"), "only a .zarr", "-o o.zarr"),
        (("-o", "o.zarr", "--sections", 1, "--output", "cells"), "go on from section", "segment"),
        (("-o", "o.zarr", "--sections", 1, "--output", "segments"), "go on from", "segment"),
        (("-o", "o.zarr", "--sections", 1, "--finish"), "for all sections", "leave --sections"),
        (("-o", "o.zarr", "--sections", "3-9"), "not within the stack", "from 1 to 4"),
        (("-o", "o.zarr", "--sections", "1", "--preview", "p.png"), "picture", "--finish"),
    ],
)
def test_what_cannot_be_made_in_parts_is_refused_with_a_hint(
    volume, tmp_path, monkeypatch, options, reason, hint
):
    monkeypatch.chdir(tmp_path)
    result = sfseg("predict", volume, *options, *FAST)
    assert result.exit_code in (1, 2)
    error, _, found = result.stderr.partition("\nhint: ")
    assert reason in error
    assert hint in found
    assert not list(tmp_path.glob("o.*"))


def test_from_python_parts_are_made_as_by_the_command(volume, out, whole):
    for options in ({"sections": "1-3"}, {"sections": "4"}, {"finish": True}):
        predict_file(volume, out, **PLAIN, **options)
    assert content(out) == whole
