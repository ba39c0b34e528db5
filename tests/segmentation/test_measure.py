"""Measures of cells: by hand, beside scikit-image, and the same however they are stored."""

import csv
import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from skimage.measure import regionprops_table
from skimage.segmentation import expand_labels

import sfseg
from sfseg import io
from sfseg.errors import OptionError, OutputExistsError, StackError
from sfseg.segmentation import sums

VOXEL = (50.0, 8.0, 4.0)


@pytest.fixture(scope="module")
def cells():
    """Cells with gaps between them in their numbers, that touch in most places."""
    tissue = sfseg.draw_tissue((3, 120, 130), seed=1)
    return 7 * np.stack([expand_labels(section, 3) for section in tissue.cells])


@pytest.fixture(scope="module")
def measured(cells):
    return sfseg.measure(cells, voxel_size_nm=VOXEL)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_cuboids_have_the_measures_that_one_works_out_by_hand():
    block = np.zeros((4, 10, 12), np.uint16)
    block[1:3, 2:5, 3:7] = 5  # 2 sections of 3 x 4
    block[1:4, 2:5, 7:9] = 2  # beside it, one section longer
    block[3, 2:5, 3:7] = 9  # below the first, beside the second
    found = sfseg.measure(block, voxel_size_nm=VOXEL)
    assert {
        name: column.tolist() for name, column in found.cells.items() if "peri" not in name
    } == {
        "id": [2, 5, 9],
        "voxels": [18, 24, 12],
        "volume_um3": pytest.approx([18 * 1.6e-6, 24 * 1.6e-6, 12 * 1.6e-6]),
        "sections": [3, 2, 1],
        "first_section": [2, 2, 4],
        "last_section": [4, 3, 4],
        "first_y_px": [2, 2, 2],
        "last_y_px": [4, 4, 4],
        "first_x_px": [7, 3, 3],
        "last_x_px": [8, 6, 6],
        "at_edge": [1, 0, 1],
        "centroid_z_px": [2, 1.5, 3],
        "centroid_y_px": [3, 3, 3],
        "centroid_x_px": [7.5, 4.5, 4.5],
        "centroid_z_nm": [100, 75, 150],
        "centroid_y_nm": [24, 24, 24],
        "centroid_x_nm": [30, 18, 18],
        "mean_area_px": [6, 12, 12],
        "mean_area_um2": pytest.approx([6 * 32e-6, 12 * 32e-6, 12 * 32e-6]),
        "neighbours": [2, 2, 2],
        "contact_faces": [9, 18, 15],
        "contact_um2": pytest.approx([9 * 4e-4, 6 * 4e-4 + 12 * 32e-6, 3 * 4e-4 + 12 * 32e-6]),
    }
    assert {name: column.tolist() for name, column in found.contacts.items()} == {
        "id_1": [2, 2, 5],
        "id_2": [5, 9, 9],
        "faces_z": [0, 0, 12],
        "faces_y": [0, 0, 0],
        "faces_x": [6, 3, 0],
        "contact_um2": pytest.approx([6 * 4e-4, 3 * 4e-4, 12 * 32e-6]),
    }
    assert found.by_section["section"].tolist() == [2, 2, 3, 3, 4, 4]
    assert found.by_section["id"].tolist() == [2, 5, 2, 5, 2, 9]
    assert found.by_section["area_px"].tolist() == [6, 12, 6, 12, 6, 12]
    assert repr(found) == "CellMeasures(3 cells, 6 profiles in sections, 3 contacts)"


def test_cells_are_measured_as_by_scikit_image(cells, measured):
    expected = regionprops_table(
        cells.astype(int), properties=("label", "area", "centroid", "bbox")
    )
    for name, theirs, offset in (
        ("id", "label", 0),
        ("voxels", "area", 0),
        *((f"centroid_{axis}_px", f"centroid-{i}", 0) for i, axis in enumerate("zyx")),
        *((f"first_{axis}", f"bbox-{i}", 0) for i, axis in ((1, "y_px"), (2, "x_px"))),
        *((f"last_{axis}", f"bbox-{i}", 1) for i, axis in ((4, "y_px"), (5, "x_px"))),
        ("first_section", "bbox-0", -1),
        ("last_section", "bbox-3", 0),
    ):
        np.testing.assert_allclose(measured.cells[name] + offset, expected[theirs], rtol=1e-12)


def test_profiles_are_measured_as_by_scikit_image(cells, measured):
    properties = ("label", "area", "perimeter_crofton", "centroid")
    each = [regionprops_table(section.astype(int), properties=properties) for section in cells]
    for ours, theirs in (
        ("id", "label"),
        ("area_px", "area"),
        ("perimeter_px", "perimeter_crofton"),
        ("centroid_y_px", "centroid-0"),
        ("centroid_x_px", "centroid-1"),
    ):
        expected = np.concatenate([table[theirs] for table in each])
        np.testing.assert_allclose(measured.by_section[ours], expected, rtol=1e-12)


