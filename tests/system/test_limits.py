"""Limits of containers and cluster jobs, in folders that stand for those of the system."""

import os

import pytest

from sfseg.system import limits

OPEN = "9223372036854771712"
"""How version 1 says that there is no limit of memory."""


@pytest.fixture
def groups(tmp_path):
    """Write the control groups of a process; return what the functions of `limits` take."""

    def write(membership, **files):
        (tmp_path / "cgroup").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path / "root", tmp_path / "cgroup"

    return write


def memory(folder, limit, used, cached=None):
    """Give the files of a group of version 2."""
    files = {f"{folder}/memory.max": limit, f"{folder}/memory.current": used}
    stat = {} if cached is None else {f"{folder}/memory.stat": f"anon 1\ninactive_file {cached}"}
    return files | stat


def old_memory(folder, limit, used):
    """Give the files of a group of version 1."""
    return {
        f"memory/{folder}/memory.limit_in_bytes": limit,
        f"memory/{folder}/memory.usage_in_bytes": used,
        f"memory/{folder}/memory.stat": "inactive_file 1\ntotal_inactive_file 70",
    }


def test_without_a_limit_there_is_none(groups):
    assert limits.memory_left_bytes(*groups("0::/a\n", **memory("a", "max", 3000))) is None
    assert limits.memory_left_bytes(*groups("no groups\n")) is None


def test_the_tightest_limit_of_nested_groups_counts_and_file_cache_is_free(groups):
    nested = memory("user/job", "max", 3000, 500) | memory("user", 8000, 3000, 500)
    assert limits.memory_left_bytes(*groups("0::/user/job\n", **nested)) == 8000 - 3000 + 500
    nested |= memory("user/job", 4000, 3000)  # its file cache as before
    assert limits.memory_left_bytes(*groups("0::/user/job\n", **nested)) == 1000 + 500


def test_in_a_container_that_shows_the_path_of_its_host_the_top_counts(groups):
    found = groups("0::/docker/0123\n", **memory(".", 9000, 2000))
    assert limits.memory_left_bytes(*found) == 7000


def test_limits_of_memory_of_version_1(groups):
    membership = "3:cpu,cpuacct:/x\n4:memory:/pod/job\n1:name=systemd:/\n0::/\n"
    files = old_memory("pod/job", OPEN, 4000) | old_memory("pod", 9000, 4000)
    assert limits.memory_left_bytes(*groups(membership, **files)) == 9000 - 4000 + 70


@pytest.fixture
def sixteen(monkeypatch):
    """A machine of 64 processors, on 16 of which this process may run."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("job", "pod", "expected"),
    [
        ("max 100000", "max 100000", 16),
        ("200000 100000", "max 100000", 2),
        ("max 100000", "400000 100000", 4),
        ("150000 100000", "400000 100000", 2),
        ("10000 100000", "max 100000", 1),
        ("3200000 100000", "max 100000", 16),
        ("damaged", "max", 16),
    ],
)
def test_processors_are_those_of_the_affinity_and_the_quota(groups, job, pod, expected):
    files = {"pod/job/cpu.max": job, "pod/cpu.max": pod}
    assert limits.usable_processors(*groups("0::/pod/job\n", **files)) == expected


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("quota", "expected"), [("-1", 16), ("250000", 3)])
def test_processors_of_version_1(groups, quota, expected):
    folder = "cpu/job"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}
    found = groups("3:cpu,cpuacct:/job\n4:memory:/\n", **files)
    assert limits.usable_processors(*found) == expected


@pytest.mark.usefixtures("sixteen")
def test_a_quota_limits_the_threads_of_libraries_unless_the_user_did(groups, monkeypatch):
    for quota, before, expected in (("max", None, None), ("2", None, "2"), ("2", "5", "5")):
        monkeypatch.setenv("OMP_NUM_THREADS", before or "")
        if before is None:
            monkeypatch.delenv("OMP_NUM_THREADS")
        limits.limit_threads(*groups("0::/job\n", **{"job/cpu.max": f"{quota} 1"}))
        assert os.environ.get("OMP_NUM_THREADS") == expected


def test_where_the_system_knows_no_affinity_all_processors_count(groups, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert limits.usable_processors(*groups("")) == 12
