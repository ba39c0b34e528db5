import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sfseg.config import TrainConfig
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.io import write_stack
from sfseg.recipes import DEFAULT, THESIS
from sfseg.samples import Patches
from sfseg.sections import Section, load_training_data, split_sections

SMALL = dataclasses.replace(DEFAULT, patch_px=32, visits=2, batch_size=3)


@pytest.fixture
def sections(tissue):
    return [Section(image, labels) for image, labels in zip(*tissue, strict=True)]


def config(**options):
    return TrainConfig(out=Path("unused"), **options)


def test_a_batch_is_a_function_of_seed_epoch_and_step_alone(sections):
    one, same = (Patches(sections, SMALL, seed=4) for _ in range(2))
    one.batch(0, 0)  # what came before does not matter
    for image, again in zip(one.batch(2, 1), same.batch(2, 1), strict=True):
        assert torch.equal(image, again)
    other = Patches(sections, SMALL, seed=5)
    assert not torch.equal(one.batch(2, 1)[0], other.batch(2, 1)[0])
    assert not torch.equal(one.batch(2, 1)[0], one.batch(3, 1)[0])


def test_an_epoch_visits_each_section_as_often_as_the_recipe_says(sections):
    marked = [
        Section(np.zeros_like(s.image), np.full_like(s.labels, 60 * i))
        for i, s in enumerate(sections)
    ]
    plain = dataclasses.replace(SMALL, augmentation="none")
    patches = Patches(marked, plain, seed=0)
    seen = torch.cat([patches.batch(0, step)[1][:, 0, 0, 0] for step in range(patches.steps)])
    assert sorted((seen * 255 / 60).round().tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_thesis_sees_each_section_in_each_of_its_eight_orientations(tissue):
    image = tissue[0][0]
    recipe = dataclasses.replace(THESIS, input_px=32)
    patches = Patches([Section(image, tissue[1][0])], recipe, seed=0)
    seen = [patches.batch(0, step)[0] for step in range(patches.steps)]
    views = torch.cat(seen)
    assert views.shape == (8, 1, 32, 32)
    assert len({view.numpy().tobytes() for view in views}) == 8


def test_the_first_eighth_is_held_out_by_default():
    assert split_sections(config(), 30, "1-24") == (tuple(range(3, 24)), (0, 1, 2))


def test_named_validation_sections_are_never_trained_on():
    training, held = split_sections(config(validation="20-24"), 30, "1-24")
    assert held == tuple(range(19, 24))
    assert training == tuple(range(19))


def test_validation_none_and_the_thesis_train_on_everything():
    assert split_sections(config(validation="none"), 4, None) == ((0, 1, 2, 3), ())
    assert split_sections(config(recipe=THESIS), 30, "1-24")[1] == ()


def test_holding_out_everything_is_refused():
    with pytest.raises(OptionError, match="left to train on"):
        split_sections(config(validation="1-4"), 4, None)


def test_own_files_are_read_and_described(tissue_files, tissue):
    data = load_training_data(
        config(
            dataset=None,
            images=str(tissue_files / "volume.tif"),
            labels=str(tissue_files / "labels.tif"),
            sections="2-4",
        ),
        None,
    )
    assert data.description == "volume.tif sections 3-4 (validation 2)"
    assert data.voxel_size_nm == (50, 4, 4)
    np.testing.assert_array_equal(data.training[0].image, tissue[0][2])
    np.testing.assert_array_equal(data.training[0].labels, tissue[1][2])


def test_the_hash_of_the_data_changes_with_one_pixel(sections):
    from sfseg.sections import TrainingData

    data = TrainingData(tuple(sections), (), None, "x")
    labels = sections[0].labels.copy()
    labels[5, 5] ^= 255
    changed = dataclasses.replace(
        data, training=(Section(sections[0].image, labels), *sections[1:])
    )
    assert data.sha256 != changed.sha256


def test_labels_of_another_shape_are_refused(tissue_files):
    small = np.zeros((4, 10, 10), np.uint8)
    small[:, 5:] = 255
    write_stack(tissue_files / "small.tif", small, small.shape, small.dtype)
    with pytest.raises(ShapeMismatchError, match=r"small\.tif"):
        load_training_data(
            config(
                dataset=None,
                images=str(tissue_files / "volume.tif"),
                labels=str(tissue_files / "small.tif"),
            ),
            None,
        )


def test_labels_with_one_value_only_are_refused(tissue_files, tissue):
    flat = np.full_like(tissue[1], 255)
    write_stack(tissue_files / "flat.tif", flat, flat.shape, flat.dtype)
    with pytest.raises(StackError, match="255"):
        load_training_data(
            config(
                dataset=None,
                images=str(tissue_files / "volume.tif"),
                labels=str(tissue_files / "flat.tif"),
            ),
            None,
        )


def test_images_without_labels_are_refused():
    with pytest.raises(OptionError, match="--labels"):
        load_training_data(config(images="x.tif"), None)
