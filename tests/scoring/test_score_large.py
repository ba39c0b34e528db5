"""Stacks that are read section by section: the same digits, in the memory of a few sections."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from sfseg.errors import StackError
from sfseg.io import write_stack
from sfseg.io.stack import Stack
from sfseg.scoring import score_files as module
from sfseg.scoring.score_files import score_files

WAYS = {
    "plain": {},
    "inverted": {"invert": True, "invert_labels": True},
    "not all known": {"ignore": 7},
    "membranes": {"labels_are": "membrane"},
    "numbers": {"labels_are": "instances"},
    "some": {"sections": "2-5", "map_max": 0.9},
}


@pytest.fixture(scope="module")
def stacks(tissue):
    """Six maps and their labels, with a corner that nobody has labelled."""
    truth = np.concatenate([tissue[1], tissue[1][:2, ::-1]])
    rough = np.random.default_rng(3).normal(0, 0.1, truth.shape)
    soft = ndimage.gaussian_filter((truth > 0).astype(np.float32), (0, 1.5, 1.5)) + rough
    return np.clip(soft, 0, 1).astype(np.float32), truth


def write(folder, stacks, way, suffix):
    """Write the map, and labels that go with the options."""
    soft, truth = stacks
    if "ignore" in WAYS[way]:
        truth = truth.copy()
        truth[:, :40, :40] = 7
    elif "invert" in WAYS[way] or "membranes" in way:
        truth = (truth == 0).astype(np.uint8)
        soft = 1 - soft if "invert" in WAYS[way] else soft
    elif "numbers" in way:
        truth = np.stack([ndimage.label(section > 0)[0] for section in truth]).astype(np.uint16)
    paths = folder / f"map{suffix}", folder / f"truth{suffix}"
    for path, array in zip(paths, (soft, truth), strict=True):
        write_stack(path, array, overwrite=True)
    return paths


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("way", WAYS)
def test_sections_read_one_by_one_have_the_digits_of_a_stack_in_memory(
    tmp_path, stacks, way, suffix, monkeypatch
):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    paths = write(tmp_path, stacks, way, suffix)
    kept = score_files(*paths, **WAYS[way])
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    for workers in (1, 2):
        found = score_files(*paths, **WAYS[way], workers=workers)
        assert found.as_dict() == kept.as_dict()
        assert found.truth_values == kept.truth_values
    assert found.find_errors().as_dict() == kept.find_errors().as_dict()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda soft, truth: (soft * 200, truth), "go from 0 to 200"),
        (lambda soft, truth: ((soft > 0.5).astype(np.uint8), truth), "a mask of 0 and 1"),
        (lambda soft, truth: (soft, truth * 0), "all labels are 0"),
        (lambda soft, truth: (soft, (truth + soft * 90).astype(np.uint8)), "near 0 and 89 with"),
    ],
)
def test_what_a_stack_in_memory_is_refused_for_is_refused_section_by_section(
    tmp_path, stacks, change, reason, monkeypatch
):
    paths = tmp_path / "map.tif", tmp_path / "truth.tif"
    for path, array in zip(paths, change(*stacks), strict=True):
        tifffile.imwrite(path, array, photometric="minisblack")
    errors = []
    for limit in (module.KEPT_BYTES, 0):
        monkeypatch.setattr(module, "KEPT_BYTES", limit)
        with pytest.raises(StackError, match=reason) as refused:
            score_files(*paths)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


def test_memory_grows_with_the_sections_at_a_time_and_not_with_the_stack(tmp_path, monkeypatch):
    section = np.zeros((400, 400), np.uint8)
    section[20:-20, 20:180] = section[20:-20, 200:380] = 255
    maps, labels = (tmp_path / name for name in ("map.tif", "truth.tif"))
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    peaks = []
    for count in (4, 24):
        write_stack(maps, np.stack([section] * count).astype(np.float32) / 255, overwrite=True)
        write_stack(labels, np.stack([section] * count), overwrite=True)
        score_files(maps, labels, workers=1)  # what is imported and compiled at first
        tracemalloc.start()
        score_files(maps, labels, workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < section.size * 4 * 3  # of 20 sections more


def test_files_are_closed_when_the_report_is_gone(tmp_path, stacks, monkeypatch):
    closed = []
    close = Stack.close
    monkeypatch.setattr(Stack, "close", lambda self: closed.append(close(self)))
    paths = write(tmp_path, stacks, "plain", ".tif")
    report = score_files(*paths)
    assert not closed
    del report
    assert len(closed) == 2
    tifffile.imwrite(paths[1], np.zeros((6, 96, 112), np.uint8))
    with pytest.raises(StackError):
        score_files(*paths)
    assert len(closed) == 4
