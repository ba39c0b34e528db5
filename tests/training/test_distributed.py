"""Several processes: together they do what one process does with all their patches at once.

The processes are real ones, started by `torchrun`, that talk over the loopback device.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from sfseg import models
from sfseg.config import TrainConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import CheckpointError, DeviceError, OptionError
from sfseg.models.safetensors_file import read_tensors
from sfseg.recipes import DEFAULT
from sfseg.system import compiler
from sfseg.system.torchrun import is_first, place_on_machine, processes
from sfseg.training import trainer
from sfseg.training.averaging import set_mode
from sfseg.training.data import TrainingData
from sfseg.training.distributed import (
    ALONE,
    SharedBatchNorm,
    own_device,
    process_group,
    with_shared_statistics,
)
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.train import train
from tests.forks import forked
from tests.networks import Small
from tests.pair import run_two
from tests.processes import end, started, wait_until

CPU = torch.device("cpu")
BATCH = 4
ROOT = Path(__file__).parents[2]


def start(*arguments, **variables):
    """Start Python with one thread, where it finds the tests."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return started(*arguments, env=environment, cwd=ROOT)


def start_two(script, *arguments):
    """Start two processes as torchrun does, without the time that it takes itself."""
    return forked(run_two, str(script), *arguments, cwd=ROOT)


