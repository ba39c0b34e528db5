"""The page of `sfseg score` of cells: its pictures and numbers, and what a person does there."""

import json

import numpy as np
import pytest

from sfseg import open_stack, write_stack
from sfseg.report.cells_page import CellColours, JudgedCells, make_cells_browser, rank_sections
from sfseg.report.colours import CELLS
from sfseg.report.paint import number_colours
from sfseg.scoring.cell_drawing import draw_cell_errors
from sfseg.scoring.cell_files import open_cells
from tests.cli.commands import fails, sfseg

HOSTILE = "<img src=x onerror=alert(1)>.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen true cells in four sections, and two files of cells; one name is hostile.

    Cell 1 is another one in section 4, 15 and 16 are one, and 6 is cut in section 2.
    """
    folder = tmp_path_factory.mktemp("cells")
    tiles = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((24, 24), int))
    truth = np.repeat(tiles[None], 4, 0)
    cells = truth + 100
    cells[3][truth[3] == 1] = 99
    cells[truth == 16] = 115
    cells[1, 24:48, 40:48] = 90
    truth[3, :24, 72:] = 500  # not labelled
    noise = np.random.default_rng(0).integers(0, 256, truth.shape, np.uint8)
    write_stack(folder / "truth.tif", truth.astype(np.uint16), voxel_size_nm=(40, 8, 8))
    write_stack(folder / "poor.tif", (cells // 2).astype(np.uint32))
    write_stack(folder / HOSTILE, cells.astype(np.uint32))
    write_stack(folder / "volume.tif", noise)
    return folder


def score(folder, *names, options=()):
    files = [folder / name for name in (*names, "truth.tif")]
    result = sfseg("score", *files, "--json", "--ignore", 500, *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def scored(folder):
    """The page of one file, and the facts of the command."""
    page = folder / "one.html"
    options = "--report", page, "--image", folder / "volume.tif"
    return page, score(folder, HOSTILE, options=options)


@pytest.fixture(scope="module")
def compared(folder):
    """The page of two files without grey values, and the facts of the command."""
    page = folder / "two.html"
    return page, score(folder, HOSTILE, "poor.tif", options=["--report", page])


@pytest.fixture(scope="module")
def judged(folder):
    """The files, open, and their scores."""
    with open_cells(folder / HOSTILE, folder / "truth.tif", ignore=500) as opened:
        yield JudgedCells(opened, opened.score())


def test_all_parts_of_an_error_but_the_largest_are_drawn(judged):
    sections = list(judged.opened.pair)
    assert {error.kind for error in judged.scores.errors} == {"merge", "split"}
    for error in judged.scores.errors:
        drawn = [draw_cell_errors(section, [error]) for section in sections]
        value = 3 if error.kind == "merge" else 4
        assert sum(np.count_nonzero(one == value) for one in drawn) == error.pixels
    assert (draw_cell_errors(sections[3], ())[:24, 72:] == 5).all()


def test_errors_are_written_as_a_picture_of_the_whole_stack(folder, tmp_path):
    picture = tmp_path / "errors.tif"
    score(folder, HOSTILE, options=["--errors", picture, "--sections", "2-4"])
    with open_stack(picture, labels=True) as stack:
        drawn = stack.read()
        assert stack.voxel_size_nm == pytest.approx((40, 8, 8))
    assert (drawn[0] == 5).all()
    assert set(np.unique(drawn[1])) == {0, 3, 4}
    assert (drawn[1, 24:48, 40:48] == 4).all()
    assert (drawn[3, :24, 72:] == 5).all()
    both = folder / HOSTILE, folder / "poor.tif", folder / "truth.tif"
    assert "of one file, not of 2" in fails("score", *both, "--errors", tmp_path / "x.tif", code=2)


def test_a_cell_has_the_colour_of_its_true_cell_in_all_sections(judged):
    browser = make_cells_browser([judged], ["cells"], None)
    assert [layer["name"] for layer in browser.data["layers"]] == ["truth", "cells", "errors"]
    colours = CellColours(judged.scores.overlaps)
    for section in judged.opened.pair:
        drawn, true = colours.draw(section), number_colours(section.truth)
        whole = np.isin(section.truth, [2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14])
        assert (drawn[whole] == true[whole]).all()
        parts = np.isin(section.cells, [90, 99]) & (section.truth > 0)
        assert (drawn[parts] != true[parts]).all()
        assert len(np.unique(drawn[section.cells == 115])) == 1
        assert drawn.max() <= CELLS


def test_sections_with_the_worst_errors_come_first(judged):
    numbers = judged.opened.pair.numbers
    order = rank_sections([judged.scores], numbers)
    assert sorted(order) == [0, 1, 2, 3]
    assert numbers[order[0]] == judged.scores.errors[0].section
    assert numbers[order[1]] == judged.scores.errors[1].section


def test_a_click_on_an_error_goes_there_and_its_cost_is_that_of_the_json(visitor, scored):
    page, facts = scored
    visitor.open(page)
    errors, entries = facts["errors"], visitor.find_all(".errors .error")
    assert len(entries) == len(errors) == 3
    for entry, error in zip(entries, errors, strict=True):
        assert f"{error['cost']:.6f}" in entry.text
        entry.click()
        assert visitor.text(".section-number").startswith(f"section {error['section']} ")
        assert visitor.text(".error-status") == (
            f"{error['kind']} {error['id']}: section {error['section']}, row {error['y']}, "
            f"column {error['x']}, costs {error['cost']:.6f} bits"
        )
        assert visitor.find(".pane .ring:not([hidden])").is_displayed()
    assert visitor.text("#errors-title") == "Errors, by their cost in VOI"
    assert visitor.errors() == []


def test_the_numbers_are_those_of_the_json(visitor, compared):
    page, facts = compared
    visitor.open(page)
    table = visitor.text("[aria-label='scores of the stack']")
    for one in facts:
        for row in (one, one["without_borders"], one["section_mean"]):
            halves = (row["voi"], row["voi_split"], row["voi_merge"], row["adapted_rand_error"])
            assert " ".join(f"{value:.6f}" for value in halves) in table
    assert facts[0]["without_zero"] is None
    assert "without 0" not in table
    wanted = [row["voi"] for row in facts[1]["per_section"]]
    visitor.find_all(".sections thead button")[5].click()
    shown = [row.text.split() for row in visitor.find_all(".sections tbody tr")]
    assert [float(row[5]) for row in shown] == pytest.approx(sorted(wanted), abs=1e-6)


def test_names_stay_text_and_nothing_overflows_a_phone(visitor, compared):
    visitor.resize(390)
    visitor.open(compared[0])
    visitor.click("[data-action=side-by-side]")
    assert visitor.run("return document.documentElement.scrollWidth") == 390
    assert HOSTILE in visitor.text("h1")
    assert visitor.find_all("img[onerror]") == []
    visitor.find_all("[data-error][data-prediction='1']")[0].click()
    assert visitor.find(".prediction-choice option:checked").text == "poor.tif"
    assert visitor.errors() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_both_themes(visitor, compared, theme):
    visitor.set_theme(theme)
    visitor.open(compared[0])
    visitor.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert visitor.audit() == {}


def test_a_page_is_refused_early(folder, tmp_path):
    files = folder / "poor.tif", folder / "truth.tif"
    small = tmp_path / "small.tif"
    write_stack(small, np.zeros((4, 20, 20), np.uint8))
    options = "--report", tmp_path / "page.html", "--image"
    assert "small.tif: the shape (4, 20, 20)" in fails("score", *files, *options, small)
    assert "for a page" in fails("score", *files, "--image", small, code=2)
    assert not (tmp_path / "page.html").exists()
