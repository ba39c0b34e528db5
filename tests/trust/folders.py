"""Folders of work with bad files among the good, and outputs with unusual names or places."""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
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
"""Names of inputs, and with another ending of outputs, that are right or refused clearly."""


def spoilt(volume: Path) -> dict[str, Callable[[Path], object]]:
    """Give ways to make a bad file, by name."""
    data = volume.read_bytes()

    def missing_pages(path: Path) -> None:
        path.write_bytes(data[: len(data) * 2 // 3])

    def not_finite(path: Path) -> None:
        from sfseg.io import write_stack

        pixels = np.zeros((3, 90, 90), np.float32)
        pixels[1, 5, 7] = np.nan
        write_stack(path, pixels, pixels.shape, pixels.dtype)

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
        command = list(self.world.predict(Path("."), *own))
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

    def twenty(self, seed: int, case: int) -> None:
        """Predict a folder of twenty files of which three are bad."""
        rng = np.random.default_rng([seed, case])
        ways = spoilt(self.world.volume)
        kinds = rng.permutation(list(ways))[:BAD]
        bad = {f"{n:02}.tif": str(kind) for n, kind in zip(rng.permutation(FILES), kinds)}  # noqa: B905
        place = self.folder / f"twenty{case}"
        (place / "in").mkdir(parents=True)
        for number in range(FILES):
            path = place / "in" / f"{number:02}.tif"
            if path.name in bad:
                ways[bad[path.name]](path)
            else:
                shutil.copyfile(self.world.volume, path)
        for form in ("paths", "json"):
            out = place / form
            ended = self.predict(place / "in", out, *["--json"] * (form == "json"))
            good = {f"{n:02}.tif" for n in range(FILES)} - bad.keys()
            made = {name for name in names(out) if not name.endswith(".json")}
            right = ended.code == 3 and made == good and len(names(out)) == 2 * len(good)
            right &= all(content(out / name) == self.map for name in good)
            right &= f"{FILES - BAD} done, {BAD} failed" in ended.stderr
            summary = ended.stderr.rpartition(" failed")[2]
            right &= all(_is_named(place / "in" / name, summary) for name in bad)
            right &= "Traceback" not in ended.stderr
            told = _told_as_json(ended) if form == "json" else bad.keys()
            self.check(f"seed {seed}, case {case}, {form}, bad: {bad}", right and told == bad.keys(), ended)

    def named(self, name: str) -> None:
        """Predict a file of an unusual name, to a file of that name and to a folder of it."""
        place = self.folder / "named"
        (place / "in").mkdir(parents=True)
        source = place / "in" / f"{name}.tif"
        shutil.copyfile(self.world.volume, source)
        for out in (place / "out" / f"{name}.tif", place / name, place / "out" / f"{name}.zarr"):
            ended = self.predict(source, out)
            made = out / source.name if out.suffix not in (".tif", ".zarr") else out
            if ended.code:
                right = ended.is_told and not made.exists()
            else:
                right = ended.stdout == f"{made}\n".encode("utf-8", "surrogateescape").decode(
                    "utf-8", "backslashreplace"
                )
                right &= made.suffix == ".zarr" or content(made) == self.map
            self.check(f"name {name!r} -> {out.name!r}", right, ended)
        shutil.rmtree(place)

    def places(self) -> None:
        """Name outputs where nothing can or may be written."""
        volume, place = self.world.volume, self.folder / "places"
        place.mkdir()
        (place / "file").write_text("precious")
        (place / "folder.tif").mkdir()
        (place / "loop.tif").symlink_to("loop.tif")
        (place / "link.tif").symlink_to(volume)
        before = volume.read_bytes()
        refused: Sequence[tuple[str, object, tuple[str, ...]]] = (
            ("the input itself", volume, ("--overwrite",)),
            ("the input by a detour", volume.parent / ".." / volume.parent.name / volume.name, ("--overwrite",)),
            ("a link to the input", place / "link.tif", ("--overwrite",)),
            ("the folder of the input", volume.parent, ("--overwrite",)),
            ("a file as a folder", place / "file" / "map.tif", ()),
            ("a file as a deep folder", place / "file" / "a" / "b" / "map.tif", ()),
            ("a folder as a file", place / "folder.tif", ("--overwrite",)),
            ("a file that is there", place / "file", ()),
            ("a picture", place / "map.png", ()),
            ("a name that is too long", place / ("n" * 240 + ".tif"), ()),
            ("a name that no file system takes", place / ("n" * 300 + ".tif"), ()),
            ("a folder whose name is too long", place / ("n" * 300) / "map.tif", ()),
            ("a path that is too long", place.joinpath(*["n" * 200] * 25, "map.tif"), ()),
            ("a link to itself", place / "loop.tif" / "map.tif", ()),
            ("a device", "/dev/null/map.tif", ()),
            ("the kernel", "/proc/map.tif", ()),
        )
        for name, out, own in refused:
            source = volume if name != "the folder of the input" else volume.parent
            ended = self.predict(source, out, *own)
            right = ended.code in (1, 2) and "expected" in ended.error and "hint:" in ended.error
            right &= "Traceback" not in ended.stderr and volume.read_bytes() == before
            right &= names(place) == {"file", "folder.tif", "loop.tif", "link.tif"}
            self.check(name, right and (place / "file").read_text() == "precious", ended)
        deep = place / "new" / "and newer" / "map.tif"
        ended = self.predict(volume, deep)
        self.check("a folder that is missing", ended.code == 0 and content(deep) == self.map, ended)
        ended = self.predict(volume, f"{place}/./new//../map.tif")
        self.check("a path with detours", content(place / "map.tif") == self.map, ended)


def _is_named(path: Path, summary: str) -> bool:
    """Whether a summary has a line with a path and what was expected there."""
    return any(f"  {path}: " in line and "expected" in line for line in summary.splitlines())


def _told_as_json(ended: Ended) -> set[str]:
    """Name the files that the JSON tells an error of."""
    try:
        entries = json.loads(ended.stdout)
    except ValueError:
        return set()
    return {Path(entry["input"]).name for entry in entries if "error" in entry}


def run(count: int, seed: int) -> Row:
    """Try so many folders of twenty files, and every unusual name and place."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        folders = Folders(World(folder / "world"), folder)
        for case in range(count):
            folders.twenty(seed, case)
        for unusual in NAMES:
            folders.named(unusual)
        folders.places()
    held = folders.tried - len(folders.failures)
    name = f"folders of {FILES} files with {BAD} bad ones; unusual names and places of outputs"
    return Row(name, held, folders.tried, failures=folders.failures)
