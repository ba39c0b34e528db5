"""Kill predictions at moments drawn by a seed, up to three times each, and resume them.

The result must be the bytes of a prediction that was left alone, with nothing beside it.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.trust.children import Child, content, names, sfseg
from tests.trust.moments import count_moments, signal_at
from tests.trust.rows import Row
from tests.trust.small import World

KINDS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("map.tif", ()),
    ("map.tif", ("--output", "segments")),
    ("map.zarr", ("--dtype", "uint8", "--multiscale")),
    ("map.zarr", ("--output", "segments")),
)
MOST_KILLS = 3


class Prediction:
    """One kind of output, made once without a kill.

    Parameters
    ----------
    world : World
        What is predicted, and by which network.
    folder : Path
        Of its own.
    name, options
        One of `KINDS`.
    """

    def __init__(self, world: World, folder: Path, name: str, options: tuple[str, ...]) -> None:
        self.world, self.folder, self.name, self.options = world, folder, name, options
        count = folder.with_name(f"{folder.name}.moments")
        ended = self._start(folder / "whole", count_moments(count)).end()
        if ended.code:
            raise RuntimeError(ended.stderr)
        self.moments = int(count.read_text())
        self.whole = content(folder / "whole" / name)

    def _start(self, place: Path, *before: Callable[[], object]) -> Child:
        command = self.world.predict(place / self.name, *self.options, "--resume")
        return sfseg(*command, before=[self.world.enter, *before])

    def try_case(self, rng: np.random.Generator) -> "Outcome":
        """Kill it one to three times, let it end, and compare."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        kills = half_done = 0
        for _ in range(rng.integers(1, MOST_KILLS + 1)):
            moment = int(rng.integers(1, self.moments + 1))
            ended = self._start(place, signal_at(moment)).end()
            if not ended.code:  # less was left to do than up to that moment
                break
            if ended.code != -signal.SIGKILL:
                return Outcome(kills, half_done, ended.stderr)
            kills += 1
            half_done += (place / f"{self.name}.part").exists()
        ended = self._start(place).end()
        wrong = ended.stderr if ended.code else self._difference(place)
        shutil.rmtree(place)
        return Outcome(kills, half_done, wrong)

    def _difference(self, place: Path) -> str:
        """Say what is not as in the prediction that was left alone."""
        if names(place) != {self.name, f"{self.name}.json"}:
            return f"left behind: {sorted(names(place))}"
        found = content(place / self.name)
        wrong = [key for key in found | self.whole if found.get(key) != self.whole.get(key)]
        return f"other bytes: {wrong}" if wrong else ""


@dataclass(frozen=True)
class Outcome:
    """What a case came to: its kills, those that left it half done, and what is wrong."""

    kills: int
    half_done: int
    wrong: str


def run(count: int, seed: int) -> Row:
    """Try so many cases; the kinds of output take turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(folder / "world", (3, 200, 200))
        kinds = [
            Prediction(world, folder / str(number), *kind)
            for number, kind in enumerate(KINDS[: count or None])
        ]
        outcomes = [
            kinds[case % len(kinds)].try_case(np.random.default_rng([seed, case]))
            for case in range(count)
        ]
    failures = [
        f"seed {seed}, case {case}: {outcome.wrong[-600:]}"
        for case, outcome in enumerate(outcomes)
        if outcome.wrong
    ]
    kills, half = (sum(getattr(o, name) for o in outcomes) for name in ("kills", "half_done"))
    failures += ["nothing was killed"] * (not kills)
    notes = f"{kills} kills, {half} of them with an output under way"
    name = "prediction killed at a moment, then --resume: the same bytes"
    return Row(name, count - len(failures), count, notes, failures)
