"""Training that starts from weights: which they are, and how that is noted."""

import dataclasses
import json

import pytest
import torch
from typer.testing import CliRunner

from sfseg import models
from sfseg.cli import app
from sfseg.config import SHIPPED_MODEL, TrainConfig
from sfseg.errors import CheckpointError, OptionError, UnknownNameError
from sfseg.io import hash_input
from sfseg.models import weights as checkpoints
from sfseg.recipes import DEFAULT, FINETUNE
from sfseg.training.data import TrainingData
from sfseg.training.initial_weights import identify_weights, origin_warnings, start_network
from sfseg.training.run_setup import TrainSetup

pytestmark = pytest.mark.usefixtures("small_shipped")
TINY = ("--epochs", 1, "--patch", 32, "--batch-size", 12, "--precision", "float32")


def sfseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def own(tissue_files):
    """The options that name one's own data, and an output that is not there yet."""
    return (
        *("--images", tissue_files / "volume.tif", "--labels", tissue_files / "labels.tif"),
        *("--out", tissue_files / "run"),
    )


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A training's folder with weights of another architecture, resized sections, coarse pixels."""
    header = checkpoints.Header(arch="unet", recipe="x", input_px=640, voxel_size_nm=(50, 9, 9))
    folder = tmp_path_factory.mktemp("unet-run", numbered=False)
    weights = folder / checkpoints.WEIGHTS_NAME
    checkpoints.save_weights(weights, models.build("unet", seed=0), header, half=True)
    return folder


def test_without_weights_a_training_starts_from_its_seed(tmp_path):
    network = start_network(TrainSetup.from_config(TrainConfig(out=tmp_path, seed=3)))
    expected = models.build("sfnet", seed=3).state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in network.state_dict().items())


def test_a_training_starts_from_the_shipped_weights_to_the_bit(tmp_path):
    setup = TrainSetup.from_config(TrainConfig(out=tmp_path, init=SHIPPED_MODEL))
    network = start_network(setup)
    expected = checkpoints.load_weights(SHIPPED_MODEL)[0].state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in network.state_dict().items())
    file = checkpoints.find_weights(SHIPPED_MODEL)
    assert identify_weights(checkpoints.open_weights(SHIPPED_MODEL)) == {
        "weights": SHIPPED_MODEL,
        "sha256": hash_input(file),
    }


def test_the_header_read_alone_is_that_of_the_weights(unet):
    for name in (SHIPPED_MODEL, str(unet)):
        assert checkpoints.load_header(name) == checkpoints.load_weights(name)[1]


def test_the_folder_names_the_weights_of_a_training(unet):
    assert (
        identify_weights(checkpoints.open_weights(str(unet)))["weights"]
        == "unet-run/weights.safetensors"
    )


def test_weights_of_another_architecture_are_refused_with_both_names(unet, tmp_path):
    with pytest.raises(OptionError, match="these are weights of unet, not of sfnet"):
        TrainSetup.from_config(TrainConfig(out=tmp_path, init=str(unet)))


def test_what_is_no_weights_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="there is no model or weights file"):
        TrainSetup.from_config(TrainConfig(out=tmp_path, init="sfnet-isbi2021"))
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError):
        TrainSetup.from_config(TrainConfig(out=tmp_path, init=str(tmp_path / "x.safetensors")))


def warnings(config, voxel_size_nm, *, is_validated):
    """Warn of a training on sections of that voxel size, with some held out or none."""
    held = ("a section",) if is_validated else ()
    data = TrainingData((), held, voxel_size_nm, "")
    return list(origin_warnings(TrainSetup.from_config(config), data))


def test_another_input_than_that_of_the_weights_is_warned_about(unet, tmp_path):
    config = TrainConfig(out=tmp_path, init=str(unet), arch="unet")
    (size,) = warnings(config, (50, 4, 4), is_validated=True)
    assert "sections resized to 640x640" in size
    shipped = TrainConfig(out=tmp_path, init=SHIPPED_MODEL)
    assert warnings(shipped, (50, 4, 4), is_validated=False) == []
    assert warnings(shipped, None, is_validated=False) == []


