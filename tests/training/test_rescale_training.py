"""Training on sections of other pixel sizes: they are resampled to one."""

from pathlib import Path

import numpy as np
import pytest

import sfseg
from sfseg.config import SHIPPED_MODEL, TrainConfig
from sfseg.models.weights import load_header
from sfseg.recipes import THESIS
from sfseg.training.data import load_training_data
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from tests.cli.commands import TINY
from tests.cli.commands import sfseg as run


def write(folder, tissue, **sizes):
    """Write the tissue under each name, with pixels of that many nm, or of unknown size."""
    for name, nm in sizes.items():
        for kind, stack in zip(("im", "lab"), tissue, strict=True):
            (folder / kind).mkdir(exist_ok=True)
            options = {} if nm is None else {"voxel_size_nm": (50, nm, nm)}
            sfseg.write_stack(folder / kind / f"{name}.tif", stack, **options)
    return folder


def load(folder, **options):
    config = TrainConfig(
        Path("unused"), images=str(folder / "im"), labels=str(folder / "lab"), **options
    )
    said = []
    data = load_training_data(TrainSetup.from_config(config), None, say=said.append)
    return data, "\n".join(said)


def shapes(data):
    return {section.image.shape for section in (*data.training, *data.validation)}


def test_several_stacks_get_the_pixels_of_the_first(tmp_path, tissue):
    data, said = load(write(tmp_path, tissue, a=4, b=8, c=2, d=None, e=4.5))
    assert data.voxel_size_nm == (50, 4, 4)
    assert shapes(data) == {(96, 112), (192, 224), (48, 56)}
    assert "resampled from 8 nm to 4 nm" in said
    assert "resampled from 2 nm to 4 nm" in said
    assert "d.tif: the pixel size is not known: 4 nm is assumed, that of a.tif" in said
    assert "4.5 nm to" not in said
    assert all(section.labels.shape == section.image.shape for section in data.training)
    assert all(set(np.unique(section.labels)) == {0, 255} for section in data.training)
    assert {section.image.dtype for section in data.training} == {np.dtype(np.uint8)}


def test_sections_get_the_pixels_of_the_weights_to_start_from(tmp_path, tissue):
    folder = write(tmp_path, tissue, a=8)
    data, said = load(folder, init=SHIPPED_MODEL)
    assert (data.voxel_size_nm, shapes(data)) == ((50, 4, 4), {(192, 224)})
    assert "resampled from 8 nm to 4 nm" in said
    data, said = load(folder, init=SHIPPED_MODEL, rescale="none")
    assert (data.voxel_size_nm, shapes(data)) == ((50, 8, 8), {(96, 112)})
    assert f"pixels are 8 nm, those of {SHIPPED_MODEL} 4 nm: not resampled" in said
    data, said = load(folder, init=SHIPPED_MODEL, pixel_size_nm=(4, 4))
    assert (data.voxel_size_nm, shapes(data)) == ((50, 4, 4), {(96, 112)})


def test_a_recipe_that_resizes_sections_has_no_pixel_size(tmp_path, tissue):
    data, said = load(write(tmp_path, tissue, a=4, b=8), recipe=THESIS)
    assert shapes(data) == {(96, 112)}
    assert "resampled" not in said


@pytest.mark.parametrize("factor", [2, 3])
def test_labels_there_and_back_are_the_same_but_for_edges(tissue, factor):
    image, labels = tissue[0][0], tissue[1][0]
    known = np.ones(image.shape, bool)
    known[:, :48] = False
    section = Section.from_pixels(image, labels, known)
    there = section.resampled((96 * factor, 112 * factor))
    assert there.known.mean() == known.mean()
    back = there.resampled((96, 112))
    assert (back.known == known).all()
    assert (back.labels == labels).mean() > 0.95


def test_a_pixel_that_is_half_membrane_is_membrane():
    labels = np.full((64, 64), 255, np.uint8)
    labels[:, 20] = 0  # one pixel wide
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    coarse = Section.from_pixels(image, labels).resampled((32, 32)).labels
    assert (coarse == 0).sum(0).tolist() == [0] * 10 + [32] + [0] * 21


def test_the_command_trains_at_the_pixel_size_of_the_weights(tmp_path, tissue):
    write(tmp_path, (tissue[0][:2], tissue[1][:2]), a=None)
    files = ("--images", tmp_path / "im" / "a.tif", "--labels", tmp_path / "lab" / "a.tif")
    options = ("--init", SHIPPED_MODEL, "--pixel-size", "6", "--validation", "none")
    result = run("train", *files, *options, "-o", tmp_path / "run", *TINY)
    assert result.exit_code == 0, result.output
    assert "resampled from 6 nm to 4 nm" in result.stderr
    assert load_header(str(tmp_path / "run")).voxel_size_nm[1:] == (4, 4)
