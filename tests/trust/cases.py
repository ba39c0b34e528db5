"""Try a promise on many inputs, in forked workers that are watched: time, memory, leftovers."""

import json
import os
import re
import resource
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sfseg.errors import SfsegError
from tests.processes import HANGS_S
from tests.trust.rows import Row

SECONDS, BYTES = 5.0, 512 * 2**20
"""What one input may take: of one core, and of memory over what was taken before."""

WAITS_S = 300.0
"""What it may take by the clock: much more, for the machine may be busy with other things."""

_ADDRESSES_BYTES = 8 * 2**30
"""Room for a file of more than 4 GiB that another reader maps."""

_PATIENCE = 200

Check = Callable[[int, Path], str]
"""Tries the input of an index in a folder; returns what came of it, ``read`` or ``refused``.

What does not hold it raises, of whatever kind.
"""


@dataclass(frozen=True)
class Outcome:
    """What came of one input: ``read``, ``refused``, or what is wrong."""

    index: int
    said: str
    failure: str
    seconds: float
    peak_bytes: int


def nothing() -> None:
    """Prepare nothing."""


def try_all(
    check: Check, indices: Iterable[int], prepare: Callable[[], None] = nothing
) -> Iterator[Outcome]:
    """Try inputs one after the other; a worker that dies is followed by another.

    Each worker prepares itself first.
    """
    waiting = list(indices)
    while waiting:
        read_end, write_end = os.pipe()
        worker = os.fork()
        if not worker:
            os.close(read_end)
            _work(check, waiting, write_end, prepare)
        os.close(write_end)
        with os.fdopen(read_end) as lines:
            for line in lines:
                yield Outcome(**json.loads(line))
                waiting.pop(0)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code and waiting:
            yield Outcome(waiting.pop(0), "", f"the process ended with {code}", 0.0, 0)


def _work(check: Check, indices: list[int], write_end: int, prepare: Callable[[], None]) -> None:
    """Try inputs, tell of each, and end the process."""
    code = 1
    try:
        warnings.simplefilter("error")
        size_bytes = int(re.search(r"VmSize:\s+(\d+)", _status())[1]) * 1024  # type: ignore[index]
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes + _ADDRESSES_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        prepare()
        for index in indices:
            signal.alarm(HANGS_S)
            os.write(write_end, (json.dumps(vars(_try(check, index))) + "\n").encode())
        code = 0
    except BaseException:  # noqa: BLE001 - the process is to end here and nowhere else
        traceback.print_exc()
    os._exit(code)


def _holds_more(before: tuple[int, int]) -> bool:
    """Tell whether there are more than before; fewer there are where rubbish was collected."""
    return any(now > then for now, then in zip(_held(), before, strict=True))


def _try(check: Check, index: int) -> Outcome:
    """Try one input."""
    said = failure = ""
    with tempfile.TemporaryDirectory() as name:
        before = _held()
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts again
        rss, started, began = _kilobytes("VmRSS"), time.process_time(), time.monotonic()
        try:
            said = check(index, Path(name))
        except BaseException as error:  # noqa: BLE001 - any is a promise broken
            where = traceback.extract_tb(error.__traceback__)[-1]
            failure = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        seconds, passed = time.process_time() - started, time.monotonic() - began
        peak_bytes = (_kilobytes("VmHWM") - rss) * 1024
        waited = 0
        while not failure and _holds_more(before):  # what Zarr reads beside may end a moment later
            time.sleep(0.01)
            waited += 1
            failure = f"left open: {_held()} after {before}" if waited == _PATIENCE else ""
    if seconds > SECONDS or passed > WAITS_S or peak_bytes > BYTES:
        took = f"took {seconds:.1f} s, {passed:.1f} s by the clock, {peak_bytes / 2**20:.0f} MiB"
        failure = failure or took
    return Outcome(index, said, failure, seconds, peak_bytes)


def _held() -> tuple[int, int]:
    """Count open files, and threads other than those of a pool that grows."""
    threads = [each.name for each in threading.enumerate()]
    own = [name for name in threads if not name.startswith(("zarr", "asyncio", "ThreadPool"))]
    return len(list(Path("/proc/self/fd").iterdir())), len(own)


def _status() -> str:
    return Path("/proc/self/status").read_text()


def _kilobytes(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", _status())
    return int(found[1]) if found else 0


def require_clear(error: SfsegError) -> None:
    """Check that an error names something, says what is wrong with it, and what to do."""
    assert error.hint, error
    assert re.match(r"\S.*: \S+ \S", error.message), error


def row(
    name: str, check: Check, count: int, seed: int, *, prepare: Callable[[], None] = nothing
) -> Row:
    """Try a promise on so many inputs, and make a row of what came of it."""
    said: Counter[str] = Counter()
    failures, seconds, peak_bytes = [], 0.0, 0
    for outcome in try_all(check, range(count), prepare):
        said[outcome.said] += 1
        seconds = max(seconds, outcome.seconds)
        peak_bytes = max(peak_bytes, outcome.peak_bytes)
        if outcome.failure:
            failures.append(f"seed {seed}, case {outcome.index}: {outcome.failure}")
    notes = (
        f"{said['read']} read, {said['refused']} refused; "
        f"at most {seconds:.2f} s and {peak_bytes / 2**20:.0f} MiB"
    )
    return Row(name, count - len(failures), count, notes, failures)
