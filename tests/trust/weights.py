"""Files that pass for weights, or for the state of a training, and are none that can be used.

Each is built from sound ones, and must be refused with a sentence: in little time, with little
memory, without running what is in it.
"""

import gzip
import io
import itertools
import json
import math
import os
import pickle
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfseg import models
from sfseg.errors import SfsegError
from sfseg.models import weights
from sfseg.models.weights import WEIGHTS_NAME
from sfseg.recipes import DEFAULT
from sfseg.training import state as states
from sfseg.training.affinities import WithAffinities
from sfseg.training.optim import make_optimizer
from sfseg.training.run_folder import STATE
from tests.processes import HANGS_S
from tests.trust.children import Child, Ended, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

SECONDS, BYTES = 1.0, 200e6


Maker = Callable[[Path, bytes], None]
"""Writes a bad file to a path, given the bytes of a sound one."""


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (f"{self.path}.ran",)


def take_apart(whole: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the bytes of the tensors."""
    length = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def assemble(header: object, data: bytes) -> bytes:
    """Put a header, as bytes, text or JSON, before the bytes of tensors."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + data


def bytes_of(make: Callable[[bytes], bytes]) -> Maker:
    return lambda path, whole: void(path.write_bytes(make(whole)))


def void(_: object) -> None:
    """Take what a function gives, and give nothing."""


def with_header(change: Callable[[dict[str, Any]], object]) -> Maker:
    """Change the header of the file in place, or return another one."""

    def make(whole: bytes) -> bytes:
        header, data = take_apart(whole)
        changed = change(header)
        return assemble(header if changed is None else changed, data)

    return bytes_of(make)


def with_first(**changes: object) -> Maker:
    """Change what the header says of the largest tensor."""

    def change(header: dict[str, Any]) -> None:
        header[largest(header)] |= changes

    return with_header(change)


def largest(header: Mapping[str, Any]) -> str:
    tensors = [name for name in header if name != "__metadata__"]
    return max(tensors, key=lambda name: math.prod(header[name]["shape"]))


def with_value(number: bytes) -> Maker:
    """Put a float32 into the largest tensor."""

    def make(whole: bytes) -> bytes:
        header, data = take_apart(whole)
        at = header[largest(header)]["data_offsets"][0]
        return assemble(header, data[:at] + number + data[at + len(number) :])

    return bytes_of(make)


def with_own(**changes: object) -> Maker:
    """Change fields of our own header; one that becomes `...` is left out."""

    def change(header: dict[str, Any]) -> None:
        own = json.loads(header["__metadata__"]["sfseg"]) | changes
        own = {name: value for name, value in own.items() if value is not ...}
        header["__metadata__"]["sfseg"] = json.dumps(own)

    return with_header(change)


def with_own_text(text: object) -> Maker:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["sfseg"] = text

    return with_header(change)


def renamed(header: dict[str, Any]) -> None:
    header["other"] = header.pop(largest(header))


def transposed(header: dict[str, Any]) -> None:
    header[largest(header)]["shape"].reverse()


def overlapping(header: dict[str, Any]) -> None:
    """Let two tensors of one size share their bytes."""
    header["twin"] = header[largest(header)]


def shifted(header: dict[str, Any]) -> None:
    """Leave a hole before the largest tensor."""
    header[largest(header)]["data_offsets"] = [
        n + 4 for n in header[largest(header)]["data_offsets"]
    ]


def retyped(kind: str, size: int) -> Maker:
    """Give out the bytes of the largest tensor, of float32, as numbers of another type."""

    def change(header: dict[str, Any]) -> None:
        entry = header[largest(header)]
        entry |= {"dtype": kind, "shape": [math.prod(entry["shape"]) * 4 // size]}

    return with_header(change)


def empty_tensors(count: int) -> Maker:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return bytes_of(lambda _: assemble({f"{n}": empty for n in range(count)}, b""))


def doubled(name: str) -> Callable[[bytes], bytes]:
    """Have a key of the header twice."""

    def make(whole: bytes) -> bytes:
        header, data = take_apart(whole)
        key = name or largest(header)
        text = json.dumps(header)
        return assemble(text[:-1] + f", {json.dumps(key)}: {json.dumps(header[key])}}}", data)

    return make


def large_header(path: Path, _: bytes) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 10**8 + 1))
        file.truncate(8 + 10**8 + 1)


def torch_saved(new: bool) -> Maker:
    def make(path: Path, _: bytes) -> None:
        tensors = {"weight": torch.zeros(3), "trap": Trap(path)}
        torch.save(tensors, path, _use_new_zipfile_serialization=new)

    return make


def pickled(pack: Callable[[bytes], bytes] = bytes, protocol: int = 4) -> Maker:
    return lambda path, _: void(path.write_bytes(pack(pickle.dumps(Trap(path), protocol))))


def numpy_saved(path: Path, _: bytes) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Trap(path)], object), allow_pickle=True)


