"""Every engine gives the numbers of the network, and the choice of one is tried and remembered."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from sfseg.config import SHIPPED_MODEL, PredictConfig
from sfseg.errors import DeviceError, MissingExtraError
from sfseg.models.weights import load_weights
from sfseg.prediction.engines import Choice, blockwise, choose, inductor, make_engine, openvino
from sfseg.prediction.engines.blockwise import Blockwise, FloatLayers
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.whole import batch_runner, folded_on
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.system import compiler
from sfseg.transforms.normalise import standardise
from tests.forks import command, forked
from tests.networks import Shallow, warm_statistics
from tests.processes import end

CPU = torch.device("cpu")
F32, BF16 = torch.float32, torch.bfloat16


def sections(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def forward(network, batch):
    """Give what the network itself gives."""
    with torch.inference_mode():
        return torch.sigmoid(network(torch.from_numpy(batch)[:, None]))[:, 0].numpy()


# --- the numbers


def test_folding_keeps_the_numbers_and_the_network(network):
    before = copy.deepcopy(network.state_dict())
    batch = sections(2, 16, 32)
    folded = fold(network)
    assert not any(
        isinstance(m, nn.BatchNorm2d) and b for m in folded.modules() for b in m.buffers()
    )
    np.testing.assert_allclose(forward(folded, batch), forward(network, batch), atol=1e-5, rtol=0)
    assert np.ptp(forward(network, batch)) > 1e-3
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_blocks_of_any_size_give_what_the_network_gives(network, monkeypatch):
    batch = sections(1, 48, 64)
    monkeypatch.setattr(blockwise, "BLOCK_PX", 1)  # 32 rows
    monkeypatch.setattr(blockwise, "BLOCK_COLUMNS", 26)
    found = torch_engine(network, CPU, F32)(batch)
    np.testing.assert_allclose(found, forward(network, batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [F32, pytest.param(BF16, marks=pytest.mark.bf16)])
def test_the_size_of_the_blocks_does_not_change_a_bit(small_network, monkeypatch, dtype):
    batch = sections(1, 112, 176)
    expected = torch_engine(small_network, CPU, dtype)(batch)
    for pixels, columns in ((1, 26), (64 * 98, 98)):
        monkeypatch.setattr(blockwise, "BLOCK_PX", pixels)
        monkeypatch.setattr(blockwise, "BLOCK_COLUMNS", columns)
        np.testing.assert_array_equal(torch_engine(small_network, CPU, dtype)(batch), expected)


def test_without_the_fused_operator_the_numbers_are_the_same(network, monkeypatch):
    batch = sections(1, 16, 48)
    monkeypatch.setattr(blockwise, "_has_fused_convolution", lambda: False)
    found = torch_engine(network, CPU, F32)(batch)
    np.testing.assert_allclose(found, forward(network, batch), atol=1e-5, rtol=0)


def test_the_fused_operator_is_there_in_this_pytorch():
    """If a release takes it away, prediction gets slower and nobody would know."""
    assert blockwise._has_fused_convolution() == torch.backends.mkldnn.is_available()


def test_whole_passes_give_what_the_network_gives(small_network):
    batch = sections(3, 48, 80)
    found = batch_runner(folded_on(small_network, CPU, F32), CPU, F32)(batch)
    np.testing.assert_allclose(found, forward(small_network, batch), atol=1e-5, rtol=0)


@pytest.mark.bf16
def test_the_sections_of_a_batch_do_not_depend_on_each_other(small_network):
    batch = sections(3, 32, 64)
    engine = torch_engine(small_network, CPU, BF16)
    together = engine(batch)
    for one, found in zip(batch, together, strict=True):
        np.testing.assert_array_equal(engine(one[None])[0], found)


def test_a_foreign_network_is_refused():
    with pytest.raises(TypeError, match=r"is not one of sfseg\.models"):
        fold(nn.Conv2d(1, 1, 3))
    with pytest.raises(TypeError, match=r"is not a block of sfseg\.models"):
        blockwise._pack(nn.Linear(2, 2), FloatLayers(F32))


@pytest.mark.bf16
def test_the_memory_of_the_blocks_is_reported(small_network):
    """Four channels of skips at each level, in bf16 half of those in float32."""
    of = {
        dtype: Blockwise(fold(small_network), FloatLayers(dtype)).bytes_per_px
        for dtype in (F32, BF16)
    }
    assert 4 * 4 * (1 + 1 / 4) < of[F32] < 4 * 4 * (1 + 1 / 4 + 1 / 4 + 1 / 8) + 16
    assert of[BF16] < of[F32]


@pytest.mark.bf16
def test_bf16_agrees_with_float32_on_the_shipped_network(tissue):
    """The bar of the field's bf16 releases: no probability is off by more than 0.06."""
    network, _ = load_weights(SHIPPED_MODEL)
    section = standardise(tissue[0][0])[None, :64, :64]
    exact, fast = (torch_engine(network, CPU, dtype)(section) for dtype in (F32, BF16))
    assert exact.dtype == fast.dtype == np.float32
    assert 0 < np.abs(exact - fast).max() < 0.06


