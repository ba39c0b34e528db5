"""An output that is made tile by tile, can be stopped at any moment, and is resumed later.

Until it is complete, three entries lie beside its final name: ``<name>.part``, the output so far;
``<name>.part.manifest``, the list of finished tiles; ``<name>.part.lock``, which keeps a second run
away. The manifest is lines of JSON and only grows::

    {"schema": 1, "identity": {...}}    input and options; written before the part exists
    {"input_sha256": "4f2a..."}         the hash of the input, if it was not known before
    {"piece": 7, "facts": {...}}        tile 7 is safe on the disk
    {"whole": 1234}                     all tiles are; the part with inode 1234 is renamed next

A tile is recorded only after it was flushed to the disk, so its line is true after a power cut too.
A last line that was cut short is ignored. No tile is recorded before the hash of the input: a run
that is stopped before that has no tiles, and the next one starts again.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sfseg.errors import (
    START_AGAIN,
    ClusterError,
    RemoteError,
    ResumeError,
    SfsegError,
)
from sfseg.identity import differences
from sfseg.prediction.destination import MANIFEST, check_output, is_unfinished, lock_path
from sfseg.prediction.output_lock import hold
from sfseg.prediction.record import write_record
from sfseg.system import files
from sfseg.system.remote import RemotePath

MANIFEST_SCHEMA = 1

_PART = "part"


class ResumableOutput:
    """An unfinished output: which tiles are finished, and where to record new ones.

    `open_resumable` makes one.

    Attributes
    ----------
    part : Path
        The file or folder to write; it gets its final name when the block ends well.
    starts_empty : bool
        Whether the part must be made from the start; else it has the `finished` tiles.
    complete : bool
        Whether the output already has its final name and nothing is left to do.
    can_resume : bool
        After a block that was stopped: whether a run with ``resume=True`` continues from here.
    identity : dict
        The identity that the first run gave, in the types of JSON.
    finished : dict of int to dict
        The facts of each finished tile.
    sections : tuple of int or None
        The sections of it that are made, from 0, if it is a part; None = all.
    record : str
        Text for ``<name>.json``, written when the output has its final name; empty = no file.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], hashed: "Future[str] | None" = None
    ) -> None:
        self.part = files.sibling(path, _PART)
        self.complete, self.can_resume = False, False
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.finished: dict[int, dict[str, Any]] = {}
        self.sections: tuple[int, ...] | None = None
        self.record = ""
        self._path, self._hashed = path, hashed
        self._manifest = files.sibling(path, MANIFEST)
        self._end = 0  # where the undamaged lines of the manifest end, in bytes
        self._whole_mark: int | None = None
        self._marked: list[str] = []
        self._has_tiles, self._is_new = False, True

    @property
    def starts_empty(self) -> bool:
        """Whether the part must be made from the start."""
        return self._is_new

    def choose(self, resolved: Mapping[str, Any]) -> None:
        """Record other choices of this machine than those given; only before the first tile.

        Parameters
        ----------
        resolved : mapping
            The choices, in types that JSON can hold.

        Raises
        ------
        OSError
            If the disk is full or fails.
        """
        self.identity["resolved"] = json.loads(json.dumps(resolved))
        self._start()

    def mark(self, tile: int, facts: Mapping[str, Any]) -> None:
        """Note that a tile is written to the part; `sync` records it. For one thread at a time.

        Parameters
        ----------
        tile : int
            Its number.
        facts : mapping
            Values that are needed later, in types that JSON can hold.

        Raises
        ------
        TypeError
            If JSON cannot hold the facts.
        """
        line = json.dumps({"piece": tile, "facts": facts})
        self._marked.append(line)
        self.finished[tile] = json.loads(line)["facts"]

    def sync(self) -> None:
        """Record the marked tiles on the disk, once the hash of the input is known.

        The part must have been flushed before.

        Raises
        ------
        OSError
            If the disk is full or fails. The tiles stay marked.
        """
        if self._hashed is not None and self._hashed.done():
            self.await_input()
        if self._marked and self._hashed is None:
            self._append(self._marked)
            self._marked, self._has_tiles = [], True

    def await_input(self) -> None:
        """Wait for the hash of the input, and complete the identity; raise what hashing raised."""
        if self._hashed is not None:
            sha256 = self._hashed.result()
            self.identity["input"]["sha256"] = sha256
            self._marked.insert(0, json.dumps({"input_sha256": sha256}))
            self._hashed = None

    def _append(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        with self._manifest.open("r+b") as file:
            file.seek(self._end)
            file.truncate()  # a line that was cut short
            file.write(data)
        files.sync(self._manifest)
        self._end += len(data)

    def _check(self, *, resume: bool, overwrite: bool) -> None:
        """Look at what earlier runs left, and refuse what must not be replaced; remove nothing."""
        self._recover()
        if resume and is_unfinished(self._path):
            self._resume()
        if not self.complete:
            check_output(self._path, overwrite=overwrite)

    def _resume(self) -> None:
        """Take over the tiles of the interrupted run; refuse if input or options differ."""
        given = self.identity
        self._read_manifest()
        self.complete = self._is_published()
        # Without a recorded tile, the run may have been stopped while it created the part.
        self._is_new = not (self.complete or (self._has_part() and self._has_tiles))
        if self._is_new:
            self.identity = given
            return
        if self._hashed is not None:
            given["input"]["sha256"], self._hashed = self._hashed.result(), None
        if lines := differences(self.identity, given):
            raise ResumeError(
                f"{self._path}: the interrupted run had other input or options:\n"
                + "\n".join(lines),
                hint=START_AGAIN,
            )

    def _read_manifest(self) -> None:
        """Read the manifest; ignore a last line that was cut short, refuse other damage."""
        data = self._load_manifest()
        self._end = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._end].split(b"\n")[:-1] or [b""], start=1):
            try:
                self._read_line(files.parse_json(line), is_first=number == 1)
            except ValueError as error:
                raise ResumeError(
                    f"{self._manifest}: line {number} is damaged, or from another version of sfseg",
                    hint=START_AGAIN,
                ) from error

    def _read_line(self, line: Any, *, is_first: bool) -> None:
        """Read one line of the manifest."""
        match line:
            case {"schema": schema, "identity": dict(identity)} if (
                is_first and schema == MANIFEST_SCHEMA
            ):
                self.identity = identity
                return
            case {"input_sha256": str(sha256)} if not self._has_tiles:
                self.identity["input"]["sha256"] = sha256
                return
            case {"piece": int(tile), "facts": dict(facts)} if not is_first:
                self.finished[tile] = facts
            case {"whole": int(inode)} if not is_first:
                self._whole_mark = inode
            case _:
                raise ValueError(line)
        self._has_tiles = True

    def _start(self) -> None:
        """Remove what earlier runs left, and start a manifest before the part exists."""
        self._discard()
        self.finished, self._has_tiles = {}, False
        header = manifest_header(self.identity) + "\n"
        files.write_text(self._manifest, header)
        self._end = len(header.encode())

    def _discard(self) -> None:
        """Remove the manifest, then the part: a manifest must never name tiles that are gone."""
        if self._manifest.exists():
            self._manifest.unlink()
            files.sync(self._path.parent)
        files.remove(self.part)

    def _keep(self) -> None:
        """Record the marked tiles if the disk allows it; without any recorded tile, discard."""
        with contextlib.suppress(OSError, SfsegError):  # the second is of hashing
            if self._marked:
                self._flush()
                self.sync()
        self.can_resume = self._has_tiles
        if not self.can_resume:
            with contextlib.suppress(OSError):
                self._discard()

    def _recover(self) -> None:
        """Finish a replacement that was interrupted."""
        files.recover(self._path)

    def _load_manifest(self) -> bytes:
        """Read the manifest, which exists."""
        return self._manifest.read_bytes()

    def _has_part(self) -> bool:
        """Tell whether there is an unfinished output."""
        return self.part.exists()

    def _is_published(self) -> bool:
        """Tell whether the part that the manifest calls whole has its final name."""
        renamed = self._path.exists() and self._path.stat().st_ino == self._whole_mark
        return renamed and not self.part.exists()

    def _flush(self) -> None:
        """Flush the part to the disk."""
        files.sync_tree(self.part)

    def _identify_part(self) -> int:
        """Return what tells this part from another one, also under its final name."""
        return self.part.stat().st_ino

    def _record_complete(self) -> None:
        """Record that the part is whole, unless an earlier run did."""
        if not self.complete:
            self.await_input()
            self._flush()
            whole = json.dumps({"whole": self._identify_part()})
            self._append([*self._marked, whole])
            self._marked, self._has_tiles = [], True

    def _publish(self, *, overwrite: bool) -> None:
        """Give the whole part its final name; if stopped on the way, a resumed run ends it."""
        self.can_resume = True
        self._move(overwrite=overwrite)
        if self.record:
            write_record(self._path, self.record)
        self._end_manifest()
        self.can_resume = False

    def _move(self, *, overwrite: bool) -> None:
        """Give the part its final name, unless it has it."""
        if self.complete:
            files.sync(self._path.parent)
        else:
            files.publish(self.part, self._path, overwrite=overwrite)

    def _end_manifest(self) -> None:
        """Remove the manifest of an output that has its final name."""
        self._manifest.unlink()


