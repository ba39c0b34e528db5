"""One contract for every architecture."""

import subprocess
import sys

import pytest
import torch

from sfseg import models
from sfseg.errors import UnknownNameError
from sfseg.models.weights import Header, load_weights, save_weights
from tests.networks import narrow_networks

ARCHITECTURES = sorted(models.ARCHITECTURES)


@pytest.fixture(params=ARCHITECTURES)
def arch(request):
    with narrow_networks():
        yield request.param


@pytest.mark.parametrize(
    ("name", "exactly", "thesis"),
    [("sfnet", 1_614_081, 1.6e6), ("fusionnet", 69_089_473, 69e6), ("unet", 25_084_225, 25e6)],
)
def test_parameter_counts_are_those_of_the_thesis(name, exactly, thesis):
    count = models.count_parameters(models.build(name))
    assert count == exactly
    assert count == pytest.approx(thesis, rel=0.01)


def test_output_is_one_logit_a_pixel(arch):
    network = models.build(arch).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 1, 16, 48))
    assert logits.shape == (2, 1, 16, 48)
    assert logits.std() > 0


def test_gradients_reach_every_parameter(arch):
    network = models.build(arch)
    network(torch.randn(2, 1, 32, 32)).square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before batch normalisation is subtracted again: its gradient is rounding noise or 0.
    assert [name for name in without if not name.endswith("bias")] == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(arch):
    one, same, other = (models.build(arch, seed=s).output.weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_building_leaves_the_global_random_state_alone(arch):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    models.build(arch)
    assert torch.equal(torch.rand(1), expected)


def test_saved_weights_load_as_equal_values(arch, tmp_path):
    network = models.build(arch)
    save_weights(tmp_path / "w.safetensors", network, Header(arch=arch, recipe="default"))
    loaded, header = load_weights(str(tmp_path / "w.safetensors"))
    assert header.arch == arch
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_sfnet_stays_at_64_channels_squeezed_to_32():
    convolutions = [m for m in models.build("sfnet").modules() if isinstance(m, torch.nn.Conv2d)]
    assert {c.out_channels for c in convolutions} == {64, 32, 1}


def test_an_unknown_architecture_suggests_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'unet'"):
        models.build("u-net")


def test_the_names_are_known_without_torch():
    code = (
        "import sys; from sfseg import models; print(*models.ARCHITECTURES, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sfnet", "fusionnet", "unet", "False"]
