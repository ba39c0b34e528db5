import json
import math
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sfseg import checkpoints, models, states
from sfseg.checkpoints import Header, load_weights, save_weights
from sfseg.errors import CheckpointError, UnknownNameError


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
    old_tensors, old_header = checkpoints.read_tensors(path)
    checkpoints.write_tensors(path, tensors or old_tensors, header or old_header)


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


def test_the_folder_of_a_run_stands_for_its_weights(weights, tmp_path):
    weights.rename(tmp_path / "weights.safetensors")
    _, header = load_weights(str(tmp_path))
    assert header.arch == "sfnet"


def test_an_unknown_model_lists_the_shipped_ones():
    with pytest.raises(UnknownNameError, match="sfnet-isbi2012"):
        load_weights("sfnet-isbi2013")


def bad_pickle(path):
    path.write_bytes(pickle.dumps({"weight": 1}))


def bad_truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def bad_empty(path):
    path.write_bytes(b"")


def bad_header_length(path):
    path.write_bytes(struct.pack("<Q", 2**40) + path.read_bytes()[8:])


def bad_foreign(path):
    save_file({"x": torch.zeros(2)}, path)


def bad_nan(path):
    tensors, _ = checkpoints.read_tensors(path)
    tensors["output.bias"][0] = float("nan")
    rewrite(path, tensors=tensors)


def bad_keys(path):
    tensors, _ = checkpoints.read_tensors(path)
    del tensors["output.bias"]
    rewrite(path, tensors=tensors)


def bad_shapes(path):
    tensors, _ = checkpoints.read_tensors(path)
    tensors["output.bias"] = torch.zeros(7)
    rewrite(path, tensors=tensors)


def bad_arch(path):
    _, header = checkpoints.read_tensors(path)
    rewrite(path, header=header | {"arch": "vgg"})


def bad_schema(path):
    _, header = checkpoints.read_tensors(path)
    rewrite(path, header=header | {"schema": 99})


def bad_field(path):
    _, header = checkpoints.read_tensors(path)
    rewrite(path, header=header | {"colour": "red"})


def bad_normalisation(path):
    _, header = checkpoints.read_tensors(path)
    rewrite(path, header=header | {"normalisation": "tile"})


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (bad_pickle, "pickled"),
        (bad_truncated, "expected a safetensors file"),
        (bad_empty, "expected a safetensors file"),
        (bad_header_length, "expected a safetensors file"),
        (bad_foreign, "no header"),
        (bad_nan, "NaN or infinity in output.bias"),
        (bad_keys, "output.bias"),
        (bad_shapes, "expected the tensors of sfnet"),
        (bad_arch, "vgg"),
        (bad_schema, "schema 1, found 99"),
        (bad_field, "colour"),
        (bad_normalisation, "tile"),
    ],
)
def test_unusable_weights_are_refused_saying_why(weights, spoil, found):
    spoil(weights)
    with pytest.raises(CheckpointError, match=found):
        load_weights(str(weights))


@pytest.mark.parametrize("spoil", ["weights", "truncated", "role", "moment"])
def test_an_unusable_state_is_refused(network, tmp_path, spoil):
    optimizer = torch.optim.Adam(network.parameters())
    path = tmp_path / "state.safetensors"
    states.save_state(path, {"network": network}, optimizer, {"step": 1})
    tensors, _ = checkpoints.read_tensors(path)
    if spoil == "weights":
        save_weights(path, network, Header(arch="sfnet", recipe="default"))
    elif spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif spoil == "role":
        rewrite(path, tensors={f"other.{name}": tensor for name, tensor in tensors.items()})
    else:
        rewrite(path, tensors=tensors | {"optimizer.x.exp_avg": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="expected"):
        states.load_state(path, {"network": network}, optimizer)


def test_an_unknown_length_of_the_voxels_comes_back_as_such(network, tmp_path):
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
        assert header.schema == checkpoints.SCHEMA
        assert path.with_suffix(".md").is_file()


def test_the_header_is_json_that_other_tools_can_read(weights):
    length = struct.unpack("<Q", weights.read_bytes()[:8])[0]
    metadata = json.loads(weights.read_bytes()[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["sfseg"])["arch"] == "sfnet"
