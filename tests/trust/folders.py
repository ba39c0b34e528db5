"""Folders of work with bad files among the good, and outputs with unusual names or places."""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.trust.children import Ended, content, names, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

FILES, BAD = 20, 3

NAMES = (
    "with space",
    " leading and trailing ",
    "brackets[1]",
    "[uint8]",
    "star*and?",
    "{braces}",
    "percent%20",
    "quote'\"",
    "Zellgrenze äöü",
    "膜の地図",
    "e\u0301 decomposed",
    "emoji 🔬",
    "new\nline",
    "tab\tbell\a",
    "-dash",
    "~tilde",
    "$HOME",
    "#hash:colon",
    "back\\slash",
    "dots...",
    os.fsdecode(b"not \xff utf-8"),
    "n" * 232,
)
"""Names of inputs and outputs that are right or refused clearly."""

LONG = "n" * 200
REFUSED = (
    ("the input itself", "{volume}", "--overwrite"),
    ("the input by a detour", "{volume.parent}/../world/volume.tif", "--overwrite"),
    ("a link to the input", "{place}/link.tif", "--overwrite"),
    ("the folder of the input", "{volume.parent}", "--overwrite"),
    ("a file as a folder", "{place}/file/map.tif"),
    ("a file as a deep folder", "{place}/file/a/b/map.tif"),
    ("a folder as a file", "{place}/folder.tif", "--overwrite"),
    ("a file that is there", "{place}/file"),
    ("a picture", "{place}/map.png"),
    ("a name that leaves no room for .part", f"{{place}}/{LONG}{'n' * 40}.tif"),
    ("a name that no file system takes", f"{{place}}/{LONG}{LONG}.tif"),
    ("a folder whose name no file system takes", f"{{place}}/{LONG}{LONG}/map.tif"),
    ("a path that no system takes", f"{{place}}/{f'{LONG}/' * 25}map.tif"),
    ("a link to itself", "{place}/loop.tif/map.tif"),
    ("a device as a folder", "/dev/null/map.tif"),
    ("the kernel", "/proc/map.tif"),
)
"""What is refused: why, the output, and options."""

MADE = (
    ("a folder that is missing", "{place}/new/and newer/map.tif"),
    ("a path with detours", "{place}/./new//../map.tif"),
)
"""What is right: why, and the output."""


