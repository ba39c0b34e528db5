"""The network of fused steps gives the folded network's numbers, by the references on a CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.errors import NonFiniteError
from sfseg.prediction.engines import choose, gpu, make_engine, probe
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.fused import Fused
from sfseg.prediction.engines.gpu import gpu_engine
from sfseg.prediction.engines.operations import (
    Convolution,
    Operation,
    Target,
    find_kernels,
    has_cudnn,
)
from sfseg.system import devices
from sfseg.types import Normalised
from tests.networks import OPERATIONS, make_operation, narrow_networks

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def sections(*shape: int) -> Normalised:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def forward(network, batch):
    """Give what the network itself gives."""
    with torch.inference_mode():
        return torch.sigmoid(network(torch.from_numpy(batch)[:, None]))[:, 0].numpy()


# --- the numbers


@pytest.mark.parametrize(("dtype", "off"), [(F32, 1e-6), (F16, 1e-4), (BF16, 1e-3)], ids=str)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 48, 80)])
def test_fused_steps_give_what_the_network_gives(network, dtype, off, shape):
    batch = sections(*shape)
    found = gpu_engine(network, CPU, dtype)(batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, forward(network, batch), atol=off, rtol=0)


def test_each_kind_of_step_is_named_once(network):
    steps = dict(gpu_engine(network, CPU, F16).steps)
    kinds = {name.rstrip("0123456789 TrueFals") for name in steps}
    assert {"first convolution", "convolution", "doubling", "last convolution"} <= kinds
    assert set(steps.values()) == {"PyTorch"}  # on a CPU nothing is fused
    assert len(steps) < len(list(Fused(fold(network), Target(CPU, F16)).operations()))


def test_a_pass_on_the_device_takes_and_gives_tensors(small_network):
    batch = sections(2, 32, 16)
    engine = gpu_engine(small_network, CPU, F32)
    probability, overflow = engine.forward(torch.from_numpy(batch))
    np.testing.assert_array_equal(probability.numpy(), engine(batch))
    assert overflow == 0


# --- numbers that are too large for float16


@pytest.mark.parametrize("value", [1e7, np.inf, np.nan])
def test_a_section_that_is_too_much_for_fp16_is_refused_and_bf16_takes_it(small_network, value):
    batch = sections(2, 32, 32)
    batch[1, 20, 20] = value
    with pytest.raises(NonFiniteError, match=r"precision fp16: .*\nhint: use --precision bf16"):
        gpu_engine(small_network, CPU, F16)(batch)
    if np.isfinite(value):
        assert np.isfinite(gpu_engine(small_network, CPU, BF16)(batch)).all()


@pytest.mark.parametrize("value", [1e7, np.inf, np.nan])
def test_a_pixel_that_is_too_bright_is_seen_although_a_relu_hides_it(monkeypatch, value):
    """That of cuDNN may turn what is not a number to 0."""
    reference = Convolution.reference
    monkeypatch.setattr(Convolution, "reference", lambda *args: reference(*args).nan_to_num_(0))
    with narrow_networks():
        engine = gpu_engine(models.build("unet").eval(), CPU, F16)
    batch = sections(1, 32, 32)
    assert np.isfinite(engine(batch)).all()
    batch[0, 20, 20] = value
    with pytest.raises(NonFiniteError, match="use --precision bf16"):
        engine(batch)


def test_activations_may_be_64_times_larger_than_in_plain_fp16(small_network):
    """A bright pixel whose first activation would be infinite in float16."""
    batch = sections(1, 32, 32)
    batch[0, 20, 20] = 4e5
    largest = fold(small_network).down[0](torch.from_numpy(batch)[:, None]).max()
    assert largest > torch.finfo(F16).max
    found = gpu_engine(small_network, CPU, F16)(batch)
    off = np.abs(found - forward(small_network, batch))[0]
    assert off.max() < 0.1  # beside the pixel all digits are of numbers of its size
    assert np.median(off) < 1e-3


# --- where it runs


@pytest.mark.parametrize(("arch", "channels"), [("sfnet", 64), ("unet", 128)])
def test_no_activation_has_more_numbers_than_cudnn_counts(arch, channels):
    most = gpu_engine(models.build(arch).eval(), CPU, F16).most_px
    assert most * channels < 2**31 <= (most + 1) * channels


class Named(str):
    """A CPU that says it is another device."""

    __slots__ = ()
    type = "mps"


def test_on_mps_the_public_operations_run(small_network):
    batch = sections(2, 32, 48)
    engine = torch_engine(small_network, Named("cpu"), F16)
    np.testing.assert_array_equal(engine(batch), gpu_engine(small_network, CPU, F16)(batch))
    assert engine.bytes_per_px == gpu.BYTES_PER_PX
    assert set(dict(engine.steps).values()) == {"PyTorch"}


def test_amd_old_gpus_and_float32_have_no_kernels(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert find_kernels(Target(CUDA, F16)) is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert find_kernels(Target(CUDA, F32)) is None
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert find_kernels(Target(CUDA, F16)) is None
    assert not has_cudnn(CUDA)
    assert not has_cudnn(CPU)


# --- the trial of the steps


@pytest.fixture
def tried(monkeypatch):
    """Let every step have a fused form, twice as fast as its reference, that does the same."""
    monkeypatch.setattr(probe, "_CHOSEN", {})
    monkeypatch.setattr(probe, "SPEED_NUMBERS", 2**17)
    monkeypatch.setattr(Operation, "can_fuse", True)
    monkeypatch.setattr(probe, "time_ms", lambda run: run())
    operation = make_operation("squeeze", Target(CPU, F32))
    reference = operation.reference
    monkeypatch.setattr(operation.__class__, "can_fuse", True)
    monkeypatch.setattr(operation, "fused", reference)
    monkeypatch.setattr(probe, "_is_much_slower", lambda *_: False)
    return operation


def test_a_fused_step_that_agrees_is_used_by_all_of_its_kind(tried):
    other = make_operation("squeeze", Target(CPU, F32))
    probe.choose_operations([tried, other])
    assert tried.is_fused
    assert other.is_fused


@pytest.mark.parametrize("wrong", ["numbers", "nan", "outputs", "memory", "large", "error", "slow"])
def test_a_fused_step_that_is_wrong_fails_or_is_slow_is_not_used(tried, monkeypatch, wrong):
    reference, blocks, empty_like = tried.reference, [], torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda x: blocks.append(empty_like(x)) or blocks[-1])

    def fused(x, out, guard):
        result = reference(x, out, guard)
        if wrong == "numbers":
            return result * 1.1
        if wrong == "nan":
            result[0, 0, 0, 0] = torch.nan
        if wrong == "outputs":
            result = result.clone()
            out.zero_()
        if wrong == "memory":
            result = result + 0 * blocks[-1]
        if wrong == "large" and x.shape[-1] > 2 * probe.AGREEMENT_PX:
            result = result * 1.1
        if wrong == "error":
            raise RuntimeError("no kernel image")
        return result

    monkeypatch.setattr(tried, "fused", fused)
    monkeypatch.setattr(probe, "_is_much_slower", lambda *_: wrong == "slow")
    probe.choose_operations([tried])
    assert not tried.is_fused


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_example_fills_its_outputs_and_is_the_same_each_time(name):
    operation = make_operation(name, Target(CPU, F32))
    one, other = (probe.results_of(operation, operation.reference, 4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(tensor.isfinite().all() for tensor in one)
    assert all(tensor.std() > 0 for tensor in one)


def test_the_example_of_the_last_convolution_is_not_all_0_and_1():
    operation = make_operation("last convolution", Target(CPU, F16))
    probability, _ = probe.results_of(operation, operation.reference, 8)
    assert ((probability > 0.1) & (probability < 0.9)).float().mean() > 0.5


# --- the trial of the arithmetic


def engines_that(monkeypatch, **faults):
    """Let a machine have fp16 and bf16, whose engines compute in float32, or fail as is said."""

    def make(network, device, dtype):
        engine = torch_engine(network, device, F32)
        fault = faults.get(devices.arithmetic_name(dtype), 0.0)

        def run(batch):
            if fault == "overflow":
                raise NonFiniteError("too large")
            return engine(batch) + np.float32(fault)

        return replace(engine, dtype=dtype, run=run)

    monkeypatch.setattr(choose, "ENGINES", {"torch": make})
    monkeypatch.setattr(choose, "has_fast_fp16", lambda _: True)
    monkeypatch.setattr(choose, "pick_dtype", lambda *_: BF16)
    monkeypatch.setattr(choose, "_is_much_slower", lambda *_: False)


@pytest.mark.parametrize(
    ("faults", "dtype", "notice"),
    [
        ({}, "float16", ""),
        ({"fp16": 0.02}, "bfloat16", "fp16 differs from float32 by 0.02 on this machine: bf16"),
        ({"fp16": "overflow"}, "bfloat16", "fp16 differs from float32 by inf on this machine"),
        (
            {"fp16": 0.02, "bf16": 0.07},
            "float32",
            "fp16 differs from float32 by 0.02 and bf16 differs from float32 by 0.07 on this "
            "machine: float32 is used",
        ),
    ],
)
def test_fp16_is_tried_first_then_bf16(small_network, monkeypatch, tmp_path, faults, dtype, notice):
    engines_that(monkeypatch, **faults)
    memory = tmp_path / "engines.json"
    for _ in range(2):  # tried, and remembered
        engine, chosen = make_engine(small_network, CPU, cache_file=memory)
        assert devices.dtype_name(engine.dtype) == chosen.dtype == dtype
        assert chosen.notice.startswith(notice)
        assert bool(chosen.notice) == bool(notice)
    assert memory.exists()
