"""What is drawn on a terminal fits its width, and curves are what they say."""

import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from sfseg.cli.live import ASCII_BLOCKS, BLOCKS, Curve, Display, Trace, draw_curves, draw_sparkline
from sfseg.cli.progress import ProgressLines, progress
from sfseg.cli.train_report import Course
from sfseg.training.progress import EpochRecord, StepRecord

NOTES = (
    "12/15 fusionnet-fold2-seed0: epoch 12/72",
    "a long folder/切片 of the hippocampus, aligned twice.tif 128/4096",
    "scoring out.tif, 4 of 30 sections done",
)
CURVES = (
    Curve("loss", "0.5312", [1 / n for n in range(1, 90)]),
    Curve("lr", "1.0e-03"),
    Curve("best V_Rand", "0.9712", [0.2, 0.9, 0.8]),
)


def drawn(width, note, encoding="utf-8"):
    """The lines of a display without colours."""
    display, stream = Display(note), io.TextIOWrapper(io.BytesIO(), encoding)
    display.done, display.total, display.left, display.curves = 3, 10, "1:02:03 left", CURVES
    Console(file=stream, width=width, force_terminal=True, no_color=True).print(display)
    stream.seek(0)
    return [line.rstrip() for line in stream.read().replace("\x1b[0m", "").splitlines()]


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_two_lines_fit_the_terminal_with_all_numbers_and_the_time_left(width, note):
    first, second = drawn(width, note)
    assert max(cell_len(first), cell_len(second)) < width
    assert first.endswith(f"{note[-9:]} 1:02:03 left")
    assert first.startswith("━")
    assert ("…" in first) == (cell_len(note) > width - 19)
    for curve in CURVES:
        assert curve.name in second
        assert f" {curve.now}" in second


def test_a_terminal_without_unicode_gets_ascii():
    first, second = drawn(60, NOTES[1].replace("切片", "sections"), "ascii")
    assert f"{first}{second}".isascii()
    assert "..." in first


def test_curves_take_the_room_that_the_numbers_leave():
    assert draw_curves(CURVES, 1000).count(BLOCKS[0]) > 10
    line = draw_curves(CURVES, 80)
    assert line.startswith("loss █")
    assert line.endswith("best V_Rand ▁█▇ 0.9712")
    assert draw_curves(CURVES, 20) == "loss 0.5312  lr 1.0e-03  best V_Rand 0.9712"


@pytest.mark.parametrize(
    ("values", "width", "blocks", "expected"),
    [
        (range(8), 8, BLOCKS, BLOCKS),
        (range(8), 8, ASCII_BLOCKS, ASCII_BLOCKS),
        (range(80), 8, BLOCKS, BLOCKS),
        ([5, 5, 5], 8, BLOCKS, "▁▁▁"),
        ([2, math.nan, 1], 8, BLOCKS, "█ ▁"),
        ([math.inf, math.nan], 8, BLOCKS, "  "),
        ([1, 2], 0, BLOCKS, ""),
        ([], 8, BLOCKS, ""),
    ],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(values, width, blocks, expected):
    assert draw_sparkline(values, width, blocks) == expected


def test_a_trace_of_many_values_keeps_few_and_their_course():
    trace = Trace()
    for value in range(10_000):
        trace.add(value)
    assert 64 <= len(trace.values) < 128
    assert trace.values[0] == pytest.approx(63.5)  # the mean of the first 128
    assert trace.values == sorted(trace.values)


def test_a_log_gets_the_last_numbers_and_no_curves():
    lines, course = ProgressLines("training", clock=lambda: 0.0), Course()
    for step, best in ((1, None), (2, 0.5)):
        course.show_step(lines, StepRecord(1, 2, step, 4, 0.7, 1e-3, best, 30.0))
        course.add_epoch(EpochRecord(1, 0.7, 1e-3, 1.0, v_rand=0.5))
    line = "epoch 1/2 loss 0.7000 lr 1.0e-03 best V_Rand 0.5000: 50%, 30 s left"
    assert lines.line() == line


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setattr("sfseg.cli.progress.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "dumb")
    with progress("scoring") as display:
        assert type(display) is ProgressLines
