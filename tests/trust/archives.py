"""Hostile archives, and honest ones that look unusual; see `tests.trust.zips`.

Each hostile one goes through `sfseg fetch --from`, in a child whose every call that changes the
disk is noted: what it touches must lie in the staging folder, and nothing may be left. Honest ones
are accepted, and those that are mutated are one or the other.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.trust.children import Ended, content, names, sfseg
from tests.trust.rows import Row
from tests.trust.small import World
from tests.trust.zips import BROKEN, GOOD, HONEST, HOSTILE, mutated

MUTATED = 50
CHANGES = {
    **dict.fromkeys(("open", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
"""What is audited when a disk changes, and how many paths that names."""


def watch(places: Path, cache: Path) -> None:
    """Note each change outside the staging folder: of what is opened, made, renamed or removed."""
    ours = tuple(str(cache / name) for name in ("toy.part", "toy.lock"))
    descriptor = os.open(places, os.O_WRONLY | os.O_CREAT)
    escape_controls = {str(cache), os.devnull}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or (event == "open" and not (arguments[2] or 0) & os.O_ACCMODE):
            return
        for path in arguments[: CHANGES[event]]:
            full = spelled_out(path, arguments[-1]) if isinstance(path, str | bytes) else ""
            if not full.startswith(ours) and full not in escape_controls:
                os.write(descriptor, f"{event} {full}\n".encode())

    sys.addaudithook(note)


def spelled_out(path: str | bytes, folder: object) -> str:
    """Return the whole of a path, which may be relative to an open folder."""
    start = Path("/proc/self/fd", str(folder)) if isinstance(folder, int) and folder > 2 else Path()
    return str((start.resolve() if start.exists() else Path().absolute()) / os.fsdecode(path))


class Archives:
    """Archives that are fetched from; see `run`.

    Parameters
    ----------
    folder : Path
        Of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.world, self.folder = World(folder / "world"), folder
        self.tried = self.accepted = 0

    def _fetch(self, data: bytes) -> tuple[Path, Ended, str]:
        """Fetch from an archive; tell where, how it ended, and what it touched outside."""
        folder = self.folder / f"{self.tried}"
        self.tried += 1
        folder.mkdir()
        archive, cache, places = folder / "a.zip", folder / "cache", folder / "places"
        archive.write_bytes(data)
        cache.mkdir()
        ended = sfseg(
            *self.world.fetch(cache, archive),
            before=[self.world.enter, lambda: watch(places, cache)],
        ).end()
        outside = places.read_text()
        places.unlink()
        return folder, ended, outside

    def refuse(self, data: bytes) -> str:
        """Fetch from an archive that must be refused; tell what is wrong."""
        return self._refused(data, *self._fetch(data))

    def _refused(self, data: bytes, folder: Path, ended: Ended, outside: str) -> str:
        if not ended.is_explained:
            return f"exit code {ended.code}: {ended.stderr[-600:]}"
        if outside:
            return f"touched outside the staging folder: {outside}"
        if names(folder / "cache") or content(folder) != {"a.zip": data}:
            return f"left behind: {names(folder / 'cache') or names(folder)}"
        return ""

    def accept(self, data: bytes) -> str:
        """Fetch from an archive that must be accepted; tell what is wrong."""
        return self._accepted(*self._fetch(data))

    def _accepted(self, folder: Path, ended: Ended, _outside: str) -> str:
        self.accepted += 1
        found = content(folder / "cache")
        right = all(found.get(f"toy/{name}") == body for name, body in GOOD)
        if ended.code or not right or len(found) != len(GOOD) + 1:
            return f"exit code {ended.code}, {sorted(found)}: {ended.stderr[-600:]}"
        return ""

    def either(self, data: bytes) -> str:
        """Fetch from an archive that must be refused, or give the right files."""
        fetched = self._fetch(data)
        return self._refused(data, *fetched) if fetched[1].code else self._accepted(*fetched)


def run(count: int, seed: int) -> Row:
    """Try every kind of archive and some mutated ones, or so many, drawn by the seed."""
    with tempfile.TemporaryDirectory() as name:
        archives = Archives(Path(os.path.realpath(name)))
        cases = [(archives.refuse, f"that {what}", make) for what, make in HOSTILE.items()]
        cases += [(archives.refuse, f"that {what}", make) for what, make in BROKEN.items()]
        cases += [(archives.accept, f"that {what}", make) for what, make in HONEST.items()]
        cases += [
            (archives.either, f"mutated, {n}", lambda n=n: mutated(n))
            for n in range(seed, seed + MUTATED)
        ]
        order = np.random.default_rng(seed).permutation(len(cases)) if count else range(len(cases))
        chosen = [int(index) for index in order][: count or None]
        failures = []
        for index in chosen:
            attempt, what, make = cases[index]
            if wrong := attempt(make()):
                failures.append(f"case {index}, an archive {what}: {wrong}")
    name = "hostile archives refused, honest ones accepted"
    notes = f"{archives.accepted} accepted"
    return Row(name, len(chosen) - len(failures), len(chosen), notes, failures)
