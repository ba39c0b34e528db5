"""The pages of a training run and of a comparison, in a browser."""

import base64
import math
import time

import numpy as np
import pytest

from sfseg.report import train_page
from sfseg.report.compare_page import ComparisonFacts, Group, RunLine, write_compare_page
from sfseg.report.status import Status
from sfseg.report.thumbnails import encode_image, encode_probability
from sfseg.report.train_page import (
    Picture,
    Rival,
    Strip,
    TrainingFacts,
    describe_gain,
    find_rivals,
    write_train_page,
)

HOSTILE = '</title></script><script>window.hit = 1</script>"><img src=x onerror="window.hit = 1">'
LONG = "a_very_long_name_without_any_space_in_it/" * 5
SCORES = {"v_rand": 0.5, "v_info": 0.6, "dice": 0.7}
PIXELS = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)


def status(outcome="running", *, age_s=0.0):
    return Status(outcome, HOSTILE, 3, 9, LONG, time.time() - age_s)


def row(epoch, v_rand=0.5):
    scores = {**SCORES, "v_rand": v_rand, "v_rand_threshold": 0.5}
    return {"epoch": epoch, "loss": 1 / epoch, "learning_rate": 1e-3, "seconds": 60.0, **scores}


def training_facts(**changes):
    facts = {
        "title": HOSTILE,
        "data": LONG,
        "status": status(),
        "history": [row(1), row(2, 0.9), row(3, 0.8)],
        "rates": [1e-3] * 5,
        "kept_epoch": 2,
        "start": Rival(HOSTILE, SCORES),
        "shipped": Rival(LONG, SCORES),
        "shipped_note": HOSTILE,
        "strips": [Strip(HOSTILE, [Picture(LONG, encode_probability(PIXELS))] * 11)],
        "warnings": [HOSTILE, LONG],
        "settings": {HOSTILE: {HOSTILE: LONG, LONG: HOSTILE}},
    }
    return TrainingFacts(**facts | changes)


def comparison_facts(**changes):
    groups = [Group((0.8, 0.9), 0.85, 0.07, 0.95), Group((0.7,), 0.7, None, None)]
    facts = {
        "title": HOSTILE,
        "budget": LONG,
        "protocol": HOSTILE,
        "notes": [HOSTILE, LONG],
        "status": status(),
        "headings": ["", *["score"] * 9],
        "rows": [(False, [HOSTILE, *["0.9000 ± 0.1000"] * 9]), (True, [LONG, *["0.9"] * 9])],
        "names": ["a", HOSTILE],
        "panels": {"V_Rand": groups, "Dice": groups},
        "costs": [(1.0, 2.0), (3.0, 4.0)],
        "losses": {HOSTILE: {HOSTILE: [1.0, 0.5], "b": [math.nan, 0.4]}, "not begun": {}},
        "run_headings": ["score"] * 6,
        "runs": [
            RunLine("a", "finished", "a/report.html", ["0.9"] * 6),
            RunLine(LONG, "x", "", ()),
        ],
    }
    return ComparisonFacts(**facts | changes)


WRITERS = {
    "train": (write_train_page, training_facts),
    "compare": (write_compare_page, comparison_facts),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_page_runs_no_name_and_does_not_overflow_a_phone(kind, visitor, tmp_path):
    write, facts = WRITERS[kind]
    write(tmp_path / "page.html", facts())
    visitor.resize(390)
    visitor.open(tmp_path / "page.html")
    assert visitor.errors() == []
    assert visitor.run("return window.hit") is None
    assert visitor.find_all("[onerror]") == []
    assert visitor.run("return document.documentElement.scrollWidth") <= 390
    assert HOSTILE in visitor.text("h1")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_page_is_accessible(kind, theme, visitor, tmp_path):
    write, facts = WRITERS[kind]
    write(tmp_path / "page.html", facts())
    visitor.set_theme(theme)
    visitor.open(tmp_path / "page.html")
    assert visitor.audit() == {}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_run_that_was_killed_does_not_look_as_if_it_ran(kind, visitor, tmp_path):
    write, facts = WRITERS[kind]
    write(tmp_path / "page.html", facts())
    visitor.open(tmp_path / "page.html")
    assert visitor.text("#age").startswith("Written on")
    assert visitor.find_all(".silent") == []
    write(tmp_path / "page.html", facts(status=status(age_s=1000)))
    visitor.open(tmp_path / "page.html")
    assert visitor.text("#age").startswith("No news: this page was written 17 minutes ago.")
    assert visitor.find_all(".silent")


def test_a_page_is_loaded_again_while_its_box_is_checked(visitor, tmp_path, monkeypatch):
    monkeypatch.setattr(train_page, "REFRESH_S", 0.3)
    path = tmp_path / "page.html"
    write_train_page(path, training_facts(title="first"))
    visitor.open(path)
    write_train_page(path, training_facts(title="second"))
    wait_until(lambda: "second" in visitor.driver.title)
    visitor.run("document.querySelector('#renew').click(); window.isSame = true")
    time.sleep(1)
    assert visitor.run("return window.isSame")
    visitor.run("sessionStorage.clear()")  # the other pages have the same origin


def wait_until(is_true, seconds=10):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("outcome", ["finished", "stopped", "failed"])
def test_only_a_run_that_goes_on_is_loaded_again(kind, outcome, tmp_path):
    write, facts = WRITERS[kind]
    path = tmp_path / "page.html"
    write(path, facts(status=status(outcome)))
    assert 'http-equiv="refresh"' not in path.read_text(encoding="utf-8")
    assert (LONG in path.read_text(encoding="utf-8").split("To continue:")[-1][:999]) == (
        outcome != "finished"
    )


def test_before_anything_is_done_there_is_a_page(tmp_path):
    nothing = {"history": [], "kept_epoch": None, "strips": [], "start": None, "shipped": None}
    write_train_page(tmp_path / "train.html", training_facts(**nothing))
    nothing = {"rows": [], "names": [], "panels": {}, "costs": [], "losses": {}, "notes": []}
    write_compare_page(tmp_path / "compare.html", comparison_facts(**nothing))
    for name in ("train", "compare"):
        assert "<svg" not in (tmp_path / f"{name}.html").read_text(encoding="utf-8")


def test_the_gain_is_measured_against_the_shipped_weights_else_the_start():
    ours = {"shipped": Rival("theirs", {**SCORES, "v_rand": 0.95})}
    assert describe_gain(training_facts(**ours)).endswith(
        "V_Rand 0.9000 on the held-out sections, not above theirs with 0.9500."
    )
    alone = training_facts(shipped=None, start=Rival("the start", SCORES))
    assert describe_gain(alone).endswith(
        "0.9000 on the held-out sections, above the start with 0.5000."
    )
    assert [rival.name for rival in find_rivals(alone)] == [
        "the start",
        "epoch 2, whose weights are kept",
        "epoch 3, the last so far",
    ]
    assert describe_gain(training_facts(shipped=None, start=None)) == ""


def test_pictures_are_small_and_keep_black_and_white():
    import imagecodecs

    for picture in (
        encode_probability(PIXELS),
        encode_image((PIXELS * 4000 + 100).astype(np.uint16)),
    ):
        found = imagecodecs.jpeg8_decode(base64.b64decode(picture))
        assert found.shape == (64, 64)
        assert found.min() < 5
        assert found.max() > 250
    flat = imagecodecs.jpeg8_decode(base64.b64decode(encode_image(np.full((8, 8), 7))))
    assert np.ptp(flat) == 0
