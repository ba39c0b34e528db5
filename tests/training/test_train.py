"""A training run: its files, its recipe, its loss, its average."""

import csv
import dataclasses
import json
import threading

import numpy as np
import pytest
import torch

from sfseg.config import TrainConfig
from sfseg.errors import DeviceError, OptionError, OutputExistsError
from sfseg.models import weights
from sfseg.recipes import DEFAULT, FINETUNE, THESIS
from sfseg.system import compiler
from sfseg.training import time_budget
from sfseg.training.averaging import average_weights, decay_of_average
from sfseg.training.loss import loss_of
from sfseg.training.optim import learning_rate
from sfseg.training.run_folder import STATE
from sfseg.training.train import EpochRecord, StepRecord, train
from tests.processes import refusal_without_torch

TINY = dataclasses.replace(DEFAULT, patch_px=32, visits=1, batch_size=2, epochs=3)


@pytest.fixture(autouse=True)
def _small(small_architectures):
    """Train the small network: what is tested here is the same of all."""


@pytest.fixture
def config(tissue_files):
    """Train on three sections in two steps an epoch, hold one out."""
    return TrainConfig(
        out=tissue_files / "run",
        recipe=TINY,
        images=str(tissue_files / "volume.tif"),
        labels=str(tissue_files / "labels.tif"),
        sections="1-4",
        precision="float32",
    )


def stop_after(steps):
    """Make a report that sets a stop event after some steps."""
    stop = threading.Event()

    def report(record):
        if isinstance(record, StepRecord) and record.step == steps:
            stop.set()

    return {"report": report, "stop": stop}