def zipped(whole: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.safetensors", whole)
    return buffer.getvalue()


def device(name: str) -> Maker:
    return lambda path, _: path.symlink_to(f"/dev/{name}")


def bound(path: Path, _: bytes) -> None:
    """Make a socket, by a name short enough for one."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def cut_at(share: float, more: int) -> Maker:
    """Cut at a share of header and tensors, and some bytes more or less."""

    def make(whole: bytes) -> bytes:
        start = 8 + int.from_bytes(whole[:8], "little")
        at = (
            8 + (start - 8) * share * 2
            if share <= 0.5
            else start + (len(whole) - start) * (2 * share - 1)
        )
        return whole[: int(at) + more]

    return bytes_of(make)


NESTED = "[" * 100_000
HUGE = "9" * 5000
ANY: dict[str, Maker] = {
    **{f"is a pickle of protocol {n}": pickled(protocol=n) for n in range(6)},
    "was written by torch.save": torch_saved(True),
    "was written by torch.save of old": torch_saved(False),
    "is a numpy array of objects": numpy_saved,
    "is a pickle packed by zlib": pickled(zlib.compress),
    "is a pickle packed by gzip": pickled(gzip.compress),
    "is a zip archive": bytes_of(zipped),
    "is empty": bytes_of(lambda _: b""),
    "is text": bytes_of(lambda _: b"<html>not found</html>"),
    **{
        f"is cut at {share:.0%} of its header and tensors {more:+} bytes": cut_at(share, more)
        for share, more in [*itertools.product((0, 0.25, 0.5, 0.75), (-1, 0, 1)), (1, -1)]
    },
    "has a byte too many": bytes_of(lambda whole: whole + b"\0"),
    "has a header of 100 MB and a byte": large_header,
    **{
        f"has a header of {name} bytes": bytes_of(lambda w, n=number: struct.pack("<Q", n) + w[8:])
        for name, number in {"no": 0, "2^31": 2**31, "2^63": 2**63, "2^64 - 1": 2**64 - 1}.items()
    },
    "has a header that is a list": with_header(lambda _: []),
    "has a header that is a number": with_header(lambda _: 7),
    "has a header of brackets within brackets": with_header(lambda _: NESTED),
    "has a header of objects within objects": with_header(lambda _: '{"a":' * 100_000),
    "has a header of 2,000,000 objects": with_header(lambda _: f'{{"a":[{"{}," * 2_000_000}1]}}'),
    "has a header of 1,600,000 texts": with_header(
        lambda _: f'{{"a":[{chr(34) * 2}' + ',"ab"' * 1_600_000 + "]}"
    ),
    "has a header that is not UTF-8": with_header(lambda _: b'{"\xff\xfe": 1}'),
    "has a header with NUL in it": with_header(lambda _: b'{"\x00": 1}'),
    "has a header with more after it": with_header(lambda h: json.dumps(h) + "{}"),
    "has tensors that overlap": with_header(overlapping),
    "has a hole between tensors": with_header(shifted),
    "has a shape of 2^64": with_first(shape=[2**32, 2**32], data_offsets=[0, 0]),
    "has a shape of 2^64 + 1 numbers": with_first(shape=[2**32 + 1, 2**32 - 1, 1]),
    "has a shape of 10^5000": with_header(
        lambda h: json.dumps(h).replace('"shape": [', f'"shape": [{HUGE}, ')
    ),
    "has a shape of 1,000 dimensions": with_first(shape=[1] * 1000),
    "has a shape below zero": with_first(shape=[-1, -4]),
    "has a shape that is no whole number": with_first(shape=[2.5, 4.0]),
    "has a shape of truth": with_first(shape=[True, True]),
    "has a shape of text": with_first(shape="44"),
    "has no shape": with_first(shape=None),
    "has tensors that end before they begin": with_first(data_offsets=[64, 0]),
    "has tensors before its beginning": with_first(data_offsets=[-8, 0]),
    "has tensors after its end": with_first(data_offsets=[2**40, 2**40 + 4]),
    "has tensors at no whole number": with_first(data_offsets=[0.0, 4.0]),
    "has a tensor with more to say": with_first(more=1),
    "has a tensor that is a list": with_header(lambda h: h.update(x=[1])),
    "has NaN in it": with_value(struct.pack("<f", math.nan)),
    "has infinity in it": with_value(struct.pack("<f", math.inf)),
    "has minus infinity in it": with_value(struct.pack("<f", -math.inf)),
    "has tensors of another name": with_header(renamed),
    "has tensors of another shape": with_header(transposed),
    "has whole numbers for weights": retyped("I64", 8),
    **{
        f"has weights of type {kind}": retyped(kind, size)
        for kind, size in {"F64": 8, "BOOL": 1, "U8": 1, "F8_E4M3": 1, "C64": 8, "Q9": 4}.items()
    },
    "has 20,000 tensors": empty_tensors(20_000),
    "has 100,000 tensors": empty_tensors(100_000),
    "has 100,000 texts": with_header(
        lambda h: h["__metadata__"].update({f"{n}": "" for n in range(100_000)}) or h | {"x": {}}
    ),
    "has a tensor twice": bytes_of(doubled("")),
    "has its texts twice": bytes_of(doubled("__metadata__")),
    "has no texts": with_header(lambda h: void(h.pop("__metadata__"))),
    "has texts that are a list": with_header(lambda h: h.update(__metadata__=["sfseg"])),
    "has texts that are objects": with_own_text({"arch": "small"}),
    "has no text of ours": with_own_text(None),
    "has a text of ours that is none": with_own_text("{"),
    "has a text of ours that is a number": with_own_text("7"),
    "has a text of ours nested without end": with_own_text(NESTED),
    "has a text of ours with a key twice": with_own_text('{"schema": 1, "schema": 1}'),
    "has a text of ours with NaN in it": with_own_text('{"schema": NaN}'),
    "has a text of ours with a number of 5,000 digits": with_own_text(f'{{"schema": {HUGE}}}'),
    "is of a schema of the future": with_own(schema=99),
    "is of no schema": with_own(schema=...),
    "is of a schema that is a list": with_own(schema=[1]),
    "is a folder": lambda path, _: path.mkdir(),
    "is a pipe": lambda path, _: os.mkfifo(path),
    "is a socket": bound,
    "is a device without end": device("zero"),
    "is a device without anything": device("null"),
    "is a link to itself": lambda path, _: path.symlink_to(path.name),
    "is a link to nothing": lambda path, _: path.symlink_to("nowhere"),
    "is not there": lambda *_: None,
}
"""What neither weights nor a state may be."""

WEIGHTS: dict[str, Maker] = {
    "is of an unknown architecture": with_own(arch="vgg"),
    "is of an architecture that is a list": with_own(arch=["small"]),
    "is of another architecture": with_own(arch="sfnet"),
    "is normalised in another way": with_own(normalisation="tile"),
    "has a field too many": with_own(colour="red"),
    "has a field too few": with_own(recipe=...),
    **{
        f"has {field} = {value!r}": with_own(**{field: value})
        for field, values in {
            "recipe": (7, None),
            "input_px": (0, -16, 2**40, "512", True, 512.5),
            "voxel_size_nm": (7, "abc", [1, 2], [1, 2, "3"], [0, 4, 4], [-50, 4, 4], [1, 1e300, 1]),
            "data": (["isbi"],),
            "scores": (["dice"], {"dice": "good"}),
            "training": (
                [],
                {"recipe": "x"},
                {"recipe": {"label_smoothing": 0.5}},
                {"recipe": {"membrane_weight": 0}},
                {"recipe": {"membrane_weight": "2"}},
            ),
            "version": (1,),
        }.items()
        for value in values
    },
    "has a score without end": with_own_text('{"schema": 1, "scores": {"dice": 1e999}}'),
}
"""What weights may not be."""

PROGRESS = {"step": 1, "losses": [], "history": [], "seconds": 0.0}
STATES: dict[str, Maker] = {
    "is weights": lambda path, _: void(path.write_bytes(path.with_name("sound").read_bytes())),
    "was started otherwise": with_own(config={"arch": "unet"}),
    "was started nohow": with_own(config=[]),
    "does not say how it was started": with_own(config=...),
    "does not say how far it was": with_own(progress=...),
    "was as far as a list": with_own(progress=[1]),
    "was as far as a text": with_own(progress=PROGRESS | {"step": "1"}),
    "was farther than it can say": with_own(progress=PROGRESS | {"more": 1}),
    "has a history of numbers": with_own(progress=PROGRESS | {"history": [1]}),
    "has a history of other fields": with_own(progress=PROGRESS | {"history": [{"a": 1}]}),
    "has losses of text": with_own(progress=PROGRESS | {"losses": ["low"]}),
}
"""What the state of a training may not be."""


def mutated(whole: bytes, seed: int) -> bytes:
    """Change a header in a few places: letters, and what is put in or left out."""
    rng, data = random.Random(seed), bytearray(whole)
    start = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(rng.randint(1, 4)):
        at, way = rng.randrange(8, start), rng.random()
        if way < 0.5:
            data[at] = rng.choice(b'0123456789{}[]",:-.eaN \\')
        elif way < 0.75:
            del data[at : at + rng.randint(1, 8)]
        else:
            data[at:at] = rng.choice(
                [b"1e9", b"[[", b'"\\u0000"', b"null", b"-", b"9" * 20, b"true"]
            )
    length = start - 8 + len(data) - len(whole)
    return length.to_bytes(8, "little") + bytes(data[8:])


def require_refusal(load: Callable[[], object]) -> None:
    """Call what must refuse, and print how long that took and how much memory, in JSON."""
    signal.alarm(HANGS_S)
    start_bytes, start_s, error = peak_bytes(), time.process_time(), "nothing, it was accepted"
    try:
        load()
    except (SfsegError, OSError) as caught:
        error = str(caught)
    used = {"seconds": time.process_time() - start_s, "bytes": peak_bytes() - start_bytes}
    sys.stdout.write(json.dumps(used))
    sys.stderr.write(f"error: {error}\n")
    sys.exit(1)


def peak_bytes() -> int:
    """The most memory that this process has had; a forked one begins with what it has now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Corpus:
    """Sound weights and a sound state, and a folder for the bad ones.

    Parameters
    ----------
    folder : Path
        Of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "world")
        self.folder = folder
        self.sound = self.world.weights.read_bytes()
        ended = sfseg(*self.world.train(folder / "run"), before=[self.world.enter]).end()
        if ended.code:
            raise RuntimeError(ended.stderr)
        self.state = (folder / "run" / STATE).read_bytes()
        with self.world.patched():  # what is imported at the first use is not to be measured
            weights.load_weights(str(self.world.weights))
            self._restore(folder / "run" / STATE)

    def try_weights(self, what: str, index: int) -> tuple[str, dict[str, float]]:
        """Let bad weights be loaded, and a command name them; tell what is wrong, and the cost."""
        place = self.folder / f"weights-{index}"
        place.mkdir()
        path = place / WEIGHTS_NAME
        (ANY | WEIGHTS)[what](path, self.sound)

        def load() -> None:
            self.world.enter()
            require_refusal(lambda: weights.load_weights(str(path)))

        loaded = Child(load).end()
        out = place / "out"
        commands = (
            self.world.predict(out / "map.tif", "--model", path),
            self.world.train(out / "run", "--init", path),
            self.world.train(out / "run", "--teacher", path, "--unlabelled", self.world.volume),
        )
        said = sfseg(*commands[index % 3], before=[self.world.enter, hang_limit]).end()
        wrong = self._judge(path, loaded, said, names_nothing=not path.exists())
        return wrong, json.loads(loaded.stdout or "{}")

    def try_state(self, what: str, index: int) -> tuple[str, dict[str, float]]:
        """Resume a training from a bad state; return what is wrong, and the cost."""
        place = self.folder / f"state-{index}"
        place.mkdir()
        path = place / STATE
        (place / "sound").write_bytes(self.sound)
        (ANY | STATES)[what](path, self.state)

        def load() -> None:
            self.world.enter()
            require_refusal(lambda: self._restore(path))

        loaded = Child(load).end() if what in ANY else None
        command = self.world.train(place, "--resume")
        said = sfseg(*command, before=[self.world.enter, hang_limit]).end()
        return self._judge(path, loaded, said), json.loads(loaded.stdout if loaded else "{}")

    def _restore(self, path: Path) -> None:
        state, average = states.read_state(path), models.build("small")
        learner = WithAffinities(models.build("small"), seed=0)
        optimizer = make_optimizer(learner, DEFAULT, torch.float32)
        state.restore({"learner": learner, "average": average}, optimizer)

    def _judge(
        self, path: Path, loaded: Ended | None, said: Ended, *, names_nothing: bool = False
    ) -> str:
        """Say what is wrong; a name of nothing is a usage error, with exit code 2."""
        if path.with_name(f"{path.name}.ran").exists():
            return "what was pickled has run"
        is_right = said.code == 2 and said.is_clear if names_nothing else said.is_explained
        if loaded and not loaded.is_explained:
            return f"exit code {loaded.code}: {loaded.stderr[-600:]}"
        return "" if is_right else f"exit code {said.code}: {said.stderr[-600:]}"


def hang_limit() -> None:
    """Kill the process if it hangs."""
    signal.alarm(HANGS_S)


def run(count: int, seed: int) -> Row:
    """Try every kind of bad weights and of bad states, or so many, drawn by the seed."""
    failures, tried, most = [], 0, {"seconds": 0.0, "bytes": 0.0}
    with tempfile.TemporaryDirectory() as name:
        corpus = Corpus(Path(name))
        cases = [(corpus.try_weights, what) for what in ANY | WEIGHTS]
        cases += [(corpus.try_state, what) for what in ANY | STATES]
        order = np.random.default_rng(seed).permutation(len(cases)) if count else range(len(cases))
        for index in [int(i) for i in order][: count or None]:
            attempt, what = cases[index]
            wrong, cost = attempt(what, index)
            tried += 1
            if not wrong and (cost.get("seconds", 0) > SECONDS or cost.get("bytes", 0) > BYTES):
                wrong = f"took {cost}"
            most = {key: max(most[key], cost.get(key, 0)) for key in most}
            if wrong:
                failures.append(f"case {index}, {attempt.__name__}, a file that {what}: {wrong}")
    notes = f"at most {most['seconds']:.2f} s of the processor, {most['bytes'] / 1e6:.0f} MB"
    return Row("bad weights and states refused", tried - len(failures), tried, notes, failures)