# --- openvino and torch.compile


@pytest.mark.slow
def test_openvino_gives_the_numbers_of_torch(tissue_folder, tmp_path):
    """It runs in a process of its own, which it may damage and which may crash as it ends."""
    if not openvino.has_openvino():
        pytest.skip("openvino is not installed")
    source, out, expected = tissue_folder / "volume.tif", tmp_path / "o.tif", tmp_path / "t.tif"
    options = ("--engine", "openvino", "--precision", "float32", "--device", "cpu")
    with forked(command, "predict", source, "-o", out, *options, cwd=tmp_path) as process:
        _, said = end(process)
    assert out.exists(), said
    record = json.loads((tmp_path / "o.tif.json").read_text())
    assert record["identity"]["resolved"]["engine"] == "openvino"
    config = PredictConfig(engine="torch", precision="float32", device="cpu")
    predict_job(Job(str(source), expected), Model.load(config), config)
    found, wanted = tifffile.imread(out), tifffile.imread(expected)
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


def test_openvino_runs_on_a_cpu_only_and_where_it_is_installed(small_network, monkeypatch):
    with pytest.raises(DeviceError, match="only runs on the CPU, not on cuda"):
        openvino.openvino_engine(small_network, torch.device("cuda"), F32)
    monkeypatch.setattr(openvino, "has_openvino", lambda: False)
    with pytest.raises(MissingExtraError, match="openvino"):
        openvino.openvino_engine(small_network, CPU, F32)