@pytest.mark.parametrize("pixel", [(4.0, 4.0), (8.0, 4.0), (4.0, 10.0)])
def test_the_perimeter_of_a_disk_is_right_whatever_the_shape_of_a_pixel(pixel):
    y, x = (np.arange(-600, 600, step) for step in pixel)
    disk = np.hypot(y[:, np.newaxis], x) < 500
    found = sfseg.measure(disk.astype(np.int32), voxel_size_nm=(50, *pixel)).by_section
    assert found["perimeter_um"][0] == pytest.approx(math.tau * 0.5, rel=0.02)


def test_contacts_are_the_faces_that_a_search_of_all_pairs_finds(cells, measured):
    pairs = {}
    for axis in range(3):
        a, b = np.moveaxis(cells, axis, 0)[:-1], np.moveaxis(cells, axis, 0)[1:]
        for one, other in combinations(np.unique(cells[cells > 0]).tolist(), 2):
            faces = np.sum((a == one) & (b == other)) + np.sum((a == other) & (b == one))
            if faces:
                pairs.setdefault((one, other), [0, 0, 0])[axis] = int(faces)
    listed = zip(*(column.tolist() for column in measured.contacts.values()), strict=True)
    assert {(one, other): faces for one, other, *faces, _ in listed} == pairs
    assert len(pairs) > 10
    assert all(measured.contacts[f"faces_{axis}"].any() for axis in "zyx")
    both = np.concatenate([measured.contacts["id_1"], measured.contacts["id_2"]])
    counts = [np.count_nonzero(both == cell) for cell in measured.cells["id"]]
    assert measured.cells["neighbours"].tolist() == counts
    assert measured.cells["contact_um2"].sum() == pytest.approx(
        2 * measured.contacts["contact_um2"].sum()
    )


def test_other_numbers_and_small_batches_change_nothing(cells, measured, monkeypatch):
    monkeypatch.setattr(sums, "_BATCH", 1)
    renamed = np.where(cells > 0, 10**17 - cells.astype(np.uint64), np.uint64(0))
    found = sfseg.measure(renamed, voxel_size_nm=VOXEL)
    assert found.cells["id"].tolist() == sorted(10**17 - int(i) for i in measured.cells["id"])
    for name, column in measured.cells.items():
        if name != "id":
            np.testing.assert_allclose(found.cells[name][::-1], column, rtol=1e-12)
    assert len(found.contacts["id_1"]) == len(measured.contacts["id_1"])


@pytest.mark.parametrize("kind", ["cells.tif", "cells.zarr", "sections"])
def test_the_tables_are_the_same_however_the_cells_are_stored(kind, cells, measured, tmp_path):
    if kind == "sections":
        for number, section in enumerate(cells):
            io.write_stack(tmp_path / kind / f"{number}.tif", section, voxel_size_nm=VOXEL)
    else:
        if kind == "cells.zarr":
            pytest.importorskip("zarr")
        io.write_stack(tmp_path / kind, cells, voxel_size_nm=VOXEL)
    names = ("cells", "by_section", "contacts")
    paths = {name: tmp_path / f"{name}.csv" for name in names}
    result = sfseg.measure_file(
        tmp_path / kind,
        paths["cells"],
        by_section=paths["by_section"],
        contacts=paths["contacts"],
        voxel_size_nm=VOXEL if kind == "sections" else None,
    )
    assert (result.cells, result.shape, result.voxel_size_nm) == (
        len(measured.cells["id"]),
        cells.shape,
        VOXEL,
    )
    for name, path in paths.items():
        table = getattr(measured, name)
        written = rows(path)
        assert list(written[0]) == list(table)
        for column, expected in table.items():
            texts = [row[column] for row in written]
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(np.array(texts, float), expected, rtol=1e-8)
            else:
                assert texts == [str(number) for number in expected.tolist()]


