"""`sfseg score` of cells, as a person meets it."""

import json

import numpy as np
import pytest

from sfseg import write_stack
from tests.cli.commands import fails, sfseg

KEYS = (
    "prediction truth shape true_cells cells pixels voi voi_split voi_merge adapted_rand_error "
    "without_zero border_nm without_borders section_mean per_section errors warnings"
)
ERROR_KEYS = "id kind cost true_ids ids part_count pixels section z y x"
FIRST = 2**31  # ids above those of signed numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen true cells in three sections; one is split along z, and two are merged."""
    folder = tmp_path_factory.mktemp("cells")
    tiles = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((12, 12), int))
    tiles = np.repeat(tiles[None], 3, 0)
    truth = tiles.copy()
    truth[:, ::12], truth[:, :, ::12] = 0, 0
    cells = tiles + FIRST
    cells[2][tiles[2] == 1] = 99
    cells[tiles == 16] = FIRST + 15
    write_stack(folder / "truth.tif", truth.astype(np.uint16), voxel_size_nm=(40, 8, 8))
    write_stack(folder / "cells.tif", cells.astype(np.uint32))
    write_stack(folder / "mask.tif", np.where(truth > 0, 255, 0).astype(np.uint8))
    return folder


@pytest.fixture(autouse=True)
def _at_home(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_cells_are_scored_as_a_table_of_80_columns_without_being_asked():
    result = sfseg("score", "cells.tif", "truth.tif")
    assert result.exit_code == 0
    assert "scoring the cells of cells.tif against truth.tif" in result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "3 sections of 48x48, 16 true cells, 16 predicted"
    names = [line[:24].strip() for line in lines[3:6]]
    assert names == ["in 3D", "without 25 nm borders", "mean of sections"]
    assert lines[-2].split()[:3] == ["1", "merge", "1"]
    assert lines[-2].endswith(f"{3 * 11 * 11:11}  0.125000  {FIRST + 15}: 15, 16")
    assert lines[-1].endswith(f"{11 * 11:11}  0.057393  1: {FIRST + 1}, 99")


def test_json_has_all_of_it_under_the_same_keys():
    facts = json.loads(sfseg("score", "cells.tif", "truth.tif", "--json").stdout)
    assert list(facts) == KEYS.split()
    assert list(facts["errors"][0]) == ERROR_KEYS.split()
    assert facts["voi"] == pytest.approx(2 / 16 + (np.log2(3) - 2 / 3) / 16)
    assert (facts["without_zero"], facts["border_nm"], facts["warnings"]) == (None, 25, [])
    assert [row["voi_merge"] for row in facts["per_section"]] == [0.125] * 3
    assert facts["section_mean"]["voi_split"] == 0
    some = sfseg("score", "cells.tif", "truth.tif", "--json", "--sections", "1-2", "--border", 0)
    assert json.loads(some.stdout)["voi_split"] == 0
    few = sfseg("score", "cells.tif", "truth.tif", "--json", "--worst", 0)
    assert json.loads(few.stdout)["errors"] == []
    wide = ("--segments", "--border", 8, "--pixel-size", 16, "--ignore", 3)
    facts = json.loads(sfseg("score", "cells.tif", "truth.tif", "--json", *wide).stdout)
    assert (facts["border_nm"], facts["true_cells"]) == (8, 15)


def test_maps_and_masks_are_not_taken_for_cells():
    assert "V_Rand" in sfseg("score", "mask.tif", "mask.tif").stdout
    assert "add --map-max" in fails("score", "cells.tif", "mask.tif")
    assert "the truth has no ids: all cells are 255" in fails(
        "score", "cells.tif", "mask.tif", "--segments"
    )


def test_options_of_maps_and_of_cells_do_not_mix():
    assert "--invert: it is for maps" in fails(
        "score", "cells.tif", "truth.tif", "--segments", "--invert", code=2
    )
    assert "--border: it is for cells" in fails(
        "score", "mask.tif", "mask.tif", "--border", 9, code=2
    )
    assert "--worst: it is for cells" in fails(
        "score", "mask.tif", "mask.tif", "--worst", 9, code=2
    )
    assert "--pixel-size: it is for cells" in fails(
        "score", "cells.tif", "truth.tif", "--map-max", 1, "--pixel-size", 4, code=2
    )


def test_several_files_of_cells_stand_beside_each_other():
    both = ("score", "cells.tif", "truth.tif", "truth.tif")
    lines = sfseg(*both).stdout.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(".tif")] == [
        *("cells.tif", "truth.tif", "0.182393", "0.000000")
    ]
    facts = json.loads(sfseg(*both, "--json").stdout)
    assert [each["prediction"] for each in facts] == ["cells.tif", "truth.tif"]