def test_weights_that_have_seen_the_held_out_sections_are_warned_about(tmp_path):
    started = TrainConfig(out=tmp_path, dataset="isbi2012", init=SHIPPED_MODEL)
    taught = TrainConfig(out=tmp_path, teachers=(SHIPPED_MODEL,))  # isbi2012 by default
    for config in (started, taught):
        (doubt,) = warnings(config, None, is_validated=True)
        assert f"{SHIPPED_MODEL} was trained on isbi2012: " in doubt
    own = dataclasses.replace(started, dataset=None, images="a.tif", labels="b.tif")
    assert warnings(own, None, is_validated=True) == []


# --- the command


@pytest.fixture
def asked(own, monkeypatch):
    """The configuration that the command makes of its options; it stops before the training."""
    configs = []

    def noted(setup, **_):
        configs.append(setup.config)
        raise OptionError("noted: expected no more, found it")

    def run(*options):
        monkeypatch.setattr("sfseg.training.train.train_prepared", noted)
        result = sfseg("train", *own, *options)
        assert "error: noted" in result.stderr, result.output
        return configs.pop(), result.stderr

    return run


def test_with_weights_to_start_from_the_recipe_is_finetune(asked):
    config, said = asked("--init", SHIPPED_MODEL)
    assert (config.init, config.arch, config.recipe) == (SHIPPED_MODEL, "sfnet", FINETUNE)
    assert f"training sfnet from {SHIPPED_MODEL} on " in said
    assert FINETUNE.learning_rate < DEFAULT.learning_rate
    assert FINETUNE.epochs < DEFAULT.epochs


def test_without_them_and_where_one_is_named_the_recipe_is_the_one_asked_for(asked):
    assert asked()[0].recipe == DEFAULT
    assert asked("--init", SHIPPED_MODEL, "--recipe", "default")[0].recipe == DEFAULT
    config, _ = asked("--init", SHIPPED_MODEL, "--learning-rate", 1e-5)
    assert config.recipe.name == "finetune, changed: learning_rate"
    assert config.recipe.learning_rate == 1e-5


def test_the_weights_decide_the_architecture_where_none_is_named(asked, own, unet):
    assert asked("--init", unet)[0].arch == "unet"
    result = sfseg("train", *own, "--init", unet, "--arch", "sfnet")
    assert result.exit_code == 2
    assert "these are weights of unet, not of sfnet" in result.stderr
    assert "hint: leave --arch out, or use --arch unet" in result.stderr


def test_the_seconds_between_states_are_taken_from_the_option(asked):
    assert asked("--save-every", 30)[0].save_every_s == 30
    assert asked()[0].save_every_s == TrainConfig.save_every_s


def test_weights_that_are_not_there_are_refused_with_the_nearest_name(own):
    result = sfseg("train", *own, "--init", "sfnet-isbi2021")
    assert result.exit_code == 2
    assert f"did you mean '{SHIPPED_MODEL}'" in result.stderr
    assert not own[-1].exists()


def test_a_training_notes_where_it_started_and_resumes_from_nowhere_else(own, tmp_path):
    header = checkpoints.load_weights(SHIPPED_MODEL)[1]
    other = tmp_path / "other.safetensors"
    checkpoints.save_weights(other, models.build("sfnet", seed=0), header)
    common = ("train", *own, *TINY, "--recipe", "finetune", "--sections", "1-2")
    first = sfseg(*common, "--init", SHIPPED_MODEL)
    assert first.exit_code == 0, first.output
    origin = {
        "weights": SHIPPED_MODEL,
        "sha256": hash_input(checkpoints.find_weights(SHIPPED_MODEL)),
    }
    assert checkpoints.load_weights(first.stdout.strip())[1].training["init"] == origin
    assert json.loads((own[-1] / "config.json").read_text())["resolved"]["init"] == origin
    result = sfseg(*common, "--init", other, "--resume")
    assert result.exit_code == 1, result.output
    assert "init" in result.stderr[result.stderr.index("error: ") :]
    assert sfseg(*common, "--resume").exit_code == 0  # the run knows where it started
