"""A training that was stopped and resumed ends like one that was not."""

import contextlib
import dataclasses
import resource
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.cli import signals
from sfseg.config import TrainConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import CheckpointError, NonFiniteError, OutputError, OutputExistsError
from sfseg.io import write_stack
from sfseg.models import weights
from sfseg.models.safetensors_file import read_tensors
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.recipes import DEFAULT
from sfseg.system import locks
from sfseg.training import checkpointing, loss, state, time_budget, trainer
from sfseg.training import step as train_step
from sfseg.training import train as verb
from sfseg.training.checkpointing import Saving
from sfseg.training.command import command_for_more_epochs, command_to_resume
from sfseg.training.last_step import LastStep
from sfseg.training.run_folder import STATE
from sfseg.training.train import StepRecord, train
from sfseg.training.trainer import Trainer
from tests.networks import Small
from tests.processes import HANGS_S, end, started

TINY = dataclasses.replace(DEFAULT, patch_px=32, visits=2, batch_size=2, epochs=2)


@pytest.fixture(scope="module", autouse=True)
def _small_and_plain():
    """Train a small network, and draw no curves: they take longer than the training."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "ARCHITECTURES", {**models.ARCHITECTURES, "small": Small})
        patched.setattr(checkpointing.curves, "write_curves", lambda path, _: path.touch())
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with three small sections."""
    folder = tmp_path_factory.mktemp("data")
    for name, stack in zip(("volume", "labels"), make_tissue((3, 48, 48), seed=3), strict=True):
        write_stack(folder / f"{name}.tif", stack)
    return folder


def own_config(data, out):
    """Train on two sections in two steps an epoch, hold one out; save when asked or at the end."""
    return TrainConfig(
        out=out,
        arch="small",
        recipe=TINY,
        images=str(data / "volume.tif"),
        labels=str(data / "labels.tif"),
        validation="1",
        precision="float32",
        save_every_s=3600,
    )


