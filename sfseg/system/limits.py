"""What a container or a cluster job may use: its control groups limit memory and processors.

Linux has two versions of control groups. In version 2 a process is in one group for everything, in
version 1 in one for each kind of limit. The limit of a group holds for all groups inside it.
"""

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

ROOT = Path("/sys/fs/cgroup")
"""Where the groups are."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""Which groups this process is in."""


def memory_left_bytes(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Measure the memory that is left under the tightest limit; None if there is no limit."""
    left = []
    for folder, version in _groups("memory", root, membership):
        limit, used = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if version == 1
            else ("memory.max", "memory.current")
        )
        with contextlib.suppress(OSError, ValueError):  # no such file, or it says "max"
            free = int(_read(folder / limit)) - int(_read(folder / used))
            left.append(free + _cached_bytes(folder))
    return min(left, default=None)


def usable_processors(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Count the processors that this process may use, at least 1; part of one counts as one."""
    shares = [share for share in _processor_shares(root, membership) if share > 0]
    return min([_allowed_processors(), *map(math.ceil, shares)])


def limit_threads(root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
    """Let the libraries start no more threads than the limit allows; call it before they load.

    By themselves they look at the affinity only. Of more threads than processors, some wait while
    all others wait for them.
    """
    usable = usable_processors(root, membership)
    if usable < _allowed_processors():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable))


def _allowed_processors() -> int:
    """Count the processors on which the system may run this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_shares(root: Path, membership: Path) -> Iterator[float]:
    """Yield how many processors each group may keep busy; not positive means any number."""
    for folder, version in _groups("cpu", root, membership):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # as for the memory
            if version == 1:
                period = _read(folder / "cpu.cfs_period_us")
                yield int(_read(folder / "cpu.cfs_quota_us")) / int(period)
            else:
                quota, period = _read(folder / "cpu.max").split()
                yield int(quota) / int(period)


def _groups(kind: str, root: Path, membership: Path) -> Iterator[tuple[Path, Literal[1, 2]]]:
    """Yield the folder and version of each group of this process, the innermost first."""
    with contextlib.suppress(OSError, ValueError):
        for line in _read(membership).splitlines():
            _, kinds, inner = line.split(":", 2)
            path = Path(inner.lstrip("/"))
            # In a container the path may be that of the host: then only the top is there.
            for group in (path, *path.parents):
                if not kinds:
                    yield root / group, 2
                elif kind in kinds.split(","):
                    yield root / kind / group, 1


def _cached_bytes(folder: Path) -> int:
    """Read how much of the used memory is file cache, which the system frees when needed."""
    with contextlib.suppress(OSError):
        stat = _read(folder / "memory.stat")
        # Version 1 has the total of the groups inside, too; the usage is that of them all.
        found = re.findall(r"^(?:total_)?inactive_file (\d+)", stat, re.MULTILINE)
        return max(map(int, found), default=0)
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
