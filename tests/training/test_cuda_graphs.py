"""Work that is recorded and replayed does what it does without."""

import dataclasses

import pytest
import torch

from sfseg.config import TrainConfig
from sfseg.models import build
from sfseg.recipes import DEFAULT, THESIS
from sfseg.training.cuda_graphs import WARM_CALLS, CudaGraph
from sfseg.training.data import TrainingData
from sfseg.training.muon import Muon
from sfseg.training.optim import make_optimizer, set_learning_rate
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.trainer import Trainer


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda")


def test_what_is_not_recorded_is_done_each_time():
    total = torch.zeros(())
    add = CudaGraph(total.add_, records=False)
    for number in range(WARM_CALLS + 3):
        add(torch.tensor(float(number)))
    assert total == sum(range(WARM_CALLS + 3))


@pytest.mark.gpu
def test_what_is_recorded_is_done_once_a_call_with_what_is_given_then(cuda):
    total, calls = torch.zeros((), device=cuda), []

    def add(numbers):
        calls.append(numbers.shape)
        total.add_(numbers.sum())
        return total * 2

    replay = CudaGraph(add, records=True)
    for number in range(10):
        for length in (2, 3):
            before = total.item()
            result = replay(torch.full((length,), float(number), device=cuda))
            assert total.item() == before + number * length
            assert result.item() == 2 * total.item()
    assert len(calls) == 2 * (WARM_CALLS + 1)
    replay(torch.ones(2, device=cuda), mode="another")
    assert len(calls) == 2 * (WARM_CALLS + 1) + 1


@pytest.mark.gpu
@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("recipe", [DEFAULT, THESIS], ids=lambda recipe: recipe.name)
def test_a_network_learns_the_same_from_replayed_steps(tissue, tmp_path, recipe):
    """With frozen statistics at the end, and a last batch of each epoch that is smaller."""
    recipe = dataclasses.replace(
        recipe,
        patch_px=64 if recipe.patch_px else None,
        input_px=64 if recipe.input_px else None,
        visits=8,
        batch_size=3,
        epochs=2,
        frozen_share=0.3,
    )
    data = TrainingData(tuple(Section(*pair) for pair in zip(*tissue, strict=True)), (), None, "")

    def learnt(*, records):
        config = TrainConfig(tmp_path, "sfnet", recipe, device="cuda", precision="float32")
        trainer = Trainer(TrainSetup.from_config(config), data)
        for replay in (trainer.train_step._replayed_gradients, trainer.train_step._replayed_move):
            assert replay._records
            replay._records = records
        return [trainer.take_step(*trainer.batch(step)).loss for step in range(trainer.steps)]

    losses = learnt(records=True)
    assert losses == pytest.approx(learnt(records=False), rel=0.02)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("recipe", [DEFAULT, THESIS], ids=lambda recipe: recipe.name)
def test_a_learning_rate_in_a_tensor_is_that_rate(recipe):
    torch.manual_seed(0)
    network = build("sfnet")
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    results = []
    for as_tensor in (False, True):
        network.load_state_dict(start)
        optimizer = make_optimizer(network, recipe, torch.float32)
        if as_tensor and isinstance(optimizer, Muon):
            kernels, others = (group["params"] for group in optimizer.param_groups)
            adamw = torch.optim.AdamW(
                others,
                torch.tensor(1.0),
                weight_decay=recipe.weight_decay,
                fused=True,
                capturable=True,
            )
            optimizer = Muon(kernels, adamw, dtype=torch.float32)
        elif as_tensor:
            optimizer = torch.optim.Adam(network.parameters(), torch.tensor(1.0), fused=True)
        for rate in (1e-3, 1e-2):
            set_learning_rate(optimizer, rate)
            for weight in network.parameters():
                weight.grad = torch.sin(weight.detach() * 100)
            optimizer.step()
        results.append({n: tensor.clone() for n, tensor in network.state_dict().items()})
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-5, atol=1e-6)
