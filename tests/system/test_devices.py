"""Devices: the one that was named or none, and the arithmetic that it has."""

import pytest
import torch

from sfseg.errors import DeviceError
from sfseg.system import devices

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "", "CPU"])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(DeviceError, match="choose auto, cpu"):
        devices.pick_device(name)


def test_a_device_that_is_not_there_is_never_replaced(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="which has 1 cuda device"):
        devices.pick_device("cuda:1")


def test_a_prediction_is_shared_out_to_all_gpus_or_to_those_that_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    gpus = [torch.device("cuda", number) for number in range(3)]
    assert list(devices.pick_devices("auto")) == list(devices.pick_devices("cuda")) == gpus
    assert list(devices.pick_devices("cuda:2,0,2")) == [gpus[2], gpus[0]]
    assert list(devices.pick_devices("cuda:1")) == [gpus[1]]
    assert list(devices.pick_devices("cpu")) == [CPU]
    with pytest.raises(DeviceError, match="cuda:3: not on this machine, which has 3 cuda devices"):
        devices.pick_devices("cuda:0,3")
    for name in ("cuda:", "cuda:0,", "cuda:,1", "cuda:0,x", "cpu,cpu", "cuda:0 1"):
        with pytest.raises(DeviceError, match="choose auto"):
            devices.pick_devices(name)


def test_one_gpu_is_called_as_before(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.pick_devices("auto") == devices.pick_devices("cuda") == (torch.device("cuda"),)


def test_auto_takes_the_gpu_where_there_is_one_and_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.pick_device("auto") == torch.device("cuda")


def test_auto_precision_is_bf16_where_the_cpu_has_units_for_it(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        expected = torch.bfloat16 if has else torch.float32
        assert devices.pick_dtype("auto", CPU) == expected
    assert devices.pick_dtype("float32", CPU) == torch.float32


@pytest.mark.parametrize("has", [True, False])
def test_bf16_by_name_is_refused_where_the_cpu_cannot(monkeypatch, has):
    monkeypatch.setattr(devices, "has_bf16", lambda _: has)
    if has:
        assert devices.pick_dtype("bf16", CPU) == torch.bfloat16
    else:
        with pytest.raises(DeviceError, match="hint: use --precision float32"):
            devices.pick_dtype("bf16", CPU)


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread"), (2, "2 threads")])
def test_a_device_is_described_with_its_engine_and_arithmetic(monkeypatch, threads, said):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    text = devices.describe(CPU, torch.bfloat16, "openvino")
    assert text == f"cpu ({said}, openvino, bf16)"


def test_fp16_is_for_gpus():
    with pytest.raises(DeviceError, match="hint: use --precision auto"):
        devices.pick_dtype("fp16", CPU)
    assert devices.pick_dtype("fp16", torch.device("cuda")) == torch.float16
    assert devices.describe(torch.device("mps"), torch.float16) == "mps (fp16)"


def test_only_gpus_are_started():
    devices.start_gpus([torch.device("cpu"), torch.device("meta")])
    assert not torch.cuda.is_initialized()
