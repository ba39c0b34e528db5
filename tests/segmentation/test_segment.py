"""Cells of a stack: ids that continue, bounds, resuming, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.metrics import variation_of_information

import sfseg
from sfseg import SegmentConfig
from sfseg.errors import (
    NonFiniteError,
    OptionError,
    OutputExistsError,
    ResumeError,
    StackError,
)
from sfseg.segmentation import graph
from sfseg.segmentation import segment as module
from sfseg.segmentation.edits import Merge

SECTIONS, SIDE = 5, 64


def tubes(faint=None):
    """Two cells that drift to the right, one above the other; membranes of 3 px."""
    light = np.ones((SECTIONS, SIDE, SIDE), np.float32)
    for z in range(SECTIONS):
        light[z, 30:33] = 0
        light[z, :, 5 + 2 * z : 8 + 2 * z] = 0
        light[z, :, 50 + 2 * z : 53 + 2 * z] = 0
    if faint is not None:
        light[2, 30:33] = faint
    return light


@pytest.fixture
def source(tmp_path):
    sfseg.write_stack(tmp_path / "map.tif", tubes(), voxel_size_nm=(50, 4, 4))
    return tmp_path / "map.tif"


def test_a_cell_has_one_id_in_all_sections():
    cells = sfseg.segment(tubes())
    assert cells.dtype == np.uint32
    upper, lower = ([cells[z, row, 30 + z] for z in range(SECTIONS)] for row in (15, 48))
    assert len(set(upper)) == len(set(lower)) == 1
    assert upper[0] != lower[0]
    assert (cells == 0).sum() == (tubes() == 0).sum()
    assert set(np.unique(cells)) == set(range(cells.max() + 1))


def test_a_membrane_that_one_section_misses_still_divides():
    cells = sfseg.segment(tubes(faint=0.95))
    assert cells[2, 15, 30] == cells[1, 15, 30] != cells[2, 48, 30] == cells[1, 48, 30]


def test_cells_of_drawn_tissue_are_better_than_components():
    truth = sfseg.make_tissue((4, 160, 160), seed=21)[1]
    blurred = ndimage.gaussian_filter(truth / np.float32(255), (0, 1.5, 1.5))
    ids = sfseg.segment(truth.astype(np.float32) / 255, method="components")
    inside = ids > 0

    def voi(**options):
        cells = sfseg.segment(blurred, **options)
        return sum(variation_of_information(ids[inside], cells[inside]))

    assert voi() < voi(method="components", threshold=0.5)


def test_components_are_those_of_each_section_and_go_on_by_mutual_overlap():
    light = tubes()
    cells = sfseg.segment(light, method="components")
    for section, found in zip(light, cells, strict=True):
        wanted, count = ndimage.label(section > 0.2)
        assert len(np.unique(found[found > 0])) == count
        assert np.array_equal(found > 0, wanted > 0)
    assert cells[0, 15, 30] == cells[4, 15, 35]


def test_without_links_each_section_has_its_own_ids():
    cells = sfseg.segment(tubes(), link="none")
    seen = [set(np.unique(section)) - {0} for section in cells]
    assert all(one.isdisjoint(other) for one, other in pairwise(seen))


def test_beta_divides_more_and_smallest_cells_are_joined(tissue):
    light = ndimage.gaussian_filter(tissue[1] / np.float32(255), (0, 2, 2))
    few, many = (len(np.unique(sfseg.segment(light, beta=beta, min_size=0))) for beta in (0.1, 0.9))
    assert few < many
    joined = sfseg.segment(light, beta=0.9, min_size=300)
    sizes = np.bincount(joined.ravel())[1:]
    assert len(sizes) < many
    assert (joined > 0).sum() == (sfseg.segment(light, beta=0.9, min_size=0) > 0).sum()


def test_cells_grow_over_membranes_and_not_over_empty_areas():
    light = tubes()
    light[:, :, :3] = 0
    wide = np.concatenate([np.zeros((SECTIONS, SIDE, 40), np.float32), light], axis=2)
    cells = sfseg.segment(wide, fill=True)
    assert (cells[:, :, 44:] > 0).all()
    assert not cells[:, :, :20].any()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_file_has_the_cells_of_the_array_whatever_the_threads(source, tmp_path, workers):
    pytest.importorskip("zarr")
    for name in ("cells.tif", "cells.zarr"):
        result = sfseg.segment_file(source, tmp_path / name, workers=workers)
        with sfseg.open_stack(tmp_path / name) as stack:
            np.testing.assert_array_equal(stack.read(), sfseg.segment(tubes()))
            assert stack.voxel_size_nm == (50, 4, 4)
            assert stack.read().max() == result.cells
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cells.tif",
        "cells.zarr",
        "map.tif",
    ]


@pytest.mark.parametrize("at", [("dividing", 3), ("writing", 2)])
def test_a_stopped_run_goes_on_and_ends_with_the_same_cells(source, tmp_path, monkeypatch, at):
    whole, out = tmp_path / "whole.tif", tmp_path / "out.tif"
    sfseg.segment_file(source, whole)

    def stop(done, _total, stage):
        if stage.startswith(at[0]) and done == at[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sfseg.segment_file(source, out, progress=stop)
    assert not out.exists()
    divided = []
    real = graph.divide_section
    monkeypatch.setattr(graph, "divide_section", lambda *given: divided.append(1) or real(*given))
    sfseg.segment_file(source, out, resume=True)
    assert len(divided) <= SECTIONS - at[1] if at[0] == "dividing" else not divided
    np.testing.assert_array_equal(tifffile.imread(out), tifffile.imread(whole))
    assert not list(tmp_path.glob("*.part*"))


def stop_early(source, out):
    """Stop a run after two sections; return the folder of its superpixels."""

    def stop(done, _total, _stage):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sfseg.segment_file(source, out, progress=stop)
    return out.with_name(f"{out.name}.{module.SCRATCH}")


def test_what_another_input_left_is_not_taken_over(source, tmp_path):
    out, lines = tmp_path / "out.tif", []
    stop_early(source, out)
    with pytest.raises(ResumeError, match="threshold"):
        sfseg.segment_file(source, out, resume=True, threshold=0.4, say=lines.append)
    assert not any("are kept" in line for line in lines)
    sfseg.segment_file(source, out, threshold=0.4)  # starts again


@pytest.mark.parametrize("damage", [b"", b"rubbish", slice(300), "flipped"])
def test_a_damaged_section_of_a_stopped_run_is_divided_again(source, tmp_path, damage):
    out = tmp_path / "out.tif"
    path = stop_early(source, out) / "section-000001.npz"
    data = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(bytes([*data[:500], data[500] ^ 255, *data[501:]]))
    else:
        path.write_bytes(data[damage] if isinstance(damage, slice) else damage)
    sfseg.segment_file(source, out, resume=True)
    np.testing.assert_array_equal(tifffile.imread(out), sfseg.segment(tubes()))


@pytest.mark.parametrize("record", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_record_of_a_stopped_run_is_refused_and_without_resume_it_starts_again(
    source, tmp_path, record
):
    out = tmp_path / "out.tif"
    (stop_early(source, out) / "identity.json").write_bytes(record)
    with pytest.raises(ResumeError, match=r"identity\.json: .* damaged") as refused:
        sfseg.segment_file(source, out, resume=True)
    assert refused.value.hint == "leave --resume out, to start again"
    sfseg.segment_file(source, out)
    assert not list(tmp_path.glob("*.part*"))


def test_a_bad_map_leaves_nothing_and_a_bad_correction_the_superpixels(source, tmp_path):
    light, out, lines = tubes(), tmp_path / "out.tif", []
    with pytest.raises(OptionError):
        sfseg.segment_file(source, out, edits=[Merge(1, 99)], say=lines.append)
    assert lines[-1].endswith("to continue, add --resume to the corrected command")
    sfseg.segment_file(source, out, edits=[Merge(1, 2)], resume=True)
    light[-1, 3, 3] = np.nan
    sfseg.write_stack(source, light, overwrite=True)
    with pytest.raises(NonFiniteError):
        sfseg.segment_file(source, out, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "out.tif"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (2, 3, 5), (40, 40)])
@pytest.mark.parametrize("value", [0.0, 0.5, 0.6, 1.0])
def test_sections_of_one_value_are_one_cell_or_none(shape, value):
    cells = sfseg.segment(np.full(shape, value, np.float32))
    assert cells.shape == shape
    assert len(np.unique(cells)) == 1
    assert bool(cells.any()) is (value > 0.5)


def test_whole_numbers_are_divided_by_their_maximum():
    wanted = sfseg.segment(tubes())
    for dtype in (np.uint8, np.uint16):
        pixels = (tubes() * np.iinfo(dtype).max).astype(dtype)
        np.testing.assert_array_equal(sfseg.segment(pixels), wanted)


@pytest.mark.parametrize(
    ("pixels", "error", "told"),
    [
        (np.arange(64, dtype=np.int32).reshape(1, 8, 8), StackError, "not known which of them"),
        (np.full((1, 8, 8), -1, np.int32), StackError, "int32 are no probabilities"),
        (np.full((1, 8, 8), -0.5, np.float32), StackError, "from -0.5 to -0.5, not from 0 to 1"),
        (np.full((1, 8, 8), 7, np.float32), StackError, "from 7 to 7, not from 0 to 1"),
        (np.eye(8, dtype=np.uint8)[None], StackError, "mask of 0 and 1"),
        (np.full((1, 8, 8), np.nan, np.float32), NonFiniteError, "NaN"),
    ],
)
def test_what_is_no_map_is_refused(pixels, error, told):
    with pytest.raises(error, match=told) as refused:
        sfseg.segment(pixels)
    assert refused.value.hint


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64])
def test_map_max_says_what_means_1_and_masks_and_ids_are_taken_with_it(dtype):
    wanted, light = sfseg.segment(tubes()), tubes().astype(dtype)
    for full in (1, 100):
        np.testing.assert_array_equal(sfseg.segment(light * dtype(full), map_max=full), wanted)
    ids = sfseg.segment(tubes(), method="components").astype(dtype)
    with pytest.raises(StackError, match="numbers of cells") as refused:
        sfseg.segment(ids)
    assert "add --map-max 1:" in refused.value.hint
    np.testing.assert_array_equal(sfseg.segment(ids, map_max=1) > 0, ids > 0)


def test_what_looks_odd_about_a_map_is_said(tmp_path, tissue):
    light = ndimage.gaussian_filter(tissue[1] / np.float32(255), (0, 2, 2))
    touching = sfseg.segment(light, fill=True).astype(np.uint16)
    low = (light * 255).astype(np.uint16)
    for pixels, told in (
        (touching, "look like numbers of cells"),
        (low, "add --map-max 255"),
        (np.zeros((2, 9, 9), np.uint8), "are all 0: check whether it is the right file"),
        (np.full((2, 9, 9), 255, np.uint8), "are all 255: check"),
    ):
        lines = []
        sfseg.write_stack(tmp_path / "map.tif", pixels, overwrite=True)
        sfseg.segment_file(
            tmp_path / "map.tif", tmp_path / "cells.tif", overwrite=True, say=lines.append
        )
        assert told in lines[0]


def test_progress_counts_the_sections_and_stops_the_work():
    steps = []
    sfseg.segment(tubes(), progress=lambda *step: steps.append(step))
    assert steps == [(done, SECTIONS) for done in range(SECTIONS + 1)]

    def stop(done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sfseg.segment(tubes(), progress=stop)


@pytest.mark.parametrize(
    "options", [{"threshold": 1}, {"beta": 0}, {"beta": 1.0}, {"min_size": -1}, {"map_max": 0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(OptionError):
        SegmentConfig(**options)


def test_a_mask_is_warned_of_and_existing_files_are_kept(source, tmp_path):
    mask = tmp_path / "mask.tif"
    tifffile.imwrite(mask, (tubes() > 0.5).astype(np.uint8) * 255)
    told = []
    sfseg.segment_file(mask, tmp_path / "cells.tif", say=told.append)
    assert "this is a mask, not a map of probabilities" in told[0]
    with pytest.raises(OutputExistsError):
        sfseg.segment_file(source, tmp_path / "cells.tif")


def test_the_map_is_never_replaced_not_even_through_a_link(source, tmp_path):
    (tmp_path / "link.tif").symlink_to(source)
    (tmp_path / "kept.tif.part").write_bytes(source.read_bytes())
    for path, out in (
        (source, source),
        (source, tmp_path / "link.tif"),
        (tmp_path / "link.tif", source),
        (tmp_path / "link.tif", tmp_path / "link.tif"),
        (tmp_path / "*.part", tmp_path / "kept.tif"),
    ):
        with pytest.raises(OutputExistsError, match="which is an input"):
            sfseg.segment_file(path, out, overwrite=True)
    assert np.array_equal(tifffile.imread(source), tubes())
