"""`sfseg measure` as a person meets it."""

import pytest

import sfseg as api
from tests.cli.commands import fails, sfseg


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "cells.tif"
    api.write_stack(path, api.draw_tissue((2, 64, 64)).cells, voxel_size_nm=(50, 4, 4))
    return path


def test_measure_prints_the_tables_that_it_wrote(cells, tmp_path):
    tables = [tmp_path / f"{name}.csv" for name in ("cells", "sections", "contacts")]
    options = ("-o", tables[0], "--by-section", tables[1], "--contacts", tables[2])
    result = sfseg("measure", cells, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(path) for path in tables]
    assert " cells in 2 sections of 64x64" in result.stderr
    assert tables[0].read_text().startswith("id,voxels,volume_um3,")
    assert tables[1].read_text().startswith("id,section,area_px,area_um2,")
    assert tables[2].read_text().startswith("id_1,id_2,faces_z,")
    assert "exists already" in fails("measure", cells, *options)
    assert sfseg("measure", cells, *options, "--overwrite").exit_code == 0


def test_measure_takes_a_voxel_size_that_the_file_does_not_say(cells, tmp_path):
    out = tmp_path / "a.csv"
    assert sfseg("measure", cells, "-o", out, "--voxel-size", "100,4,4").exit_code == 0
    row = dict(zip(*(line.split(",") for line in out.read_text().splitlines()[:2]), strict=True))
    assert float(row["volume_um3"]) == pytest.approx(int(row["voxels"]) * 1.6e-6)
