"""Memory: how much is free, and what the process keeps."""

import errno

import pytest
import torch

from sfseg.system import memory

CPU = torch.device("cpu")


def test_the_memory_is_that_of_this_machine_and_this_process():
    assert 2**28 < memory.available_bytes(CPU) < 2**50
    assert 2**26 < memory.used_bytes() < 2**40


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_running_out_of_memory_is_distinguished_from_other_errors(error, expected):
    assert memory.is_out_of_memory(error) is expected


def test_a_container_s_limit_counts_where_it_is_lower_than_the_machine(monkeypatch):
    monkeypatch.setattr(memory, "_system_bytes", lambda: 1000)
    for left, expected in ((None, 1000), (700, 700), (2**62, 1000)):
        monkeypatch.setattr(memory, "memory_left_bytes", lambda found=left: found)
        assert memory.available_bytes(CPU) == expected
