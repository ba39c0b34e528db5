"""The page of a training run: what it shows, that it never costs the run, and its age."""

import dataclasses
import re
import threading
import time
from html import unescape

import numpy as np
import pytest

from sfseg import models
from sfseg.config import TrainConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import NonFiniteError, OutputExistsError
from sfseg.io import write_stack
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.recipes import DEFAULT
from sfseg.report import page as pages
from sfseg.training import checkpointing, live_page, trainer
from sfseg.training.run_folder import PAGE
from sfseg.training.samples import MOMENTS, SIDE, Sample, choose_crops, thin
from sfseg.training.section import Section
from sfseg.training.shipped import score_shipped
from sfseg.training.train import StepRecord, train
from tests.networks import Small

TINY = dataclasses.replace(DEFAULT, patch_px=32, visits=2, batch_size=2, epochs=3)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def _small_and_plain():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "ARCHITECTURES", {**models.ARCHITECTURES, "small": Small})
        patched.setattr(checkpointing.curves, "write_curves", lambda path, _: path.touch())
        yield


@pytest.fixture
def config(tmp_path):
    """Train on two sections, hold one out; the names are hostile."""
    folder = tmp_path / f"{HOSTILE}".replace("/", "")
    for name, stack in zip(("volume", "labels"), make_tissue((3, 48, 48), seed=3), strict=True):
        write_stack(folder / f"{name}.tif", stack, voxel_size_nm=(50, 4, 4))
    return TrainConfig(
        out=folder / "run",
        arch="small",
        recipe=TINY,
        images=str(folder / "volume.tif"),
        labels=str(folder / "labels.tif"),
        validation="1",
        precision="float32",
        save_every_s=3600,
    )


def read(config):
    return (config.out / PAGE).read_text(encoding="utf-8")


