"""The manifest of an unfinished output: a list of its finished tiles, which only grows.

It is lines of JSON::

    {"schema": 1, "identity": {...}}    input and options; written before the part exists
    {"input_sha256": "4f2a..."}         the hash of the input, if it was not known before
    {"piece": 7, "facts": {...}}        tile 7 is safe on the disk
    {"whole": 1234}                     all tiles are; the part with inode 1234 is renamed next

A last line that was cut short is ignored.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sfseg.errors import START_AGAIN, ResumeError
from sfseg.system import files

MANIFEST_SCHEMA = 1


class Manifest(Protocol):
    """Where the lines of a manifest are: at `path`."""

    path: Path

    def read(self) -> bytes | None:
        """Read the lines; None if there is no manifest."""

    def append(self, lines: bytes) -> None:
        """Write more lines; they last when it returns. The first ones make the manifest."""

    def remove(self) -> None:
        """Remove the manifest if it exists."""


class ManifestFile:
    """A manifest on a disk; see `Manifest`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = 0  # where the undamaged lines end, in bytes

    def read(self) -> bytes | None:
        """Read the lines; None if there is no manifest."""
        if not self.path.exists():
            return None
        data = self.path.read_bytes()
        self._end = data.rfind(b"\n") + 1
        return data

    def append(self, lines: bytes) -> None:
        """Write more lines, in place of one that was cut short."""
        if self._end:
            with self.path.open("r+b") as file:
                file.seek(self._end)
                file.truncate()
                file.write(lines)
            files.sync(self.path)
        else:
            files.write_bytes(self.path, lines)
        self._end += len(lines)

    def remove(self) -> None:
        """Remove the manifest if it exists."""
        if self.path.exists():
            self.path.unlink()
        self._end = 0


@dataclass
class Recorded:
    """What a manifest says: the identity of the run, the facts of its tiles, the whole part."""

    identity: dict[str, Any] = field(default_factory=dict)
    finished: dict[int, dict[str, Any]] = field(default_factory=dict)
    whole: int | None = None

    @property
    def has_tiles(self) -> bool:
        """Whether there is something to resume."""
        return bool(self.finished) or self.whole is not None

    def add(self, line: Any, *, is_first: bool) -> None:
        """Add what a line says; raises ValueError if it is damaged or has no place there."""
        match line:
            case {"schema": schema, "identity": dict(identity)} if (
                is_first and schema == MANIFEST_SCHEMA
            ):
                self.identity = identity
            case {"input_sha256": str(sha256)} if not (is_first or self.has_tiles):
                self.identity["input"]["sha256"] = sha256
            case {"piece": int(tile), "facts": dict(facts)} if not is_first:
                self.finished[tile] = facts
            case {"whole": int(mark)} if not is_first:
                self.whole = mark
            case _:
                raise ValueError(line)


def read_manifest(manifest: Manifest) -> Recorded:
    """Read a manifest, if there is one; raises ResumeError if more than its end is damaged."""
    recorded, data = Recorded(), manifest.read()
    lines = [] if data is None else data.split(b"\n")[:-1] or [b""]
    for number, line in enumerate(lines, start=1):
        try:
            recorded.add(files.parse_json(line), is_first=number == 1)
        except ValueError as error:
            raise ResumeError(
                f"{manifest.path}: line {number} is damaged, or from another version of sfseg",
                hint=START_AGAIN,
            ) from error
    return recorded


def make_line(**content: Any) -> bytes:
    """Make a line; raises TypeError if JSON cannot hold the content."""
    return f"{json.dumps(content)}\n".encode()
