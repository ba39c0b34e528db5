"""Many at once: fetches of one dataset, runs to one output, users of one cache."""

import contextlib
import functools
import json
import os
import random
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sfseg.models.weights import WEIGHTS_NAME
from sfseg.prediction.engines import choose
from tests.trust.children import Child, Ended, content, names, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

OWNER, GUEST = 54321, 54322
"""Two users that need not have names."""


class Crowds:
    """Cases, each a promise that is tried; see `run`.

    Parameters
    ----------
    world : World
        What is fetched, predicted and trained on.
    folder : Path
        To work in.
    rng : random.Random
        For the moments at which the members of a crowd start.
    """

    def __init__(self, world: World, folder: Path, rng: random.Random) -> None:
        self.world, self.folder, self.rng = world, folder, rng
        self.failures: list[str] = []
        self.tried = 0
        self.data = self._alone("data", world.fetch) / "toy"
        self.map = content(self._alone("map.tif", world.predict))
        self.trained = self._alone("run", world.train)

    def _alone(self, name: str, command: Callable[[Path], tuple[object, ...]]) -> Path:
        out = self.folder / "alone" / name
        out.parent.mkdir(exist_ok=True)
        ended = self.start(command(out)).end()
        if ended.code:
            raise RuntimeError(ended.stderr)
        return out

    def start(self, command: Sequence[object], *before: Callable[[], object]) -> Child:
        """Start one member of a crowd."""
        return sfseg(*command, before=[self.world.enter, *before])

    def crowd(self, command: Sequence[object], size: int) -> list[Ended]:
        """Run a command many times at once, each a moment after the other."""
        late = [functools.partial(time.sleep, self.rng.uniform(0, 0.2)) for _ in range(size)]
        return [child.end() for child in [self.start(command, wait) for wait in late]]

    def check(self, name: str, right: bool, ended: object) -> None:
        """Count a promise, and note it down if it is broken."""
        self.tried += 1
        if not right:
            self.failures.append(f"{name}: {str(ended)[-900:]}")

    def fetches(self, size: int) -> None:
        """Fetch one dataset at once: all succeed, and there is one whole copy."""
        for source in (self.world.archive, self.world.volume.parent):
            to = self.folder / f"cache of {source.name}"
            for ended in self.crowd(self.world.fetch(to, source), size):
                self.check("fetch", ended.code == 0 and ended.stdout == f"{to / 'toy'}\n", ended)
            right = content(to / "toy") == content(self.data) and names(to) == {"toy"}
            self.check("the copy that was fetched", right, names(to))

    def predictions(self, size: int) -> None:
        """Predict to one output at once: one does it, the others say why they do not."""
        out = self.folder / "predicted" / "map.tif"
        ends = self.crowd(self.world.predict(out), size)
        for ended in ends:
            self.check("predict", ended.code == 0 or "expected no" in ended.error, ended)
        self.check("one prediction", [e.code for e in ends].count(0) == 1, ends)
        right = content(out) == self.map and names(out.parent) == {"map.tif", "map.tif.json"}
        self.check("the map", right, names(out.parent))

    def trainings(self, size: int) -> None:
        """Train in one folder at once."""
        out = self.folder / "trained"
        ends = self.crowd(self.world.train(out), size)
        for ended in ends:
            self.check("train", ended.code == 0 or "expected no" in ended.error, ended)
        self.check("one training", [e.code for e in ends].count(0) == 1, ends)
        same = (out / WEIGHTS_NAME).read_bytes() == (self.trained / WEIGHTS_NAME).read_bytes()
        self.check("the weights", same and names(out) == names(self.trained), names(out))

    def reader(self, times: int) -> None:
        """Predict from the cache while others fetch what lies there again and again."""
        cache = self.folder / "read"
        shutil.copytree(self.data, cache / "toy")
        command = list(self.world.predict(self.folder / "read.tif"))
        command[1] = cache / "toy" / "volume.tif"
        reader = self.start(command)
        for _ in range(times):
            (cache / "toy" / "sfseg-dataset.json").unlink(missing_ok=True)
            ended = self.start(self.world.fetch(cache)).end()
            self.check("fetch under a reader", ended.code == 0, ended)
        ended = reader.end()
        right = ended.code == 0 and content(self.folder / "read.tif") == self.map
        self.check("predict while others fetch", right, ended)

    def choices(self, size: int) -> None:
        """Remember the choices of engines of many runs at once: none is lost, none spoilt."""
        memory = self.folder / "engines" / "engines.json"
        choice = choose.Choice("torch", "float32")

        def remember(number: int) -> None:
            for part in range(5):
                choose._remember(memory, f"{number} {part}", choice)

        children = [Child(functools.partial(remember, number)) for number in range(size)]
        ends = [child.end() for child in children]
        found = json.loads(memory.read_text())
        right = len(found) == 5 * size and names(memory.parent) == {memory.name}
        self.check("remembered choices", right, (found.keys(), names(memory.parent), ends))

    def users(self) -> None:
        """Share a cache between two users, whatever one of them has left in it."""
        for mode, left in ((0o755, ""), (0o777, "lock"), (0o1777, "lock"), (0o755, "lock")):
            with self._cache(mode) as cache:
                to, out = cache / "data", cache.parent / "guest" / "map.tif"
                self._fetch_as(OWNER, to)
                if left:
                    self._as(OWNER, (to / "toy.lock").touch)
                self.check("a fetched cache", self._fetch_as(GUEST, to).code == 0, names(to))
                command = list(self.world.predict(out))
                command[1] = to / "toy" / "volume.tif"
                ended = self.start(command, functools.partial(become, GUEST)).end()
                self.check("predict from it", content(out) == self.map, ended)
        with self._cache(0o755) as cache:
            ended = self._fetch_as(GUEST, cache / "data")
            self.check("a cache of another user", ended.is_told and ended.code == 1, ended)
        with self._cache(0o777) as cache:
            self._as(OWNER, lambda: (cache / "data" / "toy.part" / "good").mkdir(parents=True))
            ended = self._fetch_as(GUEST, cache / "data")
            self.check("leftovers of another user", ended.is_told and ended.code == 1, ended)

    @contextlib.contextmanager
    def _cache(self, mode: int) -> Iterator[Path]:
        """Make a cache that is the owner's, and a folder that is the guest's."""
        with tempfile.TemporaryDirectory() as name:
            place = Path(os.path.realpath(name))
            for path, user, rights in (
                (place / "cache", OWNER, mode),
                (place / "guest", GUEST, 0o755),
            ):
                path.mkdir()
                os.chown(path, user, user)
                path.chmod(rights)
            data = place / "cache" / "data"
            data.mkdir()
            os.chown(data, OWNER, OWNER)
            data.chmod(mode)
            place.chmod(0o755)
            yield place / "cache"

    def _as(self, user: int, function: Callable[[], object]) -> Ended:
        def run() -> None:
            become(user)
            function()

        return Child(run).end()

    def _fetch_as(self, user: int, to: Path) -> Ended:
        from_folder = self.world.fetch(to, self.world.volume.parent)  # imports nothing any more
        return self.start(from_folder, functools.partial(become, user)).end()


def become(user: int) -> None:
    """Go on as another user."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def may_be_others() -> bool:
    """Tell whether this process may become another user, to whom the code stays readable."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(choose.__file__).parents)


def run(count: int, seed: int) -> Row:
    """Let so many work at once, in each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        folder.chmod(0o755)  # for the other users
        crowds = Crowds(World(folder / "world"), folder, random.Random(seed))
        crowds.fetches(count)
        crowds.predictions(count)
        crowds.trainings(count)
        crowds.reader(count)
        crowds.choices(count)
        if may_be_others():
            crowds.users()
    held = crowds.tried - len(crowds.failures)
    notes = f"{count} at once" + "; two users need root, and a clone that all may read" * (
        not may_be_others()
    )
    name = "fetches, predictions and trainings at once, users of one cache"
    return Row(name, held, crowds.tried, notes, crowds.failures)
