"""Memory: how much is free, and what the process keeps."""

import errno
import sys

import pytest
import torch

from sfseg.system import memory
from tests.forks import forked
from tests.processes import end

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


FAULTS = """
import resource, sys, torch
from sfseg.system import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
memory.keep_freed_memory()
for _ in range(12):  # until the small things have found places between the large ones
    faults()
held = memory.used_bytes()
after = faults()
memory.give_back_memory()
print(before, after, (held - memory.used_bytes()) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library is Linux's")
def test_freed_memory_is_kept_until_it_is_given_back(tmp_path):
    """Counted in a process of its own, since it cannot be undone."""
    with forked(exec, FAULTS, {}, cwd=tmp_path) as process:
        found, said = end(process)
    assert process.returncode == 0, said
    before, after, given_back_mib = map(int, found.split())
    if before < 16:
        pytest.skip("pages are so large here that there is nothing to count")
    assert after < before / 8
    assert given_back_mib >= 60


BLOCKS = """
import resource, torch
from sfseg.system import memory

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(count)  # freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

memory.keep_freed_memory(up_to_bytes=31 * 2**20)
for _ in range(12):  # until the small things have found places between the large ones
    small, large = faults(2**22), faults(2**24)  # 16 and 64 MiB
print(small, large)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library is Linux's")
def test_only_freed_blocks_up_to_a_size_are_kept(tmp_path):
    with forked(exec, BLOCKS, {}, cwd=tmp_path) as process:
        found, said = end(process)
    assert process.returncode == 0, said
    small, large = map(int, found.split())
    if large < 16:
        pytest.skip("pages are so large here that there is nothing to count")
    assert small < large / 8


AS_DASK = """
import ctypes
M_TRIM_THRESHOLD = -1
ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 65536)  # what Dask sets for its workers
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library is Linux's")
def test_freed_blocks_are_kept_as_usual_where_dask_has_changed_that(tmp_path):
    found = {}
    for call in ("keep_memory_as_usual", "used_bytes"):
        program = AS_DASK + BLOCKS.replace("keep_freed_memory(up_to_bytes=31 * 2**20)", f"{call}()")
        with forked(exec, program, {}, cwd=tmp_path) as process:
            printed, said = end(process)
        assert process.returncode == 0, said
        found[call], _ = map(int, printed.split())
    if found["used_bytes"] < 16:
        pytest.skip("pages are so large here that there is nothing to count")
    assert found["keep_memory_as_usual"] < found["used_bytes"] / 8


def test_without_the_gnu_c_library_memory_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    memory.keep_freed_memory()
    memory.keep_memory_as_usual()
    memory.give_back_memory()
