import numpy as np
import pytest
import torch

from sfseg import engines
from sfseg.checkpoints import load_weights
from sfseg.config import SHIPPED_MODEL
from sfseg.errors import DeviceError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "", "CPU"])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(DeviceError, match="expected auto, cpu"):
        engines.pick_device(name)


def test_a_device_that_is_not_there_is_never_replaced(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="found 1 cuda devices"):
        engines.pick_device("cuda:1")


def test_auto_takes_the_gpu_where_there_is_one_and_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engines.pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert engines.pick_device("auto") == torch.device("cuda")


def test_auto_precision_is_bf16_where_the_cpu_has_units_for_it(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        expected = torch.bfloat16 if has else torch.float32
        assert engines.pick_dtype("auto", CPU) == expected
    assert engines.pick_dtype("bf16", CPU) == torch.bfloat16
    assert engines.pick_dtype("float32", CPU) == torch.float32


@pytest.mark.parametrize(("gigabytes", "dtype"), [(1, torch.float32), (8, torch.bfloat16)])
def test_a_tile_with_its_halo_takes_half_of_the_available_memory(monkeypatch, gigabytes, dtype):
    available = gigabytes * 2**30
    monkeypatch.setattr(engines, "_available_bytes", lambda _device: available)
    tile = engines.fitting_tile_px(CPU, dtype, halo_px=112)
    assert tile % 16 == 0
    needed = (tile + 2 * 112) ** 2 * engines.BYTES_PER_PX[dtype]
    assert 0.85 * available / 2 < needed <= available / 2


def test_the_available_memory_is_that_of_this_machine():
    assert 2**28 < engines._available_bytes(CPU) < 2**50


def test_bf16_agrees_with_float32_on_the_shipped_network(tissue):
    """The bar of the field's bf16 releases: no probability is off by more than 0.06."""
    network, _ = load_weights(SHIPPED_MODEL)
    section = (tissue[0][:1, :64, :64].astype(np.float32) - 140) / 35
    exact, fast = (
        engines.torch_engine(network, CPU, dtype)(section)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert exact.dtype == fast.dtype == np.float32
    assert 0 < np.abs(exact - fast).max() < 0.06


def test_compiling_without_a_compiler_says_so(monkeypatch):
    monkeypatch.setattr(engines.shutil, "which", lambda _name: None)
    with pytest.raises(DeviceError, match="leave --compile out"):
        engines.require_compiler()


@pytest.mark.gpu
def test_the_gpu_gives_the_numbers_of_the_cpu(tissue):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    section = (tissue[0][:1].astype(np.float32) - 140) / 35
    on_cpu, on_gpu = (
        engines.torch_engine(load_weights(SHIPPED_MODEL)[0], torch.device(name), torch.float32)(
            section
        )
        for name in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, atol=2e-3)