def manifest_header(identity: Mapping[str, Any]) -> str:
    """Write the first line of a manifest."""
    return json.dumps({"schema": MANIFEST_SCHEMA, "identity": identity})


@contextlib.contextmanager
def open_resumable(
    path: Path,
    identity: Mapping[str, Any],
    *,
    hashed: "Future[str] | None" = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[ResumableOutput]:
    """Make a file or folder that is whole or absent, and can be stopped and resumed.

    Parameters
    ----------
    path : Path
        The final path: a folder if the name ends in .zarr, else a file. Missing parent folders are
        made.
    identity : mapping
        Everything that the output depends on (input, options, versions), in types that JSON can
        hold. The key ``resolved`` and the device may differ in a resumed run, which then uses
        those of the first run.
    hashed : Future, optional
        Gives the hash of the input, ``identity["input"]["sha256"]``, which is not known yet. Only
        to resume tiles, and to end the block, one waits for it.
    resume : bool
        Whether to continue an interrupted run, if there is one; else its tiles are removed.
    overwrite : bool
        Whether an existing output may be replaced.

    Yields
    ------
    ResumableOutput
        The finished tiles, and where to record new ones. If the block ends well, the part gets its
        final name. If it raises a `SfsegError`, the input is at fault: only a resumed run keeps
        its tiles then. After a `RemoteError`, a `ClusterError` or any other, as KeyboardInterrupt,
        SystemExit or OSError, the marked tiles are kept.

    Raises
    ------
    OutputExistsError
        If the path exists and may not be replaced, or another run is writing it.
    ResumeError
        If the interrupted run had another identity, or its manifest is damaged. Nothing is changed
        on the disk.
    OutputError
        If the disk is full or fails, or the folder cannot be written to.
    RemoteError
        If the server of a bucket does not answer, or does not permit it.
    """
    if isinstance(path, RemotePath):
        from sfseg.prediction.bucket_output import open_in_bucket

        with open_in_bucket(path, identity, hashed, resume=resume, overwrite=overwrite) as work:
            yield work
        return
    work = ResumableOutput(path, identity, hashed)
    with (
        files.explain_errors(path),
        files.ensure_parent(path),
        hold(lock_path(path), str(path)),
        keep_tiles(work, resume=resume, overwrite=overwrite),
    ):
        yield work


@contextlib.contextmanager
def keep_tiles(work: ResumableOutput, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Start or resume an output; publish it after the block, or keep its tiles if that raises.

    For one process at a time; see `open_resumable`.
    """
    work._check(resume=resume, overwrite=overwrite)
    try:
        if work._is_new:
            work._start()
        yield
        work._record_complete()
    except SfsegError as error:
        if work._is_new and not isinstance(error, RemoteError | ClusterError):
            with contextlib.suppress(OSError):
                work._discard()
        else:  # keep the tiles of the earlier run, or of a network or a cluster that failed
            work._keep()
        raise
    except BaseException:
        work._keep()
        raise
    work._publish(overwrite=overwrite)