def test_memory_holds_two_sections_whatever_their_number(tmp_path):
    section = np.kron(np.arange(1, 65).reshape(8, 8), np.ones((40, 40))).astype(np.uint32)
    peaks = []
    for count in (4, 24):
        path = tmp_path / f"{count}.tif"
        io.write_sections(path, [section] * count, (count, *section.shape), "uint32")
        sfseg.measure_file(path, tmp_path / "warm.csv", overwrite=True)
        tracemalloc.start()
        sfseg.measure_file(path, tmp_path / f"{count}.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + section.nbytes


# --- what is not known, and what is wrong


def test_without_a_thickness_there_is_no_volume_and_without_a_voxel_size_no_nm(cells, tmp_path):
    io.write_stack(tmp_path / "flat.tif", cells, voxel_size_nm=(math.nan, 8.0, 4.0))
    io.write_stack(tmp_path / "bare.tif", cells)
    units = ("_um3", "_um2", "_um", "_nm")
    left = {}
    for name, warning in (("flat", "the section thickness is not known"), ("bare", "in pixels")):
        contacts = tmp_path / f"{name}-contacts.csv"
        result = sfseg.measure_file(
            tmp_path / f"{name}.tif", tmp_path / f"{name}.csv", contacts=contacts
        )
        assert any(warning in said and "--voxel-size" in said for said in result.warnings)
        columns = [*rows(tmp_path / f"{name}.csv")[0], *rows(contacts)[0]]
        left[name] = [column for column in columns if column.endswith(units)]
    assert left["bare"] == []
    assert left["flat"] == [
        "centroid_y_nm",
        "centroid_x_nm",
        "mean_area_um2",
        "mean_perimeter_um",
    ]


def test_a_stack_without_cells_gives_the_names_of_the_columns_alone(tmp_path):
    io.write_stack(tmp_path / "empty.tif", np.zeros((2, 5, 6), np.uint32), voxel_size_nm=VOXEL)
    result = sfseg.measure_file(
        tmp_path / "empty.tif",
        tmp_path / "a.csv",
        by_section=tmp_path / "b.csv",
        contacts=tmp_path / "c.csv",
    )
    assert result.cells == 0
    assert "there is no cell in it" in result.warnings[0]
    for name in "abc":
        assert (tmp_path / f"{name}.csv").read_text().count("\n") == 1


def test_one_pixel_is_a_cell():
    found = sfseg.measure(np.array([[3]], np.uint8), voxel_size_nm=(50, 4, 4))
    assert found.cells["voxels"].tolist() == [1]
    assert found.cells["at_edge"].tolist() == [1]
    assert found.contacts["id_1"].tolist() == []


def test_whole_numbers_that_imagej_saved_as_floats_are_cells(cells, measured):
    found = sfseg.measure(cells.astype(np.float32), voxel_size_nm=VOXEL).cells
    assert found["id"].dtype == np.int64
    for name, column in measured.cells.items():
        np.testing.assert_array_equal(found[name], column)


SMOOTH = np.clip(np.hypot(*np.indices((40, 40)) - 20)[np.newaxis] * 9, 0, 255)
NOISE = np.random.default_rng(1).integers(0, 255, (1, 40, 40))
BAD = {
    "a probability map": (SMOOTH.astype(np.float32) / 255, "looks like a map", "sfseg segment"),
    "not a number": (np.full((1, 5, 6), np.nan, np.float32), "nan is no number", "sfseg segment"),
    "an 8-bit map": (SMOOTH.astype(np.uint8), "scattered as in a map", "sfseg segment"),
    "an image": (NOISE.astype(np.uint16), "scattered as in a map or an image", "sfseg segment"),
    "large floats": (np.full((1, 5, 6), 1e9, np.float32), "several ids become one", "uint64"),
    "an id below 0": (np.array([[[1, -3]]]), "section 1: -3 is no number", "from 1"),
    "no stack": (np.zeros(5, np.uint8), "is no stack", "(Y, X)"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_holds_no_numbers_of_cells_is_refused_and_leaves_nothing(case, tmp_path):
    array, message, hint = BAD[case]
    with pytest.raises(StackError, match=message) as caught:
        sfseg.measure(array)
    assert hint in caught.value.hint
    if array.ndim == 3 and array.dtype != np.int64:
        io.write_stack(tmp_path / "in.tif", array)
        with pytest.raises(StackError, match=message):
            sfseg.measure_file(tmp_path / "in.tif", tmp_path / "new" / "a.csv")
        assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_wrong_names_and_lengths_get_a_hint(cells, tmp_path):
    io.write_stack(tmp_path / "in.tif", cells)
    table = tmp_path / "a.csv"
    for options, error, hint in (
        ({"out": tmp_path / "a.xlsx"}, OptionError, "a.csv"),
        ({"contacts": table}, OutputExistsError, "a name of its own"),
        ({"voxel_size_nm": (50, 4)}, OptionError, "50,4,4"),
        ({"voxel_size_nm": (50, 4, 0)}, OptionError, "50,4,4"),
    ):
        with pytest.raises(error) as caught:
            sfseg.measure_file(tmp_path / "in.tif", **{"out": table} | options)
        assert hint in caught.value.hint
    with pytest.raises(StackError, match="the path of a file is needed"):
        sfseg.measure_file(cells, table)
    with pytest.raises(StackError, match="an array is needed"):
        sfseg.measure(tmp_path / "in.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize(
    ("array", "warning"),
    [
        (np.full((1, 9, 9), 255, np.uint8), "all cells have the number 255, as in a mask"),
        (np.array([[[1, 0, 2**60]]], np.uint64), "spreadsheets keep 15 digits"),
        (np.array([[[1, 0, 2]]], np.uint32), "no two cells touch within a section"),
    ],
)
def test_what_a_person_may_not_expect_is_said(array, warning, tmp_path):
    np.save(tmp_path / "in.npy", array)
    result = sfseg.measure_file(
        tmp_path / "in.npy", tmp_path / "a.csv", contacts=tmp_path / "b.csv", axes="ZYX"
    )
    assert any(warning in said for said in result.warnings)