@pytest.fixture
def config(data, tmp_path):
    return own_config(data, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder of the same training, uninterrupted."""
    out = tmp_path_factory.mktemp("whole")
    train(own_config(data, out))
    return out


def go_on(config):
    return train(dataclasses.replace(config, resume=True))


def step_of(out):
    return read_tensors(out / STATE)[1]["progress"]["step"]


def require_same_end(whole, out):
    expected, facts = read_tensors(whole / STATE)
    found, ours = read_tensors(out / STATE)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    losses = [[r["loss"] for r in f["progress"]["history"]] for f in (facts, ours)]
    assert losses[0] == losses[1]
    assert (whole / WEIGHTS_NAME).read_bytes() == (out / WEIGHTS_NAME).read_bytes()
    assert sorted(p.name for p in whole.iterdir()) == sorted(p.name for p in out.iterdir())


def stop_after(steps):
    """Make a report that sets a stop event after some steps."""
    stop = threading.Event()

    def report(record):
        if isinstance(record, StepRecord) and record.step == steps:
            stop.set()

    return {"report": report, "stop": stop}


def fail_at(monkeypatch, call, module, name, error, *, after=False):
    """Let a function raise when it is called so often, before or after it does its work."""
    original, calls = getattr(module, name), 0

    def failing(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise error
        result = original(*args, **kwargs)
        if calls == call:
            raise error
        return result

    monkeypatch.setattr(module, name, failing)


# --- stopped in whatever way


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_a_training_stopped_after_any_step_ends_like_an_uninterrupted_one(config, whole, steps):
    hooks = stop_after(steps)
    if not steps:
        hooks["stop"].set()
    result = train(config, **hooks)
    assert (result.finished, result.step, step_of(config.out)) == (False, steps, steps)
    assert go_on(config).finished
    require_same_end(whole, config.out)


@pytest.mark.parametrize(
    ("call", "where", "name", "after", "step"),
    [
        (3, train_step, "loss_of", False, 2),  # in the midst of the third step
        (1, trainer, "validate", False, 2),
        (1, weights, "save_weights", True, 2),  # weights written, epoch not noted down
        (1, checkpointing, "write_history", False, 2),
    ],
)
def test_an_interrupt_anywhere_loses_no_finished_step(
    config, whole, monkeypatch, call, where, name, after, step
):
    with monkeypatch.context() as patched:
        fail_at(patched, call, where, name, KeyboardInterrupt(), after=after)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert step_of(config.out) == step
    go_on(config)
    require_same_end(whole, config.out)


def test_a_step_that_broke_off_in_its_update_is_not_saved(config, whole, monkeypatch):
    with monkeypatch.context() as patched:
        fail_at(patched, 4, train_step, "average_weights", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert step_of(config.out) == 2  # of the first epoch's end
    go_on(config)
    require_same_end(whole, config.out)


@pytest.mark.parametrize(("where", "name"), [(train_step, "loss_of"), (trainer, "validate")])
def test_another_thread_can_save_the_last_step_while_the_next_is_under_way(
    config, whole, monkeypatch, where, name
):
    saved = []

    def save_and_break_off(*_):
        thread = threading.Thread(target=lambda: saved.append(save()))
        thread.start()
        thread.join()
        monkeypatch.undo()
        monkeypatch.setattr(Trainer, "save_state", lambda _: None)  # as if the process were gone
        raise KeyboardInterrupt

    def start(function):
        nonlocal save
        save = function

    save = None
    monkeypatch.setattr(where, name, save_and_break_off)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_start=start)
    monkeypatch.undo()
    assert saved == [step_of(config.out)] == [0 if name == "loss_of" else 2]
    go_on(config)
    require_same_end(whole, config.out)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_frozen_statistics_are_those_averaged_before_and_resume_to_the_bit(config, tmp_path, steps):
    frozen = dataclasses.replace(config, recipe=dataclasses.replace(TINY, frozen_share=0.5))
    train(dataclasses.replace(frozen, out=tmp_path / "whole"))
    train(frozen, **stop_after(steps))
    averaged = statistics(frozen.out, "average")
    assert go_on(frozen).finished
    require_same_end(tmp_path / "whole", frozen.out)
    if steps >= 2:  # of four
        for whose in ("learner.network", "average"):
            found = statistics(frozen.out, whose)
            assert all(torch.equal(found[name], tensor) for name, tensor in averaged.items())


def statistics(out, whose):
    """Read the statistics of the batch normalisation out of a state."""
    tensors = read_tensors(out / STATE)[0]
    start = f"{whose}."
    found = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    return {name: tensor for name, tensor in found.items() if "running_" in name}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_the_gpu_a_stopped_training_goes_on(config, whole, precision):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    ours = dataclasses.replace(config, device="cuda", precision=precision)
    assert step_of(train(ours, **stop_after(3)).weights.parent) == 3
    losses = [record.loss for record in go_on(ours).history]
    on_cpu = [r["loss"] for r in read_tensors(whole / STATE)[1]["progress"]["history"]]
    assert losses == pytest.approx(on_cpu, rel=0.05)  # noise is drawn on the device


# --- what cannot be resumed


def test_weights_that_a_stop_left_behind_are_those_of_the_last_epoch_in_the_end(
    config, monkeypatch
):
    def epoch(result):
        return weights.load_header(str(result.weights)).training["epoch"]

    monkeypatch.setattr(time_budget, "SHARE", 0)  # after the first epoch there is no time for them
    recipe = dataclasses.replace(TINY, epochs=3)
    config = dataclasses.replace(config, recipe=recipe, validation="none")
    result = train(config, **stop_after(7))  # an epoch has three steps
    assert (len(result.history), epoch(result)) == (2, 1)
    assert epoch(go_on(config)) == 3


def test_a_loss_that_is_no_number_keeps_the_state_of_the_step_before(config, data, monkeypatch):
    def loss_that_breaks(*args):
        loss_that_breaks.calls += 1
        return loss.loss_of(*args) * (1 if loss_that_breaks.calls < 4 else np.nan)

    loss_that_breaks.calls = 0
    with monkeypatch.context() as patched:
        patched.setattr(train_step, "loss_of", loss_that_breaks)
        with pytest.raises(NonFiniteError, match=r"step 4: .*\n.*state after step 3 is kept"):
            train(config)
    other = own_config(data, config.out.with_name("other"))
    train(other, **stop_after(3))
    expected, found = (read_tensors(c.out / STATE)[0] for c in (other, config))
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert go_on(config).finished  # it was a fluke


def test_the_cause_of_a_failed_training_is_reported_before_the_failure_to_save_its_state(
    config, monkeypatch
):
    def fails(*_):
        raise OutputError("state.safetensors: expected room on the disk, found none")

    monkeypatch.setattr(train_step, "loss_of", lambda *args: loss.loss_of(*args) * np.nan)
    monkeypatch.setattr(trainer.Trainer, "save_state", fails)
    with pytest.raises(NonFiniteError, match="step 1: ") as error:
        train(config)
    assert error.value.__notes__ == [
        "its state could not be saved either: "
        "state.safetensors: expected room on the disk, found none"
    ]


def test_resuming_without_a_state_is_refused(config):
    with pytest.raises(CheckpointError, match="nothing to resume, no state"):
        go_on(config)


def test_resuming_with_another_configuration_says_all_that_differs(config):
    train(config, **stop_after(1))
    before = (config.out / STATE).read_bytes()
    recipe = dataclasses.replace(TINY, epochs=3, loss="mse")
    with pytest.raises(CheckpointError) as error:
        go_on(
            dataclasses.replace(
                config, seed=1, recipe=recipe, arch="unet", validation="2", half=True
            )
        )
    text = str(error.value)
    for line in (
        'arch: "small" -> "unet"',
        "seed: 0 -> 1",
        "half: false -> true",
        "recipe.epochs: 2 -> 3",
        "data: ",
    ):
        assert f"\n  {line}" in text
    assert '\n  recipe.loss: "bce" -> "mse"' in text
    assert "the number of epochs sets the learning rate of every step" in text
    assert (config.out / STATE).read_bytes() == before


def test_a_constant_rate_goes_on_for_longer_as_if_it_had_been_asked_for_at_once(config):
    recipe = dataclasses.replace(TINY, schedule="constant", frozen_share=0.0, epochs=1)
    longer = dataclasses.replace(recipe, epochs=2, name="default, changed: epochs")
    train(dataclasses.replace(config, recipe=recipe))
    assert len(go_on(dataclasses.replace(config, recipe=longer)).history) == 2
    again = dataclasses.replace(config, recipe=longer, out=config.out.with_name("at once"))
    train(again)
    expected, found = (read_tensors(c.out / STATE)[0] for c in (again, config))
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert go_on(dataclasses.replace(config, recipe=longer)).finished
    with pytest.raises(CheckpointError, match=r"recipe\.epochs: 2 -> 1"):
        go_on(dataclasses.replace(config, recipe=recipe))


def test_the_command_for_more_epochs_can_be_followed(config, data):
    recipe = dataclasses.replace(TINY, name="default, changed: epochs, patch_px")
    words = shlex.split(command_for_more_epochs(dataclasses.replace(config, recipe=recipe)))
    assert words[:2] == ["sfseg", "train"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {
        "--init": str(config.out),
        "--recipe": "default",
        "--images": str(data / "volume.tif"),
        "--labels": str(data / "labels.tif"),
        "--validation": "1",
        "--precision": "float32",
        "--epochs": "2",
        "--batch-size": "2",
        "--patch": "32",
        "--out": f"{config.out}-more",
    }


def test_the_starting_weights_are_scored_before_the_first_step_and_once(config, whole):
    said = []
    config = dataclasses.replace(config, init=str(whole))
    first = train(config, say=said.append, **stop_after(1))
    scores = weights.load_header(str(whole)).scores
    assert first.start["v_rand"] == pytest.approx(scores["v_rand"], abs=1e-6)
    assert sum("the starting weights score V_Rand" in line for line in said) == 1
    resumed = train(dataclasses.replace(config, resume=True), say=said.append)
    assert sum("the starting weights score V_Rand" in line for line in said) == 1
    assert resumed.start == first.start
    assert resumed.kept.v_rand == max(record.v_rand for record in resumed.history)


def test_resuming_on_another_machine_is_a_warning(config, monkeypatch):
    train(config, **stop_after(1))
    said = []
    monkeypatch.setattr(trainer.devices, "describe", lambda *_: "a toaster")
    train(dataclasses.replace(config, resume=True), say=said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert 'device: "cpu (' in warning
    assert '-> "a toaster"' in warning


def test_resuming_a_finished_training_says_so_and_changes_nothing(config, whole):
    out = whole
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    said = []
    result = train(dataclasses.replace(config, out=out, resume=True), say=said.append)
    assert result.finished
    assert result.weights == out / WEIGHTS_NAME
    assert said[-1].startswith(f"{out}: finished already, after 2 epochs; to train for longer: ")
    assert f" --init {out} --recipe default " in said[-1]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_finished_training_whose_weights_are_gone_is_an_error(config):
    train(config)
    (config.out / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match="are missing"):
        go_on(config)


def test_a_second_training_in_the_same_folder_is_refused(config):
    lock = config.out / "training.lock"
    with (
        locks.exclusive(lock, waiting=pytest.fail),
        pytest.raises(OutputExistsError, match="another"),
    ):
        train(config)


def test_a_training_that_came_while_the_data_were_read_is_kept(config, monkeypatch):
    def read_while_another_trains(*arguments, **options):
        config.out.mkdir()
        (config.out / STATE).write_text("theirs")
        return load_training_data(*arguments, **options)

    load_training_data = verb.load_training_data
    monkeypatch.setattr(verb, "load_training_data", read_while_another_trains)
    with pytest.raises(OutputExistsError, match=r"holds a training run already \(state"):
        train(config)
    assert [path.read_text() for path in config.out.iterdir()] == ["theirs"]


def test_what_a_killed_training_has_half_written_is_cleared_away(config, whole):
    train(config, **stop_after(1))
    for name in (STATE, WEIGHTS_NAME, "history.csv", "curves.png", "config.json"):
        (config.out / f"{name}.part").write_bytes(b"half")
    (config.out / "mine.part").write_bytes(b"somebody else's")
    go_on(config)
    (config.out / "mine.part").unlink()
    require_same_end(whole, config.out)


# --- the state on disk


@pytest.fixture
def small():
    """A network of a thousand weights, channels last, and its optimiser after a step."""
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 60, 3), torch.nn.BatchNorm2d(60))
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    network(torch.randn(2, 2, 5, 5)).sum().backward()
    optimizer.step()
    return network, optimizer


def save(path, network, optimizer):
    state.save_state(path, {"network": network.state_dict()}, optimizer, {"config": {}})


def test_a_full_disk_is_reported_and_the_earlier_state_stays(small, tmp_path):
    path = tmp_path / STATE
    save(path, *small)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # no file may be longer
    try:
        with pytest.raises(
            OSError, match=r"needs 0\.0 MB, [\d.]+ MB are free: .*\nhint: free some"
        ):
            save(path, *small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_is_no_number_is_not_written(small, tmp_path):
    network, optimizer = small
    with torch.no_grad():
        network[1].running_var[3] = torch.inf
    with pytest.raises(NonFiniteError, match=r"network\.1\.running_var"):
        save(tmp_path / STATE, network, optimizer)
    assert list(tmp_path.iterdir()) == []


def test_moments_come_back_in_the_layout_of_their_weights(small, tmp_path):
    network, optimizer = small
    save(tmp_path / STATE, network, optimizer)
    state.read_state(tmp_path / STATE).restore({"network": network}, optimizer)
    weight = network[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    for moment in ("exp_avg", "exp_avg_sq"):
        assert optimizer.state[weight][moment].stride() == weight.stride()


def test_statistics_are_those_of_the_last_step_until_the_next_is_done(small):
    network, _ = small
    last = LastStep(network)
    with last.snapshot():
        before = {name: tensor.clone() for name, tensor in last.tensors().items()}
    network(torch.randn(2, 2, 5, 5))
    assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])
    assert torch.equal(last.tensors()["1.running_mean"], before["1.running_mean"])
    last.rollback()
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    network(torch.randn(2, 2, 5, 5))
    with last.update():
        pass
    assert torch.equal(last.tensors()["1.running_mean"], network[1].running_mean)


class Clock:
    """A training that saves in `cost` seconds by a clock that is set by hand."""

    def __init__(self, cost):
        self.now, self.cost, self.saves = 0.0, cost, 0
        self.config = dataclasses.make_dataclass("Config", ["save_every_s"])(100.0)
        self.progress = dataclasses.make_dataclass("Progress", ["history"])([])
        self.world = dataclasses.make_dataclass("World", ["is_first"])(False)

    def save_state(self):
        self.now += self.cost
        self.saves += 1


@pytest.mark.parametrize(("cost", "epoch_s", "saves"), [(0, 1, 100), (1, 1, 5), (1, 50, 100)])
def test_states_are_saved_each_epoch_unless_that_takes_too_long(monkeypatch, cost, epoch_s, saves):
    clock = Clock(cost)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    timer = Saving(clock)
    for _ in range(100):
        clock.now += epoch_s
        timer.save_if_due(at_end=True)
    assert clock.saves == pytest.approx(saves, abs=1)


def test_states_are_saved_within_long_epochs(monkeypatch):
    clock = Clock(0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    timer = Saving(clock)
    for _ in range(1000):
        clock.now += 1
        timer.save_if_due(at_end=False)
    assert clock.saves == pytest.approx(10, abs=1)


# --- signals

BUSY = """
import hashlib, sys, threading
from sfseg.cli import signals as module
module.GRACE_S = {grace}
stop = module.Stop("sfseg train --resume --out 'a b'")
def save():
    {save}
with stop.listening():
    {arm}
    sys.stdout.write("ready")
    sys.stdout.flush()
    hashlib.pbkdf2_hmac("sha256", b"a long call that takes", b"no signals", 10**9)
"""


@contextlib.contextmanager
def busy(*, save="return 7", grace=0.1, arm="stop.arm(save)"):
    """Start a process whose main thread is deep in a long call."""
    code = BUSY.format(save=save, grace=grace, arm=arm)
    with started("-c", code, "train", "--out", "a b") as process:
        assert process.stdout.read(5) == "ready"
        yield process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_signal_in_a_long_step_saves_the_step_before_and_says_how_to_go_on(number, code):
    with busy() as process:
        process.send_signal(number)
        _, stderr = end(process)
    assert process.returncode == code
    assert stderr.splitlines() == [
        "stopping after this step; press Ctrl-C again to stop immediately",
        "stopped after step 7; to continue: sfseg train --resume --out 'a b'",
    ]


@pytest.mark.parametrize("grace", [0.1, HANGS_S])  # while it saves, and before it does
def test_a_second_ctrl_c_ends_a_training_at_once(grace):
    with busy(save="threading.Event().wait()", grace=grace) as process:
        process.send_signal(signal.SIGINT)
        assert "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = end(process)
    assert process.returncode == 130
    assert stderr == "stopped immediately\n"


def test_signals_after_the_first_do_not_cut_the_saving_short():
    """A terminal that is closed sends SIGHUP twice; a cluster warns, and then ends the job."""
    with busy(save="import time; time.sleep(1); return 7") as process:
        process.send_signal(signal.SIGUSR1)
        assert "stopping" in process.stderr.readline()
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        _, stderr = end(process)
    assert process.returncode == 138
    assert "stopped after step 7" in stderr


def test_a_state_that_cannot_be_saved_on_a_signal_is_an_error():
    with busy(save="raise OSError('the disk is full')") as process:
        process.send_signal(signal.SIGTERM)
        _, stderr = end(process)
    assert process.returncode == 1
    assert "error: the disk is full" in stderr


def test_a_signal_before_training_ends_the_process_by_unwinding():
    stop = signals.Stop("")
    with stop.listening(), pytest.raises(SystemExit) as error:
        signal.raise_signal(signal.SIGTERM)
    assert error.value.code == 143


def test_a_signal_while_training_sets_the_event():
    stop = signals.Stop("")
    with stop.listening():
        stop.arm(lambda: pytest.fail("there was time to finish the step"))
        signal.raise_signal(signal.SIGTERM)
        assert stop.event.wait(HANGS_S)
    assert stop.exit_code == 143
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/usr/bin/sfseg", "train", "--seed", "3"], "sfseg train --resume --out 'a b'"),
        (
            ["/x/sfseg/__main__.py", "train", "--resume"],
            "python -m sfseg train --resume --out 'a b'",
        ),
    ],
)
def test_the_command_to_go_on_names_the_folder_alone(monkeypatch, argv, words):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr(sys, "argv", argv)
    assert command_to_resume("train", Path("a b")) == words


@pytest.mark.parametrize(("nodes", "words"), [("1", ""), ("3", "--nnodes 3 ")])
def test_under_torchrun_the_command_to_go_on_starts_as_many_processes(monkeypatch, nodes, words):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("GROUP_WORLD_SIZE", nodes)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["/x/sfseg/__main__.py", "train", "--seed", "3"])
    expected = f"torchrun {words}--nproc-per-node 2 -m sfseg train --resume --out run"
    assert command_to_resume("train", Path("run")) == expected


def test_a_state_that_is_given_as_weights_is_called_a_state(whole):
    with pytest.raises(CheckpointError, match=r"this is the state of a training run") as error:
        weights.load_header(str(whole / STATE))
    assert str(whole / WEIGHTS_NAME) in str(error.value)