def learn(folder, dtype, world):
    """Take the two steps of an epoch, of 4 patches and of 1, and keep what came of it."""
    recipe = dataclasses.replace(
        DEFAULT, patch_px=32, visits=5, batch_size=BATCH // world.size, epochs=1
    )
    sections = [Section(*pair) for pair in zip(*make_tissue((1, 64, 64), seed=3), strict=True)]
    data = TrainingData(tuple(sections), (), None, "tissue")
    config = TrainConfig(out=folder, recipe=recipe, precision="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "ARCHITECTURES", {**models.ARCHITECTURES, "sfnet": Small})
        network = models.build("sfnet", seed=0).to(dtype)
        patch.setattr(trainer, "start_network", lambda _: network)
        training = trainer.Trainer(TrainSetup.from_config(config), data, world)
    losses = []
    for step in range(training.steps):
        images, targets = training.batch(step)
        losses.append(training.take_step(images.to(dtype), targets).loss)
    training.save_state()
    return losses, dict(training.train_step.network.state_dict())


def work(folder):
    """Do a process's share, in one meeting for all that the tests look at."""
    with process_group(CPU) as world:
        found = {str(dtype): learn(folder / str(dtype), dtype, world) for dtype in DTYPES}
        found["any"] = [world.any(False), world.any(world.rank == 1)]
        found["sum"] = world.sum(torch.tensor([1.0 + world.rank]))
        torch.save(found, folder / f"{world.rank}.pt")


DTYPES = (torch.float32, torch.float64)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("two")
    with start_two(__file__, folder) as both:
        _, said = end(both)
        assert both.returncode == 0, said
    return folder, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process with twice the batch found."""
    return {dtype: learn(tmp_path_factory.mktemp("one"), dtype, ALONE) for dtype in DTYPES}


def distance(one, other):
    """Tell how far two networks are apart, by their kernels.

    A bias before a normalisation has no gradient but rounding, which Adam follows all the same.
    """
    kernels = [name for name, tensor in one.items() if tensor.ndim == 4]
    return torch.stack([(one[n].double() - other[n].double()).norm() for n in kernels]).norm()


@pytest.mark.usefixtures("small_architectures")
def test_two_processes_end_where_one_with_twice_the_batch_does(alone, found):
    begin = models.build("sfnet", seed=0).state_dict()
    _, exact = alone[torch.float64]
    _, together = found[1][0][str(torch.float64)]
    assert distance(together, exact) < 1e-6 * distance(begin, exact)


def test_in_float32_two_processes_are_as_near_to_the_exact_weights_as_one(alone, found):
    _, exact = alone[torch.float64]
    _, one = alone[torch.float32]
    _, two = found[1][0][str(torch.float32)]
    assert 0 < distance(two, exact) < 1.5 * distance(one, exact)


def test_statistics_are_frozen_also_where_several_gpus_share_them():
    network, average = models.build("sfnet", seed=0), models.build("sfnet", seed=0)
    nn.init.constant_(average.bridge[0][1].running_mean, 3.0)
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # what `World.share` does there
    for step in (88, 89):  # the last eighth begins
        set_mode(network, average, DEFAULT, step, steps=100)
    assert torch.equal(network.bridge[0][1].running_mean, average.bridge[0][1].running_mean)
    assert not network.bridge[0][1].training
    assert network.bridge.training


@pytest.mark.parametrize(("dtype", "off"), [(DTYPES[0], 1e-3), (DTYPES[1], 1e-6)])
def test_two_processes_have_the_loss_of_one(alone, found, dtype, off):
    assert found[1][0][str(dtype)][0] == pytest.approx(alone[dtype][0], rel=off)


def test_all_processes_have_the_same_weights_bit_for_bit(found):
    first, second = (rank[str(torch.float32)][1] for rank in found[1])
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_first_process_alone_writes(found):
    folder, _ = found
    assert [p.name for p in (folder / "torch.float32").iterdir()] == [trainer.STATE]
    state = read_tensors(folder / "torch.float32" / trainer.STATE)[1]
    assert state["config"]["processes"] == 2
    assert state["config"]["recipe"]["batch_size"] == BATCH // 2


def test_a_flag_in_one_process_is_seen_by_all(found):
    assert [rank["any"] for rank in found[1]] == [[False, True]] * 2
    assert [rank["sum"].item() for rank in found[1]] == [3.0] * 2


def training(folder, out, *more):
    own = ["--images", folder / "volume.tif", "--labels", folder / "labels.tif", "--sections", "1"]
    small = ["--validation", "none", "--patch", "32", "--batch-size", "1", "--device", "cpu"]
    return [ROOT / "tests" / "small_sfseg.py", "train", *own, *small, "--out", out, *more]


@pytest.mark.usefixtures("small_architectures")
def test_a_stopped_training_of_two_processes_goes_on_as_two_and_not_as_one(tissue_folder, tmp_path):
    out = tmp_path / "run"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    own = training(tissue_folder, out, "--epochs", "12", "--save-every", "0")
    with start(*torchrun, *own) as process:
        wait_until((out / trainer.STATE).exists, process)
        process.send_signal(signal.SIGTERM)
        printed, said = end(process)
    assert printed == ""
    assert said.count("training on") == said.count("stopped after step ") == 1
    assert "torchrun --nproc-per-node 2 -m sfseg train" in said
    state = read_tensors(out / trainer.STATE)[1]
    assert f"stopped after step {state['progress']['step']};" in said
    assert 0 < state["progress"]["step"] < 48

    alone = TrainConfig(
        out=out,
        recipe=dataclasses.replace(DEFAULT, patch_px=32, batch_size=2, epochs=12),
        images=str(tissue_folder / "volume.tif"),
        labels=str(tissue_folder / "labels.tif"),
        resume=True,
    )
    with pytest.raises(CheckpointError, match="processes: 2 -> 1"):
        train(alone)

    with start_two(*own, "--resume") as both:
        printed, said = end(both)
    assert both.returncode == 0, said
    assert printed == f"{out}/weights.safetensors\n"
    assert read_tensors(out / trainer.STATE)[1]["progress"]["step"] == 48


@pytest.fixture
def launched(monkeypatch):
    """Make this process the second of two on its machine, and the fourth of all."""
    values = {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}
    for name, value in {**values, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))
    return monkeypatch


def test_a_process_knows_its_place(launched):
    assert (processes(), is_first(), place_on_machine()) == (4, False, (1, 2))
    launched.delenv("TORCHELASTIC_RUN_ID")  # a cluster's own RANK is none of ours
    assert (processes(), is_first(), place_on_machine()) == (1, True, (0, 1))


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(launched):
    launched.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(CPU) == CPU
    with pytest.raises(DeviceError, match="2 processes need a GPU each, only 1 can be used"):
        own_device(torch.device("cuda", 0))


def test_several_processes_do_not_compile(launched, tmp_path):
    launched.setattr(compiler, "require_compiler", lambda _: None)
    with pytest.raises(OptionError, match="one process, not with 4"):
        train(TrainConfig(tmp_path / "run", compile=True))


def test_one_process_meets_nobody():
    with process_group(CPU) as world:
        assert world == ALONE
        assert not distributed.is_initialized()
        assert world.any(True)
        assert not world.any(False)
    network = nn.Linear(1, 1)
    assert world.share(network) is world.parallel(network) is network


def test_shared_statistics_have_the_names_of_one_s_own():
    network = models.build("sfnet")
    shared = with_shared_statistics(models.build("sfnet"))
    kinds = {type(m) for m in shared.modules() if isinstance(m, nn.BatchNorm2d)}
    assert kinds == {SharedBatchNorm}
    assert shared.state_dict().keys() == network.state_dict().keys()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
