"""Weights on disk: they come back equal, and nothing else is taken for them."""

import contextlib
import json
import math
import struct

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.errors import CheckpointError, UnknownNameError
from sfseg.models import header as headers
from sfseg.models import weights as checkpoints
from sfseg.models.safetensors_file import read_tensors
from sfseg.models.weights import Header, load_weights, save_weights
from sfseg.training import state
from tests.trust.small import World
from tests.trust.weights import ANY, WEIGHTS, mutated


@pytest.fixture
def network():
    return models.build("sfnet")


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Header(arch="sfnet", recipe="default", voxel_size_nm=(50, 4, 4)))
    return path


def rewrite(path, *, header=None, tensors=None):
    """Replace parts of a weights file, as a careless or hostile writer would."""
    old_tensors, old_header = read_tensors(path)
    checkpoints.write_tensors(path, tensors or old_tensors, header or old_header)


def test_weights_have_the_mode_of_any_new_file(weights, tmp_path):
    (tmp_path / "plain").touch()
    assert weights.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert not (tmp_path / "w.safetensors.part").exists()


def test_the_header_comes_back(weights):
    _, header = load_weights(str(weights))
    assert header == Header(arch="sfnet", recipe="default", voxel_size_nm=(50.0, 4.0, 4.0))


def test_half_weights_take_half_the_space_and_keep_three_digits(network, weights, tmp_path):
    half = tmp_path / "half.safetensors"
    save_weights(half, network, Header(arch="sfnet", recipe="default"), half=True)
    assert half.stat().st_size < 0.52 * weights.stat().st_size
    loaded, _ = load_weights(str(half))
    for name, tensor in network.state_dict().items():
        np.testing.assert_allclose(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-7)


def test_loaded_weights_are_not_those_in_the_file(weights):
    before = weights.read_bytes()
    network, _ = load_weights(str(weights))
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.requires_grad
            assert parameter.dtype == torch.float32
            parameter.zero_()
    assert weights.read_bytes() == before
    assert any(p.any() for p in load_weights(str(weights))[0].parameters())


def test_the_folder_of_a_run_stands_for_its_weights(weights, tmp_path):
    weights.rename(tmp_path / "weights.safetensors")
    _, header = load_weights(str(tmp_path))
    assert header.arch == "sfnet"


def test_an_unknown_model_lists_the_shipped_ones():
    with pytest.raises(UnknownNameError, match="sfnet-isbi2012"):
        load_weights("sfnet-isbi2013")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("weights") / "world")


def load_bad(what, world, path):
    (ANY | WEIGHTS)[what](path, world.weights.read_bytes())
    with world.patched():
        return load_weights(str(path))