def spoilt(volume: Path) -> dict[str, Callable[[Path], object]]:
    """Give ways to make a bad file, by name."""
    data = volume.read_bytes()

    def missing_pages(path: Path) -> None:
        path.write_bytes(data[: len(data) * 2 // 3])

    def not_finite(path: Path) -> None:
        from sfseg.io import write_stack

        pixels = np.zeros((3, 90, 90), np.float32)
        pixels[1, 5, 7] = np.nan
        write_stack(path, pixels)

    return {
        "text": lambda path: path.write_text("no image"),
        "empty": lambda path: path.write_bytes(b""),
        "cut short": missing_pages,
        "only a header": lambda path: path.write_bytes(data[:8]),
        "not finite": not_finite,
        "noise": lambda path: path.write_bytes(data[:4] + bytes(range(256)) * 8),
        "a link to nothing": lambda path: path.symlink_to("nowhere.tif"),
    }


class Folders:
    """Cases, each a promise that is tried; see `run`."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.failures: list[str] = []
        self.tried = 0
        ended = self.sfseg(*world.predict(folder / "map.tif"))
        if ended.code:
            raise RuntimeError(ended.stderr)
        self.map = content(folder / "map.tif")

    def sfseg(self, *arguments: object) -> Ended:
        """Run the command to its end."""
        return sfseg(*arguments, before=[self.world.enter]).end()

    def predict(self, source: object, out: object, *own: object) -> Ended:
        """Predict another input."""
        command = list(self.world.predict(Path(), *own))
        command[1], command[3] = source, out
        if str(source).startswith("-"):
            command = [command[0], *command[2:], "--", source]
        return self.sfseg(*command)

    def check(self, name: str, right: bool, ended: Ended) -> None:
        """Count a promise, and note it down if it is broken."""
        self.tried += 1
        if not right:
            said = f"exit code {ended.code}, stdout {ended.stdout[-200:]!r}"
            self.failures.append(f"{name!r}: {said}, stderr {ended.stderr[-600:]!r}")

    def twenty(self, seed: int, form: str) -> None:
        """Predict a folder of twenty files of which three are bad."""
        rng = np.random.default_rng(seed)
        ways = spoilt(self.world.volume)
        places = [f"{number:02}.tif" for number in rng.permutation(FILES)[:BAD]]
        bad = dict(zip(places, map(str, rng.permutation(list(ways))), strict=False))
        given, out = self.folder / "in", self.folder / "out"
        given.mkdir()
        for path in (given / f"{number:02}.tif" for number in range(FILES)):
            if path.name in bad:
                ways[bad[path.name]](path)
            else:
                shutil.copyfile(self.world.volume, path)
        ended = self.predict(given, out, *["--json"] * (form == "json"))
        good = {path.name for path in given.iterdir()} - bad.keys()
        right = ended.code == 3 and names(out) == good | {f"{name}.json" for name in good}
        right &= all(content(out / name) == self.map for name in good)
        right &= f"{FILES - BAD} done, {BAD} failed" in ended.stderr
        right &= all(_is_named(given / name, ended.stderr.rpartition(" failed")[2]) for name in bad)
        right &= form != "json" or _failed_in_json(ended) == bad.keys()
        self.check(f"{form}, bad: {bad}", right and "Traceback" not in ended.stderr, ended)

    def named(self, name: str, kind: str) -> None:
        """Predict a file of an unusual name, to a file of that name or to a folder of it."""
        (self.folder / "in").mkdir()
        source, out = self.folder / "in" / f"{name}.tif", self.folder / "out" / f"{name}{kind}"
        shutil.copyfile(self.world.volume, source)
        ended = self.predict(source, out)
        made = out if kind else out / source.name
        if ended.code:
            right = ended.is_explained and not made.exists()
        else:
            said = f"{made}\n".encode("utf-8", "surrogateescape")
            right = ended.stdout == said.decode("utf-8", "backslashreplace")
            right &= made.is_dir() if kind == ".zarr" else content(made) == self.map
        self.check(f"{name!r} to a {kind or 'folder'}", right, ended)

    def refused(self, name: str, out: str, *own: str) -> None:
        """Name an output where nothing can or may be written."""
        volume, place = self.world.volume, self.folder / "place"
        place.mkdir()
        (place / "file").write_text("precious")
        (place / "folder.tif").mkdir()
        (place / "loop.tif").symlink_to("loop.tif")
        (place / "link.tif").symlink_to(volume)
        before, there = content(volume), names(place)
        ended = self.predict(volume, out.format(volume=volume, place=place), *own)
        right = ended.code in (1, 2) and ended.is_clear and content(volume) == before
        right &= names(place) == there and (place / "file").read_text() == "precious"
        self.check(name, right, ended)

    def made(self, name: str, out: str) -> None:
        """Name an output where there is nothing yet, in a roundabout way."""
        (self.folder / "place").mkdir()
        path = Path(out.format(place=self.folder / "place"))
        ended = self.predict(self.world.volume, path)
        self.check(name, ended.code == 0 and content(path) == self.map, ended)

    def cases(self, seed: int) -> list[Callable[[], None]]:
        """Name every case there is, the folders of twenty first."""
        forms = [functools.partial(self.twenty, seed, form) for form in ("paths", "json")]
        named = [
            functools.partial(self.named, name, kind)
            for name in NAMES
            for kind in (".tif", "", ".zarr")
        ]
        refused = [functools.partial(self.refused, name, *rest) for name, *rest in REFUSED]
        return [*forms, *named, *refused, *(functools.partial(self.made, *rest) for rest in MADE)]

    def clear(self) -> None:
        """Remove what a case has made."""
        for name in ("in", "out", "place"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _is_named(path: Path, summary: str) -> bool:
    """Whether a summary has a line with a path and a sentence about it."""
    lines = [line.partition(f"  {path}: ")[2] for line in summary.splitlines()]
    return any(len(line.split()) > 1 for line in lines)


def _failed_in_json(ended: Ended) -> set[str]:
    """Name the files that the JSON gives an error for."""
    try:
        entries = json.loads(ended.stdout)
    except ValueError:
        return set()
    return {Path(entry["input"]).name for entry in entries if "error" in entry}


def run(count: int, seed: int) -> Row:
    """Try every case, or the folders of twenty and so many others, drawn by the seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        folders = Folders(World(folder / "world"), folder)
        cases = folders.cases(seed)
        if count:
            order = np.random.default_rng(seed).permutation(len(cases) - 2)[: max(count - 2, 0)]
            cases = cases[:2] + [cases[2 + int(index)] for index in order]
        for case in cases:
            case()
            folders.clear()
    held = folders.tried - len(folders.failures)
    name = f"folders of {FILES} files with {BAD} bad ones; unusual names and places of outputs"
    return Row(name, held, folders.tried, failures=folders.failures)
