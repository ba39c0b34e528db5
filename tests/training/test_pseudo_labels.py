"""Students: sections without labels, marked by teachers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.config import TrainConfig
from sfseg.datasets import registry
from sfseg.errors import CheckpointError, NonFiniteError, OptionError, UnknownNameError
from sfseg.io import write_stack
from sfseg.models import weights
from sfseg.recipes import DEFAULT, STUDENT
from sfseg.training.data import load_training_data
from sfseg.training.loss import loss_of
from sfseg.training.pseudo_labels import add_pseudo_labels, mark, posterior
from sfseg.training.run_folder import STATE
from sfseg.training.run_setup import TrainSetup
from sfseg.training.train import train

pytestmark = pytest.mark.usefixtures("small_architectures")
TINY = dataclasses.replace(DEFAULT, patch_px=32, visits=1, batch_size=4, epochs=1)


def quiet(_):
    """Say nothing."""


@pytest.fixture
def unlabelled(tissue, tmp_path):
    """Two sections of 64x80 without labels."""
    path = tmp_path / "more.tif"
    write_stack(path, tissue[0][:2, :64, :80])
    return path


@pytest.fixture
def teacher(tmp_path):
    """Weights of a network that knows nothing, trained by the default recipe."""
    path = tmp_path / "teacher.safetensors"
    recipe = dataclasses.asdict(DEFAULT)
    header = weights.Header("sfnet", "default", training={"recipe": recipe})
    weights.save_weights(path, models.build("sfnet", seed=1), header)
    return path


@pytest.fixture
def config(tissue_files, unlabelled, teacher):
    return TrainConfig(
        out=tissue_files / "run",
        recipe=TINY,
        images=str(tissue_files / "volume.tif"),
        labels=str(tissue_files / "labels.tif"),
        teachers=(str(teacher),),
        unlabelled=str(unlabelled),
        precision="float32",
    )


def test_a_posterior_is_what_the_loss_is_least_at():
    recipe = dataclasses.replace(
        DEFAULT, membrane_weight=3.0, label_smoothing=0.02, logit_adjustment=-0.7
    )
    truth = torch.tensor([0.0, 1.0]).repeat(500)[:, None, None, None]
    truth[: len(truth) * 6 // 10] = 1.0  # four fifths are inside
    logit = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=100)

    def loss():
        optimiser.zero_grad()
        value = loss_of(recipe, logit.expand_as(truth), truth)
        value.backward()
        return value

    optimiser.step(loss)
    said = torch.sigmoid(logit.detach()).numpy()
    assert abs(said[0] - 0.8) > 0.1
    found = posterior(said, dataclasses.asdict(recipe))
    np.testing.assert_allclose(found, 0.8, atol=1e-3)


def test_a_posterior_stays_in_bounds_and_is_what_was_said_where_nothing_is_known():
    said = np.linspace(0, 1, 11, dtype=np.float32)[None]
    corrected = posterior(said, dataclasses.asdict(DEFAULT))
    assert corrected[0, 0] == 0
    assert corrected[0, -1] == 1
    assert (np.diff(corrected) >= 0).all()
    np.testing.assert_allclose(posterior(said, {}), said, atol=1e-6)


def test_marks_are_the_mean_of_the_teachers():
    image = np.zeros((2, 3), np.uint8)
    marks = mark(image, [lambda _: np.float32(0.2) + image, lambda _: np.float32(0.6) + image])
    assert marks.dtype == np.uint8
    np.testing.assert_array_equal(marks, np.full((2, 3), 102))


def test_taught_sections_are_visited_half_as_often_as_labelled_ones(config):
    setup = TrainSetup.from_config(config)
    data = add_pseudo_labels(load_training_data(setup, None), setup, None, say=quiet)
    assert len(data.taught) == 2
    assert len(data.training) == 3
    assert data.taught[0].image.shape == data.taught[0].labels.shape == (64, 80)
    counts = [sum(lesson is section for lesson in data.epoch_sections) for section in data.training]
    assert counts == [2, 2, 2]
    assert sum(lesson is data.taught[0] for lesson in data.epoch_sections) == 1


def test_without_teachers_nothing_is_added(config):
    alone = dataclasses.replace(config, teachers=(), unlabelled=None)
    setup = TrainSetup.from_config(alone)
    data = load_training_data(setup, None)
    assert add_pseudo_labels(data, setup, None, say=quiet) is data
    assert data.epoch_sections == data.training


def test_a_student_remembers_its_teachers_and_its_unlabelled_sections(config, teacher):
    result = train(config)
    _, header = weights.load_weights(str(result.weights))
    assert "more.tif, marked by teachers" in header.data
    (named,) = header.training["teachers"]
    assert named["weights"] == teacher.stem
    config_file = json.loads((config.out / "config.json").read_text())
    assert config_file["resolved"]["teachers"] == [named]
    assert (config.out / STATE).is_file()


def test_a_student_does_not_go_on_with_another_teacher(config, teacher):
    train(config)
    header = weights.Header("sfnet", "default")
    weights.save_weights(teacher, models.build("sfnet", seed=2), header)
    with pytest.raises(CheckpointError, match="teachers"):
        train(dataclasses.replace(config, resume=True))


def test_a_teacher_without_sections_to_mark_is_refused(config):
    with pytest.raises(OptionError, match="--unlabelled"):
        train(dataclasses.replace(config, unlabelled=None))


def test_a_student_without_a_teacher_is_refused(config):
    alone = dataclasses.replace(config, recipe=STUDENT, teachers=(), unlabelled=None)
    with pytest.raises(OptionError, match="--teacher"):
        train(alone)


def test_sections_without_a_teacher_are_refused(config):
    with pytest.raises(OptionError, match="--teacher"):
        train(dataclasses.replace(config, teachers=()))


def test_an_unknown_teacher_is_refused_before_any_work(config):
    with pytest.raises(UnknownNameError, match="nobody"):
        train(dataclasses.replace(config, teachers=("nobody",)))
    assert not config.out.exists()


def test_a_section_with_nan_is_not_marked(config, tmp_path):
    images = np.zeros((2, 64, 64), np.float32)
    images[1, 3, 4] = np.nan
    write_stack(tmp_path / "nan.tif", images)
    with pytest.raises(NonFiniteError, match="section 2"):
        train(dataclasses.replace(config, unlabelled=str(tmp_path / "nan.tif")))


def test_the_challenge_brings_sections_without_labels():
    isbi2012 = registry.find("isbi2012")
    assert isbi2012.unlabelled in {file.name for file in isbi2012.files}
