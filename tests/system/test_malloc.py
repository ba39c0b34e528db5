"""What the C library keeps of freed memory. Counted in processes of their own: it stays so."""

import sys

import pytest

from sfseg.system import malloc
from tests.forks import forked
from tests.processes import end

FAULTS = """
import resource, torch
from sfseg.system import malloc, memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
malloc.keep_freed_memory()
for _ in range(12):  # until the small things have found places between the large ones
    faults()
held = memory.used_bytes()
after = faults()
malloc.give_back_memory()
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
from sfseg.system import malloc

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(count)  # freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

malloc.keep_freed_memory(up_to_bytes=31 * 2**20)
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
    for call in ("keep_memory_as_usual", "give_back_memory"):
        program = AS_DASK + BLOCKS.replace("keep_freed_memory(up_to_bytes=31 * 2**20)", f"{call}()")
        with forked(exec, program, {}, cwd=tmp_path) as process:
            printed, said = end(process)
        assert process.returncode == 0, said
        found[call], _ = map(int, printed.split())
    if found["give_back_memory"] < 16:
        pytest.skip("pages are so large here that there is nothing to count")
    assert found["keep_memory_as_usual"] < found["give_back_memory"] / 8


def test_without_the_gnu_c_library_memory_is_left_alone(monkeypatch):
    monkeypatch.setattr(malloc.sys, "platform", "darwin")
    malloc.keep_freed_memory()
    malloc.keep_memory_as_usual()
    malloc.give_back_memory()
