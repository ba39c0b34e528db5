"""Corrections: what a person says about cells, and what is refused."""

import numpy as np
import pytest
import tifffile

import sfseg
from sfseg.errors import OptionError
from sfseg.segmentation.edits import Merge, Split, parse_merge, parse_split, read_edits, write_edits


@pytest.fixture
def source(tmp_path):
    """Three cells side by side; the wall between the first two is missing in a part."""
    light = np.ones((3, 40, 90), np.float32)
    light[:, :, 29:32], light[:, :, 59:62] = 0, 0
    light[:, 10:20, 29:32] = 0.97
    sfseg.write_stack(tmp_path / "map.tif", light)
    return tmp_path / "map.tif"


def cells_of(source, *edits, **options):
    out = source.with_name("cells.tif")
    sfseg.segment_file(source, out, edits=edits, overwrite=True, **options)
    return tifffile.imread(out)


def test_a_cell_is_cut_where_the_graph_is_weakest_and_the_others_keep_their_ids(source):
    before = cells_of(source, beta=0.05)
    (left,), (right,) = np.unique(before[:, :, :29]), np.unique(before[:, :, 62:])
    assert np.unique(before[:, :, 32:59]).tolist() == [left]
    after = cells_of(source, Split(int(left), (2, 30, 45)), beta=0.05)
    assert np.unique(after[:, :, 62:]).tolist() == [right]
    assert np.unique(after[:, :, :28]).tolist() == [left]
    assert np.unique(after[:, :, 33:59]).tolist() == [before.max() + 1]


@pytest.mark.parametrize("column", [15, 75])
def test_the_part_around_a_place_is_cut_off_and_not_another_part_that_hangs_more_loosely(
    tmp_path, column
):
    light = np.ones((3, 40, 90), np.float32)
    light[:, :, 29:32], light[:, :, 59:62] = 0, 0
    light[:, 8:24, 29:32], light[:, 14:20, 59:62] = 0.97, 0.97  # the third cell is held by less
    (cell,) = np.unique(sfseg.segment(light, beta=0.01)[light > 0.5])
    edit = Split(int(cell), (2, 30, column))
    after = sfseg.segment(light, edits=[edit], beta=0.01)
    own = after[1, 30, column]
    assert own != cell
    assert [after[1, 30, x] == own for x in (15, 45, 75)] == [x == column for x in (15, 45, 75)]
    sfseg.write_stack(tmp_path / "map.tif", light)
    np.testing.assert_array_equal(cells_of(tmp_path / "map.tif", edit, beta=0.01), after)


def test_two_cells_become_one_and_a_correction_sees_the_one_before(source):
    before = cells_of(source)
    ids = [int(before[1, 30, x]) for x in (10, 45, 75)]
    assert len(set(ids)) == 3
    after = cells_of(source, Merge(ids[2], ids[1]))
    assert after[1, 30, 45] == after[1, 30, 75] == ids[2]
    undone = cells_of(source, Merge(ids[2], ids[1]), Split(ids[2], (1, 30, 45)))
    assert len({int(undone[1, 30, x]) for x in (10, 45, 75)}) == 3


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Merge(1, 99), "merge 1,99: there is no cell 99"),
        (Merge(0, 1), "there is no cell 0"),
        (Split(1, (1, 30, 75)), r"split 1@1,30,75: at this place is cell \d"),
        (Split(1, (4, 0, 0)), "section 4, row 0, column 0: outside of"),
        (Split(1, (0, 0, 0)), "outside of"),
        (Split(1, (1, -1, 0)), "row -1, column 0: outside of"),
        (Merge(1, 1), "merge 1,1: this is one cell already"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_written(source, edit, told):
    with pytest.raises(OptionError, match=told) as refused:
        cells_of(source, edit)
    assert refused.value.hint
    assert not source.with_name("cells.tif").exists()


def test_options_and_files_say_the_same(tmp_path):
    path = tmp_path / "edits.csv"
    path.write_text("edit,cell,other,section,y,x\nmerge,3,7,,,\nsplit,12,,4,100,200\n")
    wanted = [Merge(3, 7), Split(12, (4, 100, 200))]
    assert [parse_merge("3,7"), parse_split("12@4,100,200")] == read_edits(path) == wanted
    written = tmp_path / "written.csv"
    write_edits(written, wanted)
    assert written.read_bytes() == path.read_bytes()
    assert [parse_merge(str(wanted[0])[6:]), parse_split(str(wanted[1])[6:])] == wanted


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_files_of_spreadsheets_and_of_tables_of_numbers_are_read(tmp_path, delimiter):
    lines = [
        "Edit,Cell,Other,Section,Y,X",
        "merge,3.0,7.0,,,",
        ",,,,,",
        "SPLIT, 12,,4,100,200.00",
        "",
    ]
    path = tmp_path / "edits.csv"
    path.write_bytes("\r\n".join(lines).replace(",", delimiter).encode("utf-8-sig"))
    assert read_edits(path) == [Merge(3, 7), Split(12, (4, 100, 200))]


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "edits.csv"
    for data in ("edit,cell\n".encode("utf-16"), bytes(range(256))):
        path.write_bytes(data)
        with pytest.raises(OptionError, match="no table as text") as refused:
            read_edits(path)
        assert refused.value.hint == "save it as CSV, in UTF-8"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the column edit is missing"),
        ("edit,cell\n", "the column other is missing"),
        ("edit,cell,other,section,y,x\nmerge,3.5,4,,,\n", "line 2: a whole number is missing"),
        ("edit,cell,other,section,y,x\n\nmerge,3\n", "line 3: a whole number is missing"),
        ("edit,cell,other,section,y,x\nmerge,3,,,,\n", "line 2: a whole number is missing"),
        ("edit,cell,other,section,y,x\njoin,3,4,,,\n", "line 2: edit is 'join'"),
    ],
)
def test_files_with_mistakes_are_refused(tmp_path, text, told):
    path = tmp_path / "edits.csv"
    path.write_text(text)
    with pytest.raises(OptionError, match=told):
        read_edits(path)
    for parse in (parse_merge, parse_split):
        with pytest.raises(OptionError):
            parse("3;7")