@pytest.mark.parametrize("what", ANY | WEIGHTS)
def test_a_file_is_refused_as_weights_that(what, world, tmp_path):
    with pytest.raises(
        (CheckpointError, UnknownNameError), match=r"w\.safetensors: \S[^\n]* [^\n]+\nhint: \S"
    ):
        load_bad(what, world, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors.ran").exists()


def test_a_mutated_header_is_refused_or_says_something_else(world, tmp_path):
    whole, path = world.weights.read_bytes(), tmp_path / "w.safetensors"
    for number in range(1000):
        path.write_bytes(mutated(whole, number))
        with world.patched(), contextlib.suppress(CheckpointError):
            load_weights(str(path))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("is a pickle of protocol 0", "but a pickle\nhint: nothing is ever unpickled"),
        ("is a pickle of protocol 4", "but a pickle\nhint: nothing is ever unpickled"),
        ("was written by torch.save", "but a zip archive, as torch.save writes it"),
        ("was written by torch.save of old", "but a pickle\nhint: "),
        ("is a numpy array of objects", "but a numpy array"),
        ("is a pickle packed by zlib", "but packed by zlib, as joblib writes it"),
        ("is empty", "w.safetensors: the file is empty\nhint: "),
        ("is cut at 100% of its header and tensors -1 bytes", "bytes of tensors instead of"),
        ("has a header of 100 MB and a byte", "file: a header of 100,000,001 bytes"),
        ("has tensors that overlap", "the tensors overlap"),
        ("has a hole between tensors", "the tensors leave a hole"),
        ("has NaN in it", "there is NaN or infinity in "),
        ("has tensors of another shape", "these are not the tensors of small: "),
        ("has 20,000 tensors", "20,000 tensors are too many"),
        ("has a tensor twice", "a key twice in one object"),
        ("has a header of brackets within brackets", "brackets nested too deep"),
        ("has no texts", "it has no header of sfseg"),
        ("is of an unknown architecture", "'vgg'"),
        ("is of a schema of the future", "schema 99, this sfseg reads 1\nhint: upgrade sfseg"),
        ("has a field too many", "'colour'"),
        ("is normalised in another way", "'tile'"),
        ("is a folder", "this is a folder without weights.safetensors"),
        ("is a pipe", "this is a pipe or a device"),
    ],
)
def test_it_is_said_why_a_file_is_refused_that(what, said, world, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        load_bad(what, world, tmp_path / "w.safetensors")
    assert said in str(caught.value)


def test_a_variance_below_zero_is_refused(weights):
    tensors, _ = read_tensors(weights)
    name = next(name for name in tensors if name.endswith("running_var"))
    rewrite(weights, tensors=tensors | {name: -tensors[name]})
    with pytest.raises(CheckpointError, match=f"there is a negative variance in {name}"):
        load_weights(str(weights))


def test_a_pickle_can_be_converted_as_the_hint_says(network, tmp_path):
    """By who trusts it."""
    torch.save(network.state_dict(), tmp_path / "w.pt")
    other = models.build("sfnet", seed=5)
    other.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    save_weights(tmp_path / "w.safetensors", other, Header(arch="sfnet", recipe="default"))
    loaded, _ = load_weights(str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded.output.bias, network.output.bias)


@pytest.fixture
def learner():
    """A network of a few weights and its optimiser, after a step."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    return network, optimizer


BAD_STATES = {
    "truncated": lambda path, _: path.write_bytes(path.read_bytes()[:-50]),
    "of another role": lambda path, tensors: rewrite(
        path, tensors={f"other.{name}": tensor for name, tensor in tensors.items()}
    ),
    "with a tensor too few": lambda path, tensors: rewrite(
        path, tensors={n: t for n, t in tensors.items() if n != "network.0.bias"}
    ),
    "with whole numbers": lambda path, tensors: rewrite(
        path, tensors=tensors | {"network.0.bias": torch.zeros(2, dtype=torch.int64)}
    ),
    "with a moment of nothing": lambda path, tensors: rewrite(
        path, tensors=tensors | {"optimizer.x.exp_avg": torch.zeros(1)}
    ),
    "with a moment too many": lambda path, tensors: rewrite(
        path, tensors=tensors | {"optimizer.9.exp_avg": torch.zeros(1)}
    ),
    "with a moment too few": lambda path, tensors: rewrite(
        path, tensors={n: t for n, t in tensors.items() if n != "optimizer.1.exp_avg"}
    ),
    "with moments of some weights": lambda path, tensors: rewrite(
        path, tensors={n: t for n, t in tensors.items() if not n.startswith("optimizer.1.")}
    ),
    "with a moment of another shape": lambda path, tensors: rewrite(
        path, tensors=tensors | {"optimizer.0.exp_avg": torch.zeros(7)}
    ),
}


@pytest.mark.parametrize("what", BAD_STATES)
def test_a_state_is_refused(what, learner, tmp_path):
    network, optimizer = learner
    path = tmp_path / "state.safetensors"
    state.save_state(path, {"network": network.state_dict()}, optimizer, {"step": 1})
    BAD_STATES[what](path, read_tensors(path)[0])
    with pytest.raises(CheckpointError, match=r"state\.safetensors: \S[^\n]* [^\n]+\nhint: \S"):
        state.read_state(path).restore({"network": network}, optimizer)


def test_weights_are_no_state(weights):
    with pytest.raises(CheckpointError, match=f"schema 1, this sfseg reads {state.SCHEMA}"):
        state.read_state(weights)


def test_an_unknown_length_of_the_voxels_stays_unknown(network, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Header("sfnet", "default", voxel_size_nm=(math.nan, 4, 4)))
    assert b"NaN" not in path.read_bytes()[:5000]
    voxel_size = load_weights(str(path))[1].voxel_size_nm
    assert math.isnan(voxel_size[0])
    assert voxel_size[1:] == (4, 4)


def test_every_shipped_model_has_a_card_and_loads():
    shipped = sorted(checkpoints.WEIGHTS_FOLDER.glob("*.safetensors"))
    assert shipped
    for path in shipped:
        network, header = load_weights(path.stem)
        assert models.count_parameters(network) > 0
        assert header.schema == headers.SCHEMA
        assert path.with_suffix(".md").is_file()


def test_the_header_is_json_that_other_tools_can_read(weights):
    length = struct.unpack("<Q", weights.read_bytes()[:8])[0]
    metadata = json.loads(weights.read_bytes()[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["sfseg"])["arch"] == "sfnet"
