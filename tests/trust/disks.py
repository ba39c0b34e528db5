"""Every call that changes the disk fails once in each way, or is the last one before a SIGKILL.

`predict`, `train` and `fetch` must say what is wrong, spoil nothing that was there, and leave what
the same command finishes afterwards, to the same bytes.
"""

import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sfseg.checkpoints import WEIGHTS_NAME
from sfseg.tensors import read_tensors
from sfseg.trainer import STATE
from tests.trust.children import Ended, content, names, sfseg
from tests.trust.faults import FAULTS, Event, Faults, read_events, unsafe
from tests.trust.rows import Row
from tests.trust.small import World

Arguments = tuple[object, ...]

TIMED = ("history.csv", "config.json")
"""Files that tell of the time that it took, or of the command."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes
    ----------
    name : str
        What it is called in a report.
    out : str
        What it makes, in the folder that is watched.
    before : callable
        Gives the command that makes what is there before, or nothing.
    run : callable
        Gives the command, from the path of what it makes.
    again : callable
        Gives the command that goes on after a failure.
    beside : tuple of str
        What it leaves beside `out`, the last of them the record of what is done.
    """

    name: str
    out: str
    before: Callable[[Path], Arguments]
    run: Callable[[Path], Arguments]
    again: Callable[[Path], Arguments]
    beside: tuple[str, ...] = ()


def commands(world: World) -> list[Command]:
    """Spell every command that writes."""

    def nothing(_: Path) -> Arguments:
        return ()

    def predicting(name: str, out: str, *own: object) -> Command:
        return Command(
            name,
            out,
            lambda path: world.predict(path, "--tta", "flips", *own),
            lambda path: world.predict(path, *own, "--overwrite"),
            lambda path: world.predict(path, *own, "--overwrite", "--resume"),
            (f"{out}.json", f"{out}.part", f"{out}.part.manifest"),
        )

    def train_again(path: Path) -> Arguments:
        return world.train(path, *["--resume"] * (path / STATE).exists())

    return [
        predicting("predict to TIFF", "map.tif"),
        predicting("predict segments", "map.tif", "--output", "segments"),
        predicting("predict to Zarr", "map.zarr", "--dtype", "uint8", "--multiscale"),
        Command("train", "run", nothing, world.train, train_again),
        Command("fetch", "data", nothing, world.fetch, world.fetch),
    ]


class Disk:
    """A command, its result when nothing fails, and the calls that it makes of the disk.

    Parameters
    ----------
    world : World
        What it works on.
    command : Command
        Which.
    folder : Path
        Of its own.
    """

    def __init__(self, world: World, command: Command, folder: Path) -> None:
        self.world, self.command, self.folder = world, command, folder
        self.before = self._begin(folder / "before")
        whole = self._begin(folder / "whole")
        notes = folder / "events.json"
        ended = self._sfseg(command.run(whole / command.out), Faults(whole).report(notes))
        if ended.code:
            raise RuntimeError(f"{command.name}: {ended}")
        self.whole, self.names = whole, names(whole)
        self.events: list[Event] = read_events(notes)
        self.unsafe = unsafe(self.events, whole)

    def _begin(self, place: Path) -> Path:
        """Make a folder as it is before the command."""
        place.mkdir(parents=True)
        if first := self.command.before(place / self.command.out):
            ended = self._sfseg(first)
            if ended.code:
                raise RuntimeError(f"{self.command.name}: {ended}")
        return place

    def _sfseg(self, arguments: Arguments, *before: Callable[[], object]) -> Ended:
        return sfseg(*arguments, before=[self.world.enter, *before]).end()

    def try_fault(self, number: int, fault: str) -> str:
        """Let one call fail, and go on; return what is wrong, or nothing."""
        place = self.folder / f"{number}-{fault}"
        shutil.copytree(self.before, place)
        try:
            faults = Faults(place, number, fault)
            ended = self._sfseg(self.command.run(place / self.command.out), faults.install)
            wrong = self._judge(place, ended, fault)
            again = self._sfseg(self.command.again(place / self.command.out))
            return wrong or self._judge_end(place, ended, again)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _judge(self, place: Path, ended: Ended, fault: str) -> str:
        """Say what is wrong after the failure."""
        if not self._is_intact(place):
            return "what was there before is lost"
        if fault == "KILL":
            return "" if ended.code == -9 else f"exit code {ended.code}"
        if ended.code and not ended.is_told:
            return f"exit code {ended.code}: {ended.stderr[-600:]}"
        return ""

    def _is_intact(self, place: Path) -> bool:
        """Whether what is under the final name is the old or the new, whole, or for now nothing."""
        out, command = place / self.command.out, self.command
        if not command.beside:
            return all(_is_readable(path) for path in (out / STATE, out / WEIGHTS_NAME))
        if not out.exists():  # a store that is being replaced has another name for a moment
            out = place / f"{command.out}.part.old"
        return content(out) in [content(f / command.out) for f in (self.before, self.whole)]

    def _judge_end(self, place: Path, first: Ended, ended: Ended) -> str:
        """Say what is wrong after it has gone on; after a success there may be nothing to do."""
        if ended.code:
            return f"going on: exit code {ended.code}: {ended.stderr[-600:]}"
        if left := names(place) ^ self.names:
            return f"left behind or missing after the second run: {left}"
        if difference := _difference(place / self.command.out, self.whole / self.command.out):
            return f"{difference} differs after exit codes {first.code} and {ended.code}"
        return ""


def _is_readable(path: Path) -> bool:
    return not path.exists() or bool(read_tensors(path))


def _difference(one: Path, other: Path) -> str:
    """Name a file that two outputs do not have alike, apart from the time that it took."""
    found, expected = content(one), content(other)
    for name in sorted(found.keys() | expected.keys()):
        ours, theirs = found.get(name), expected.get(name)
        if ours is None or theirs is None:
            return f"{name}, which one of them does not have,"
        if name == STATE:
            tensors = [read_tensors(folder / name)[0] for folder in (one, other)]
            same = all(
                np.array_equal(tensors[0][n].numpy(), tensors[1][n].numpy())
                for n in tensors[0] | tensors[1]
            )
        else:
            same = ours == theirs or name in TIMED
        if not same:
            return name
    return ""


def cases(disks: list[Disk]) -> Iterator[tuple[Disk, int, str]]:
    """Name every case there is."""
    for disk in disks:
        yield from itertools.product([disk], range(1, len(disk.events) + 1), FAULTS)


def run(count: int, seed: int) -> Row:
    """Try every case, or so many of them, drawn by the seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        world = World(folder / "world")
        disks = [
            Disk(world, command, folder / command.name.replace(" ", "-"))
            for command in commands(world)
        ]
        every = list(cases(disks))
        if count:
            order = np.random.default_rng(seed).permutation(len(every))[:count]
            every = [every[int(index)] for index in order]
        failures = [f"{disk.command.name}: {text}" for disk in disks for text in disk.unsafe]
        tried = len(every) + sum(len(content(disk.whole)) for disk in disks)
        for disk, number, fault in every:
            if wrong := disk.try_fault(number, fault):
                call = disk.events[number - 1]
                where = f"{fault} at call {number}, {call.call} {call.path or call.inode}"
                failures.append(f"{disk.command.name}: {where}: {wrong}")
    calls = ", ".join(f"{len(disk.events)} in {disk.command.name}" for disk in disks)
    name = "disk full, failing, read-only or denied, or killed, at every call that changes the disk"
    return Row(name, tried - len(failures), tried, f"calls: {calls}", failures)
