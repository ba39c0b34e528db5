"""Fetches that are killed, at every call that changes the disk and at moments drawn by a seed.

The next one must end with the same bytes, and with nothing else beside them. The files come one by
one or in an archive, from a host on this machine.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.localhost import Host, deliver, in_a_child
from tests.trust.children import content, names, sfseg
from tests.trust.faults import Faults, read_events
from tests.trust.moments import count_moments, signal_at
from tests.trust.rows import Row
from tests.trust.small import World

KILLS = 3  # at most, before one may end


class Fetching:
    """A fetch from one source, its moments, and the calls that it makes of the disk.

    Parameters
    ----------
    world : World
        Whose dataset is fetched.
    source : str
        Where from.
    folder : Path
        Of its own.
    """

    def __init__(self, world: World, source: str, folder: Path) -> None:
        folder.mkdir()
        self.world, self.source, self.folder = world, source, folder
        whole, notes = folder / "whole", folder / "events.json"
        self._run(whole, Faults(whole).report(notes))
        self.calls = len(read_events(notes))
        shutil.rmtree(whole)
        self._run(whole, count_moments(notes))
        self.moments = int(notes.read_text())
        self.whole = content(whole)
        self.killed = 0

    def _run(self, cache: Path, *before: Callable[[], object]) -> None:
        ended = sfseg(*self._command(cache), before=[self.world.enter, *before]).end()
        if ended.code:
            raise RuntimeError(ended.stderr)

    def _command(self, cache: Path) -> tuple[object, ...]:
        return self.world.fetch(cache, self.source)

    def kill_at(self, number: int) -> str:
        """Kill a fetch at a call that changes the disk, and fetch again; tell what is wrong."""
        cache = self.folder / f"call-{number}"
        faults = Faults(cache, number, "KILL").install
        ended = sfseg(*self._command(cache), before=[self.world.enter, faults]).end()
        if ended.code != -signal.SIGKILL:
            return f"exit code {ended.code}: {ended.stderr[-600:]}"
        return self._finish(cache)

    def kill_while(self, seed: tuple[int, int]) -> str:
        """Kill a fetch at up to three moments, and fetch again; say what is wrong."""
        cache, rng = self.folder / f"moment-{seed[1]}", np.random.default_rng(seed)
        for _ in range(rng.integers(1, KILLS + 1)):
            kill = signal_at(int(rng.integers(1, self.moments + 1)))
            ended = sfseg(*self._command(cache), before=[self.world.enter, kill]).end()
            self.killed += ended.code == -signal.SIGKILL
            if ended.code not in (0, -signal.SIGKILL):
                return f"exit code {ended.code}: {ended.stderr[-600:]}"
        return self._finish(cache)

    def _finish(self, cache: Path) -> str:
        """Fetch to the end; tell what is wrong."""
        ended = sfseg(*self._command(cache), before=[self.world.enter]).end()
        found, beside = content(cache), names(cache)
        shutil.rmtree(cache, ignore_errors=True)
        if ended.code:
            return f"the next one: exit code {ended.code}: {ended.stderr[-600:]}"
        if found != self.whole or beside != {"toy"}:
            return f"the next one leaves {sorted(found)} beside {beside}, or other bytes"
        return ""


def run(count: int, seed: int) -> Row:
    """Kill at every call, or at a share of them if the count is small, and at random moments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        world, host = World(folder / "world"), Host()
        for path in (world.volume, world.labels, world.archive):
            host.serve(path.name, deliver(path.read_bytes()))
        with in_a_child(host):
            fetchings = [
                Fetching(world, f"{host.url}{place}", folder / f"{number}")
                for number, place in enumerate(("", world.archive.name))
            ]
            calls = [(f, number) for f in fetchings for number in range(1, f.calls + 1)]
            order = np.random.default_rng(seed).permutation(len(calls))
            at_calls = [calls[int(index)] for index in order[: count // 2]]
            failures = [
                f"at call {number} from {fetching.source}: {wrong}"
                for fetching, number in at_calls
                if (wrong := fetching.kill_at(number))
            ]
            moments = max(0, count - len(at_calls))
            failures += [
                f"seed {seed}, moment {index}: {wrong}"
                for index in range(moments)
                if (wrong := fetchings[index % 2].kill_while((seed, index)))
            ]
    kills = sum(fetching.killed for fetching in fetchings)
    notes = f"{len(at_calls)} at one of {len(calls)} calls, {moments} with {kills} other kills"
    return Row("fetches killed and fetched again", count - len(failures), count, notes, failures)