@pytest.fixture
def shallow():
    """A network that is soon compiled."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = Shallow()
        warm_statistics(network)
    return network


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_a_compiled_network_gives_the_numbers_of_torch(shallow):
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("there is no C++ compiler")
    batch = sections(1, 16, 32)
    found = inductor.compiled_engine(shallow, CPU, F32)(batch)
    np.testing.assert_allclose(found, forward(shallow, batch), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_a_compiler_that_starts_and_then_fails_names_another_engine(shallow, tmp_path, monkeypatch):
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *--version*) echo 13.1.0; exit 0;; esac\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing is compiled yet
    import torch._inductor.config as inductor_config

    # Inductor reads CXX when it is imported, and another test may have done that.
    monkeypatch.setattr(inductor_config.cpp, "cxx", (None, str(compiler)))
    engine = inductor.compiled_engine(shallow, CPU, F32)
    with pytest.raises(DeviceError, match=r"cannot be compiled: \S.*\nhint: use --engine torch"):
        engine(sections(1, 16, 48))


def test_compile_without_a_compiler_names_another_engine(small_network, monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda _name: None)
    with pytest.raises(DeviceError, match="--engine torch"):
        make_engine(small_network, CPU, "compile", "float32")


# --- the choice


@pytest.fixture
def trials(monkeypatch):
    """List the engines that are tried, and time none: bf16 is there and is the faster one."""
    made = []
    real = choose._try

    def counted(network, device, name):
        made.append(name)
        return real(network, device, name)

    monkeypatch.setattr(choose, "_try", counted)
    monkeypatch.setattr(choose, "_seconds", lambda engine, _: float(engine.dtype == F32))
    monkeypatch.setattr(choose, "pick_dtype", lambda named, _: F32 if named == "float32" else BF16)
    return made


@pytest.mark.parametrize("named", ["auto", "torch"])
@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", F32), pytest.param("bf16", BF16, marks=pytest.mark.bf16)]
)
def test_a_precision_that_is_named_is_used_without_a_trial(
    small_network, trials, tmp_path, monkeypatch, named, precision, dtype
):
    monkeypatch.setattr(choose, "MOST_DISAGREEMENT", -1.0)
    memory = tmp_path / "engines.json"
    engine, chosen = make_engine(small_network, CPU, named, precision, cache_file=memory)
    assert (engine.name, engine.dtype) == ("torch", dtype)
    assert chosen == Choice("torch", str(dtype).removeprefix("torch."))
    assert trials == []
    assert not memory.exists()


def test_where_the_hardware_has_no_bf16_nothing_is_tried(small_network, trials, monkeypatch):
    monkeypatch.setattr(choose, "pick_dtype", lambda *_: F32)
    engine, chosen = make_engine(small_network, CPU)
    assert engine.dtype == F32
    assert chosen == Choice("torch", "float32")
    assert trials == []


@pytest.mark.bf16
def test_auto_is_torch_in_bf16_where_that_agrees_and_is_faster(small_network, trials):
    engine, chosen = make_engine(small_network, CPU)
    assert (engine.name, engine.dtype) == ("torch", BF16)
    assert (chosen.engine, chosen.dtype, chosen.notice) == ("torch", "bfloat16", "")
    assert 0 < chosen.disagreement <= choose.MOST_DISAGREEMENT
    assert trials == ["torch"]


@pytest.mark.bf16
def test_a_choice_is_remembered_and_not_tried_again(small_network, trials, tmp_path):
    memory = tmp_path / "cache" / "engines.json"
    first = make_engine(small_network, CPU, cache_file=memory)
    second = make_engine(small_network, CPU, cache_file=memory)
    assert len(trials) == 1
    assert first[1] == second[1]
    assert (first[0].name, first[0].dtype) == (second[0].name, second[0].dtype)
    make_engine(small_network, CPU)
    assert len(trials) == 2


@pytest.mark.parametrize("what", ["version", "weights", "threads", "machine", "engine"])
@pytest.mark.bf16
def test_a_choice_is_made_again_for_other_weights_another_machine_or_version(
    small_network, trials, tmp_path, monkeypatch, what
):
    memory = tmp_path / "engines.json"
    make_engine(small_network, CPU, "torch", cache_file=memory)
    network, name = copy.deepcopy(small_network), "torch"
    if what == "version":
        monkeypatch.setattr(choose, "__version__", "9.9")
    elif what == "weights":
        with torch.no_grad():
            network.output.bias += 1
    elif what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 17)
    elif what == "machine":
        monkeypatch.setattr(choose.platform, "node", lambda: "elsewhere")
    else:
        name = "compile"
        monkeypatch.setattr(choose, "ENGINES", {**choose.ENGINES, "compile": torch_engine})
    make_engine(network, CPU, name, cache_file=memory)
    assert trials == ["torch", name]
    make_engine(network, CPU, name, cache_file=memory)
    make_engine(small_network, CPU, "torch", cache_file=memory)
    assert len(json.loads(memory.read_text())) == 2  # the first is remembered as well


@pytest.mark.parametrize(
    "damage",
    [
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b"3",
        b'{"KEY": 3}',
        b'{"KEY": {"engine": "torch"}}',
        b'{"KEY": {"engine": "none", "dtype": "float32"}}',
        b'{"KEY": {"engine": "torch", "dtype": "float33"}}',
        b'{"KEY": {"engine": [], "dtype": "float32"}}',
        b'{"KEY": {"engine": "torch", "dtype": "float32", "agreeing": ["torch"]}}',
    ],
)
def test_a_damaged_list_of_choices_costs_one_trial(
    small_network, trials, tmp_path, monkeypatch, damage
):
    monkeypatch.setattr(choose, "ENGINES", {"torch": pretended})
    memory = tmp_path / "engines.json"
    make_engine(small_network, CPU, "torch", cache_file=memory)
    (key,) = json.loads(memory.read_text())
    memory.write_bytes(damage.replace(b"KEY", key.encode()))
    make_engine(small_network, CPU, "torch", cache_file=memory)
    assert len(trials) == 2
    assert list(json.loads(memory.read_text())) == [key]


@pytest.mark.bf16
def test_a_list_of_choices_that_cannot_be_written_is_no_error(small_network, trials, tmp_path):
    (tmp_path / "file").write_text("in the way")
    memory = tmp_path / "file" / "engines.json"
    assert make_engine(small_network, CPU, "torch", cache_file=memory)[0].name == "torch"
    assert len(trials) == 1


@pytest.mark.parametrize("off", [np.float32(0.5), np.float32(np.nan)])
@pytest.mark.bf16
def test_bf16_that_disagrees_is_not_used_however_fast_and_a_line_says_so(
    small_network, trials, tmp_path, monkeypatch, off
):
    def wrong(network, device, dtype):
        engine = torch_engine(network, device, dtype)
        return replace(engine, run=lambda batch: engine(batch) + off * (dtype == BF16))

    memory = tmp_path / "engines.json"
    monkeypatch.setattr(choose, "ENGINES", {**choose.ENGINES, "torch": wrong})
    for _ in range(2):
        engine, chosen = make_engine(small_network, CPU, cache_file=memory)
        assert engine.dtype == F32
        assert (chosen.engine, chosen.dtype) == ("torch", "float32")
        assert "bf16 differs from float32 by" in chosen.notice
    assert trials == ["torch"]


def pretended(network, device, dtype):
    """Make an engine that says `dtype`, and computes in float32."""
    return replace(torch_engine(network, device, F32), dtype=dtype)


def times(monkeypatch, *bf16):
    """Let bf16 take these seconds, one after the other, and float32 one second."""
    monkeypatch.setattr(choose, "ENGINES", {"torch": pretended})
    left = iter(bf16)
    monkeypatch.setattr(
        choose, "_seconds", lambda engine, _: next(left) if engine.dtype == BF16 else 1.0
    )
    return left


def test_bf16_that_is_much_slower_each_time_is_not_used_and_a_line_says_how_to_try_again(
    small_network, trials, tmp_path, monkeypatch
):
    memory = tmp_path / "engines.json"
    times(monkeypatch, *[1.6] * choose.RACES)
    for _ in range(2):
        engine, chosen = make_engine(small_network, CPU, cache_file=memory)
        assert engine.dtype == F32
        assert (chosen.engine, chosen.dtype) == ("torch", "float32")
        assert chosen.notice == (
            "bf16 is much slower than float32 on this machine: float32 is used; "
            f"to try again, remove {memory}"
        )
    assert trials == ["torch"]
    memory.unlink()
    times(monkeypatch, 1.0)
    assert make_engine(small_network, CPU, cache_file=memory)[0].dtype == BF16


@pytest.mark.parametrize("bf16", [[1.4], [9.0, 9.0, 9.0, 9.0, 1.4]])
def test_a_busy_machine_does_not_choose_float32(small_network, trials, monkeypatch, bf16):
    left = times(monkeypatch, *bf16)
    engine, chosen = make_engine(small_network, CPU)
    assert (engine.dtype, chosen.notice) == (BF16, "")
    assert list(left) == []
    assert trials == ["torch"]


def test_the_engines_take_turns_after_a_pass_that_does_not_count(small_network, monkeypatch):
    passes = []

    def noting(network, device, dtype):
        engine = pretended(network, device, dtype)

        def run(batch):
            passes.append((dtype, batch.shape[1]))
            return engine(batch)

        return replace(engine, run=run)

    exact, fast = (noting(small_network, CPU, dtype) for dtype in (F32, BF16))
    monkeypatch.setattr(choose, "MUCH_SLOWER", 0.0)
    assert choose._is_much_slower(fast, exact)
    assert passes == [(BF16, 256), (F32, 256)] * (1 + choose.RACES)
