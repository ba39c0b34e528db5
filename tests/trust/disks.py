"""Every call that changes the disk fails once in each way, or is the last one before a SIGKILL.

`predict`, `train` and `fetch` must say what is wrong, spoil nothing that was there, and leave what
the same command finishes afterwards, to the same bytes.
"""

import dataclasses
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sfseg.errors import SfsegError
from sfseg.models.safetensors_file import read_tensors
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.training.run_folder import STATE
from tests.trust.children import Ended, content, names, sfseg
from tests.trust.faults import FAULTS, Event, Faults, read_events, unsafe
from tests.trust.rows import Row
from tests.trust.small import World
from tests.trust.trainings import after_each_step

Arguments = tuple[object, ...]

TIMED = ("history.csv", "config.json", "report.html")
"""Files with times or with the command in them: they differ from run to run."""

INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes
    ----------
    name : str
        What it is called in a report.
    out : str
        What it makes, in the folder that is watched.
    run : callable
        Gives the command, from the path of what it makes.
    again : callable
        Gives the command that continues after a failure.
    before : callable
        Makes what is there before, by that path.
    is_intact : callable
        Tells whether the old output or the new one is there. Its arguments are contents of the
        watched folder: now, before the command, and after a whole run.
    """

    name: str
    out: str
    run: Callable[[Path], Arguments]
    again: Callable[[Path], Arguments]
    before: Callable[[Path], object]
    is_intact: Callable[[Path, Path, Path], bool]


def commands(world: World) -> list[Command]:
    """Spell every command that writes."""

    def do(arguments: Arguments, *before: Callable[[], object], code: int = 0) -> None:
        ended = sfseg(*arguments, before=[world.enter, *before]).end()
        if ended.code != code:
            raise RuntimeError(f"{arguments}: {ended}")

    def nothing(_: Path) -> None:
        pass

    def predicting(name: str, out: str, *own: object) -> Command:
        return Command(
            name,
            out,
            lambda path: world.predict(path, *own, "--overwrite"),
            lambda path: world.predict(path, *own, "--overwrite", "--resume"),
            lambda path: do(world.predict(path, "--tta", "flips", *own)),
            lambda *places: _has_map(out, *places),
        )

    def train_on(path: Path) -> Arguments:
        return world.train(path, "--resume")

    def train_again(path: Path) -> Arguments:
        return world.train(path, *["--resume"] * (path / STATE).exists())

    def begin_training(path: Path) -> None:
        do(world.train(path), after_each_step(_interrupt), code=INTERRUPTED)

    def begin_data(path: Path) -> None:
        do(world.fetch(path))
        (path / "toy").rename(path / "other")
        (path / "toy").mkdir()
        shutil.copyfile(world.volume, path / "toy" / world.volume.name)
        (path / "toy" / "notes.txt").write_text("mine")

    return [
        predicting("predict to TIFF", "map.tif"),
        predicting("predict segments", "map.tif", "--output", "segments"),
        predicting("predict to Zarr", "map.zarr", "--dtype", "uint8", "--multiscale"),
        Command("train", "run", world.train, train_again, nothing, _has_training),
        Command("train on", "run", train_on, train_on, begin_training, _has_training),
        Command("fetch", "data", world.fetch, world.fetch, nothing, _has_data),
        Command("fetch beside others", "data", world.fetch, world.fetch, begin_data, _has_data),
    ]


def _interrupt() -> None:
    raise KeyboardInterrupt


def _has_map(out: str, place: Path, before: Path, whole: Path) -> bool:
    """Whether there is the old map or the new one, whole, and a record."""
    json.loads((place / f"{out}.json").read_text())
    found = place / out
    if not found.exists():  # a store that is being replaced has another name for a moment
        found = place / f"{out}.part.old"
    return content(found) in [content(folder / out) for folder in (before, whole)]


def _has_training(place: Path, before: Path, _: Path) -> bool:
    """Whether the state is of no earlier step than it was, and the weights are whole, if any."""
    out = place / "run"
    if (out / WEIGHTS_NAME).exists():
        read_tensors(out / WEIGHTS_NAME)
    return _step(out) >= _step(before / "run")


def _step(run: Path) -> int:
    """Read a state through, and say which step it is of; -1 = there is none."""
    if not (run / STATE).exists():
        return -1
    _, facts = read_tensors(run / STATE)
    return int(facts["progress"]["step"])


def _has_data(place: Path, before: Path, whole: Path) -> bool:
    """Whether each file is there that was, as it was, and of the new ones none but whole ones."""
    found, old, new = (content(folder / "data") for folder in (place, before, whole))
    final = {name: data for name, data in found.items() if not name.startswith("toy.")}
    return old.items() <= final.items() <= new.items()


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
        self.before, whole = folder / "before", folder / "whole"
        for place in (self.before, whole):
            place.mkdir(parents=True)
            command.before(place / command.out)
        notes = folder / "events.json"
        ended = self._sfseg(command.run(whole / command.out), Faults(whole).report(notes))
        if ended.code:
            raise RuntimeError(f"{command.name}: {ended}")
        self.whole, self.names = whole, names(whole)
        self.events: list[Event] = read_events(notes)
        self.unsafe = unsafe(self.events, whole)

    def _sfseg(self, arguments: Arguments, *before: Callable[[], object]) -> Ended:
        return sfseg(*arguments, before=[self.world.enter, *before]).end()

    def try_fault(self, number: int, fault: str) -> str:
        """Let one call fail, then continue; return what is wrong, or nothing."""
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
        if ended.code and not ended.is_explained:
            return f"exit code {ended.code}: {ended.stderr[-600:]}"
        return ""

    def _is_intact(self, place: Path) -> bool:
        """Whether what was there before is not lost, nor anything under its final name damaged."""
        try:
            return self.command.is_intact(place, self.before, self.whole)
        except (SfsegError, OSError, ValueError):  # what cannot be read is not whole
            return False

    def _judge_end(self, place: Path, first: Ended, ended: Ended) -> str:
        """Say what is wrong after it was resumed; after a success there may be nothing to do."""
        if ended.code:
            return f"going on: exit code {ended.code}: {ended.stderr[-600:]}"
        if left := names(place) ^ self.names:
            return f"left behind or missing after the second run: {left}"
        if difference := _difference(place / self.command.out, self.whole / self.command.out):
            return f"{difference} differs after exit codes {first.code} and {ended.code}"
        return ""


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