def test_a_training_leaves_weights_history_curves_and_configuration(config):
    records = []
    result = train(config, report=records.append)
    assert result.finished
    network, header = weights.load_weights(str(result.weights))
    assert not network.training
    assert header.arch == "sfnet"
    assert header.voxel_size_nm == (50, 4, 4)
    assert "volume.tif sections 2-4 (validation 1)" in header.data
    best = max(record.v_rand for record in result.history)
    assert header.scores["v_rand"] == best
    rows = list(csv.DictReader((config.out / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[0]["loss"]) == result.history[0].loss
    assert json.loads((config.out / "config.json").read_text())["asked"]["recipe"]["epochs"] == 3
    assert (config.out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [type(r) for r in records] == [StepRecord, StepRecord, EpochRecord] * 3
    assert not list(config.out.glob("*.part"))


def test_without_validation_the_weights_are_those_of_the_last_epoch(config, monkeypatch):
    """However little time there is to write them; of those before, only what there is time for."""
    monkeypatch.setattr(time_budget, "SHARE", 0)
    written = []

    def look(record):
        if isinstance(record, EpochRecord):
            header = weights.load_header(str(config.out / weights.WEIGHTS_NAME))
            written.append(header.training["epoch"])

    result = train(dataclasses.replace(config, validation="none"), report=look)
    assert written == [1, 1, 3]
    assert weights.load_header(str(result.weights)).scores == {}


def test_a_folder_with_a_training_is_not_overwritten(config):
    train(config, **stop_after(1))
    with pytest.raises(OutputExistsError, match="--resume"):
        train(config)


@pytest.mark.parametrize(
    ("name", "text"),
    [("history.csv", "a,b"), ("curves.png", ""), ("config.json", "{}"), ("config.json", "[")],
)
def test_files_that_no_training_has_written_are_not_overwritten(config, name, text):
    config.out.mkdir()
    (config.out / name).write_text(text)
    with pytest.raises(OutputExistsError, match=name):
        train(config)
    assert [path.name for path in config.out.iterdir()] == [name]
    assert (config.out / name).read_text() == text


def test_a_missing_device_is_refused_before_any_work(config):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(DeviceError):
        train(dataclasses.replace(config, device="cuda"))
    assert not config.out.exists()


def test_the_thesis_recipe_trains_at_its_own_size_and_predicts_at_the_section_s(config, tissue):
    from sfseg.config import PredictConfig
    from sfseg.io import open_stack
    from sfseg.prediction.predict import predict_file

    recipe = dataclasses.replace(THESIS, input_px=48, epochs=1, visits=1)
    result = train(dataclasses.replace(config, recipe=recipe))
    assert result.history[0].v_rand is None
    assert weights.load_weights(str(result.weights))[1].input_px == 48
    out = config.out / "map.tif"
    own = PredictConfig(model=str(result.weights), engine="torch", precision="float32")
    predict_file(config.images, out, own)
    with open_stack(out) as stack:
        assert stack.shape == tissue[0].shape


def test_the_thesis_recipe_is_the_one_of_section_4_1():
    assert (THESIS.loss, THESIS.optimizer, THESIS.learning_rate) == ("mse", "adam", 1e-4)
    assert (THESIS.epochs, THESIS.batch_size, THESIS.input_px) == (300, 2, 640)
    assert 24 * THESIS.visits * THESIS.epochs == 57_600
    assert all(learning_rate(THESIS, step, 100) == 1e-4 for step in range(100))


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [learning_rate(FINETUNE, step, 200) for step in range(200)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(FINETUNE.learning_rate)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()
    assert rates[-1] < 1e-3 * rates[peak]


def test_a_membrane_pixel_weighs_what_the_recipe_says():
    recipe = dataclasses.replace(DEFAULT, membrane_weight=3.0, label_smoothing=0.0, loss="mse")
    targets = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    logits = torch.full((1, 1, 1, 2), 30.0)  # P = 1: the membrane is wrong by 1, weight 3 of 4
    assert loss_of(recipe, logits, targets).item() == pytest.approx(0.75)


def test_smoothed_targets_have_their_least_loss_where_the_recipe_says():
    recipe = dataclasses.replace(DEFAULT, label_smoothing=0.1, logit_adjustment=0.0)
    targets = torch.ones(1, 1, 1, 1)
    probabilities = torch.linspace(0.5, 0.99, 50)
    losses = [loss_of(recipe, torch.logit(p).view(1, 1, 1, 1), targets) for p in probabilities]
    assert probabilities[int(torch.stack(losses).argmin())].item() == pytest.approx(0.9)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_soft_target_pulls_as_so_many_hard_ones(loss):
    recipe = dataclasses.replace(DEFAULT, loss=loss, membrane_weight=3.0)

    def pull(targets):
        logits = torch.zeros(1, 1, 1, 10, requires_grad=True)
        loss_of(recipe, logits, targets.view(1, 1, 1, 10)).backward()
        return logits.grad.sum().item()

    hard = torch.tensor([1.0] * 7 + [0.0] * 3)
    assert pull(torch.full((10,), 0.7)) == pytest.approx(pull(hard), rel=1e-5)


def test_the_adjustment_moves_the_logits_of_the_least_loss_and_not_the_loss():
    as_is = dataclasses.replace(DEFAULT, logit_adjustment=0.0)
    moved = dataclasses.replace(DEFAULT, logit_adjustment=0.4)
    targets = torch.rand(2, 1, 8, 8)
    logits = torch.randn(2, 1, 8, 8)
    assert loss_of(moved, logits + 0.4, targets).item() == pytest.approx(
        loss_of(as_is, logits, targets).item(), rel=1e-6
    )


def test_the_average_follows_the_weights_and_forgets_the_start():
    average, network = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        average.weight.fill_(100.0)
        network.weight.fill_(1.0)
    for step in range(300):
        average_weights(average, network, decay_of_average(DEFAULT, step))
    assert average.weight.item() == pytest.approx(1, abs=0.1)


def test_without_decay_the_average_is_the_network_itself():
    average, network = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    network(torch.randn(4, 2, 3, 3))
    average_weights(average, network, 0.0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, average.state_dict()[name]), name


def test_validation_scores_are_those_of_predict_and_score(config):
    from sfseg.config import PredictConfig
    from sfseg.prediction.jobs import Job
    from sfseg.prediction.model import Model
    from sfseg.prediction.predict import predict_job
    from sfseg.scoring.score_files import score_files

    result = train(config)
    options = PredictConfig(model=str(result.weights), engine="torch", precision="float32")
    model = Model.load(options)
    out = config.out / "out.tif"
    predict_job(Job(config.images, out), model, options)
    report = score_files(out, config.labels, sections="1")
    assert report.scores.v_rand == pytest.approx(model.header.scores["v_rand"], abs=1e-9)


def test_a_trainer_reports_the_time_that_is_left(config):
    records = []
    train(config, report=records.append)
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert [record.step for record in steps] == list(range(1, 7))
    assert steps[-1].seconds_left == 0
    assert all(record.seconds_left > 0 for record in steps[:-1])


@pytest.mark.parametrize("field", ["loss", "optimizer", "schedule", "augmentation"])
def test_a_misspelt_choice_is_refused(field):
    with pytest.raises(OptionError, match=field):
        dataclasses.replace(DEFAULT, **{field: "Full"})


def test_a_compiler_that_fails_says_what_to_do_without_it(config, monkeypatch):
    from torch._inductor.exc import CppCompileError

    def forward(_images):
        raise CppCompileError(["c++", "network.cpp"], "the output of the compiler")

    monkeypatch.setattr(compiler, "require_compiler", lambda _: None)
    monkeypatch.setattr(compiler, "compile_network", lambda _: forward)
    with pytest.raises(
        DeviceError, match=r"cannot be compiled: C\+\+.*\nhint: leave --compile out and"
    ):
        train(dataclasses.replace(config, compile=True))
    assert not (config.out / "weights.safetensors").exists()


def test_a_taken_folder_is_refused_without_torch(config):
    config.out.mkdir()
    (config.out / STATE).touch()
    found = refusal_without_torch("training", "TrainConfig", config.out)
    assert found == f"{config.out}: holds a training run already ({STATE}) False\n"