def rows_of(page, heading):
    """Read the cells of the rows of a table, by its id."""
    table = page.split(f'aria-labelledby="{heading}"')[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t", row)] for row in rows]


def stop_after(steps):
    stop = threading.Event()

    def report(record):
        if isinstance(record, StepRecord) and record.step == steps:
            stop.set()

    return {"report": report, "stop": stop}


def outcome_of(page):
    return re.search(r'data-outcome="(\w+)"', page)[1]


def test_the_page_has_the_numbers_of_the_history_and_the_map_after_every_epoch(config):
    result = train(config)
    page = read(config)
    assert outcome_of(page) == "finished"
    assert 'http-equiv="refresh"' not in page
    rows = rows_of(page, "epochs")
    assert [row[1:5] for row in rows] == [
        [f"{value:.4f}" for value in (r.loss, r.v_rand, r.v_info, r.dice)]
        for r in reversed(result.history)
    ]
    assert [row[0] for row in rows if "(kept)" in row[0]] == [f"{result.kept.epoch} (kept)"]
    assert f"<strong>{result.kept.v_rand:.4f}</strong> best V_Rand" in page
    shown = re.findall(r'alt="([^,]+), section 1, 48 x 48 px \(0.19 x 0.19 µm\)', page)
    assert [name.removesuffix(" (kept)") for name in shown] == [
        "image", "truth", "epoch 1", "epoch 2", "epoch 3",
    ]  # fmt: skip


def test_names_stay_text(config):
    train(config)
    page = read(config)
    assert HOSTILE not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 2  # the files and the folder


def test_a_resumed_run_has_the_history_and_the_pictures_of_both_parts(config):
    train(config, **stop_after(3))
    page = read(config)
    assert outcome_of(page) == "stopped"
    assert "train --resume --out" in page
    assert len(rows_of(page, "epochs")) == 1
    first = re.search(r'src="([^"]+)" alt="epoch 1', page)[1]
    train(dataclasses.replace(config, resume=True))
    page = read(config)
    assert [row[0].split()[0] for row in rows_of(page, "epochs")] == ["3", "2", "1"]
    assert re.search(r'src="([^"]+)" alt="epoch 1', page)[1] == first
    assert 'alt="epoch 3' in page


def test_a_page_that_cannot_be_written_is_one_warning_and_not_the_end(config):
    (config.out / PAGE / "in the way").mkdir(parents=True)
    (config.out / "config.json").write_text('{"asked": 1, "resolved": 1}')
    said = []
    result = train(config, say=said.append)
    assert result.finished
    warnings = [line for line in said if line.startswith("warning: the page")]
    assert len(warnings) == 1
    assert PAGE in warnings[0]


def test_a_page_with_a_fault_is_a_warning_too(config, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(pages, "render", fail)
    said = []
    assert train(config, say=said.append).finished
    assert "warning: the page is not up to date: ZeroDivisionError()" in said


def test_the_page_does_not_change_the_weights(config, monkeypatch):
    weights = []
    for name, write in (("with", None), ("without", lambda *_: None)):
        if write:
            monkeypatch.setattr(live_page.LivePage, "write", write)
        out = config.out.with_name(name)
        train(dataclasses.replace(config, out=out))
        weights.append((out / WEIGHTS_NAME).read_bytes())
    assert weights[0] == weights[1]


def test_a_running_training_loads_its_page_again_and_says_what_is_left(config, monkeypatch):
    monkeypatch.setattr(live_page, "SHARE", 1e9)  # as often as it can
    pages_seen = []

    def look(record):
        if isinstance(record, StepRecord):
            pages_seen.append(read(config))

    train(config, report=look)
    assert outcome_of(pages_seen[0]) == "running"
    assert '<meta http-equiv="refresh"' in pages_seen[0]
    assert any("left." in page for page in pages_seen)


def test_a_run_that_fails_says_why(config, monkeypatch):
    def fail(*_):
        raise NonFiniteError(f"{HOSTILE} is no number")

    monkeypatch.setattr(trainer.Trainer, "finish_epoch", fail)
    with pytest.raises(NonFiniteError):
        train(config)
    page = read(config)
    assert outcome_of(page) == "failed"
    assert "is no number" in page
    assert HOSTILE not in page


def test_a_finished_run_without_a_page_gets_it_again(config):
    train(config)
    (config.out / PAGE).write_text('data-outcome="running"')
    train(dataclasses.replace(config, resume=True))
    assert outcome_of(read(config)) == "finished"
    assert len(rows_of(read(config), "epochs")) == 3


def test_a_page_of_somebody_else_is_not_overwritten(config):
    config.out.mkdir()
    (config.out / PAGE).write_text("mine")
    with pytest.raises(OutputExistsError, match=PAGE):
        train(config)
    assert read(config) == "mine"


def test_without_held_out_sections_there_are_curves_and_no_pictures(config):
    train(dataclasses.replace(config, validation="none"))
    page = read(config)
    assert "none: no scores, no pictures" in page
    assert "<img" not in page
    assert len(re.findall("<figure", page)) == 2


def test_warnings_of_the_run_are_on_the_page(config):
    train(dataclasses.replace(config, invert_image=True))
    assert "leave --invert-image out" in read(config)


def test_the_shipped_weights_are_scored_once_and_stand_beside_the_run(config, monkeypatch):
    calls = []

    def score(*arguments):
        calls.append(score_shipped(*arguments))
        return calls[-1]

    monkeypatch.setattr(trainer, "score_shipped", score)
    train(config, **stop_after(1))
    train(dataclasses.replace(config, resume=True))
    (shipped,) = calls
    page = read(config)
    name = "the shipped weights sfnet-isbi2012"
    assert rows_of(page, "gain")[-1] == [
        name, *(f"{shipped.scores[score]:.4f}" for score in ("v_rand", "v_info", "dice")),
    ]  # fmt: skip
    assert f"not above {name}" in page  # after a few steps
    assert "So far they serve you better" in page
    assert 'alt="shipped, section 1' in page


def test_crops_lie_in_tissue_far_from_each_other():
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (300, 300), np.uint8)
    labels = np.where(rng.random((300, 300)) < 0.2, np.uint8(0), np.uint8(255))
    known = np.ones((300, 300), bool)
    known[:, :SIDE] = False
    section = Section(image, labels, known)
    crops = choose_crops([section] * 7)
    assert [crop.index for crop in crops] == [0, 2, 4]
    assert all(crop.columns.start >= SIDE and crop.shape == (SIDE, SIDE) for crop in crops)
    alone = choose_crops([section])
    assert len({(crop.rows.start, crop.columns.start) for crop in alone}) == 3
    (small,) = choose_crops([Section(image[:40, :50], labels[:40, :50])])
    assert small.shape == (40, 50)


def test_samples_are_thinned_while_the_run_goes_on_and_the_kept_one_stays():
    samples = []
    for epoch in range(1, 73):
        samples = thin([*samples, Sample(epoch, [])], 30 if epoch >= 30 else None)
    epochs = [sample.epoch for sample in samples]
    assert len(epochs) == MOMENTS
    assert epochs[0] == 1
    assert epochs[-1] == 72
    assert 30 in epochs


def test_writing_the_page_takes_at_most_a_hundredth_of_the_time(config, monkeypatch):
    """As long as it takes, it is not written again before a hundred times as long has passed."""
    assert live_page.SHARE == 0.01
    monkeypatch.setattr(live_page, "SHARE", 1e-4)  # the training takes less than 500 s
    written = []

    def write_slowly(_, outcome, __):
        time.sleep(0.05)
        written.append(outcome)

    monkeypatch.setattr("sfseg.training.page.RunPage.write_page", write_slowly)
    train(config)
    assert written == ["running", "finished"]
