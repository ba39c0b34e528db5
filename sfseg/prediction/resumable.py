"""An output that is made tile by tile, can be stopped at any moment, and is resumed later.

Until it is complete, three entries lie beside its final name: ``<name>.part``, the output so far;
``<name>.part.manifest``, the list of finished tiles; ``<name>.part.lock``, which keeps a second run
away.

A tile is recorded only after it was flushed to the disk, so its line in the manifest is true after
a power cut too. No tile is recorded before the hash of the input: a run that is stopped before that
has no tiles, and the next one starts again.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sfseg.errors import START_AGAIN, ClusterError, RemoteError, ResumeError, SfsegError
from sfseg.identity import differences
from sfseg.prediction.destination import check_output
from sfseg.prediction.manifest import MANIFEST_SCHEMA, Recorded, make_line, read_manifest
from sfseg.prediction.storage import Storage, open_disk
from sfseg.system.remote import RemotePath


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
        self,
        storage: Storage,
        identity: Mapping[str, Any],
        hashed: "Future[str] | None" = None,
        sections: tuple[int, ...] | None = None,
    ) -> None:
        self.part, self.sections = storage.part, sections
        self.complete, self.can_resume = False, False
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.finished: dict[int, dict[str, Any]] = {}
        self.record = ""
        self._storage, self._hashed = storage, hashed
        self._marked: list[bytes] = []
        self._has_tiles, self._is_new = False, True

    @property
    def starts_empty(self) -> bool:
        """Whether the part must be made from the start; never if others write to it as well."""
        return self._is_new and self.sections is None

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
        line = make_line(piece=tile, facts=facts)
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
            self._record()

    def await_input(self) -> None:
        """Wait for the hash of the input, and complete the identity; raise what hashing raised."""
        if self._hashed is not None:
            sha256 = self._hashed.result()
            self.identity["input"]["sha256"] = sha256
            self._marked.insert(0, make_line(input_sha256=sha256))
            self._hashed = None

    def _record(self, *last: bytes) -> None:
        """Record all that is marked, and the last line, if given."""
        self._storage.manifest.append(b"".join([*self._marked, *last]))
        self._marked, self._has_tiles = [], True

    def _begin(self, *, resume: bool, overwrite: bool) -> None:
        """Look at what earlier runs left, and refuse what must not be replaced; remove nothing."""
        storage = self._storage
        found = read_manifest(storage.manifest) if resume else Recorded()
        self.complete = storage.is_published(found.whole)
        # Without a recorded tile, the run may have been stopped while it created the part.
        is_resumed = found.has_tiles and (self.complete or storage.has_part())
        if is_resumed:
            self._resume(found)
        self._is_new = not (self.complete or is_resumed)
        if not self.complete:
            check_output(storage.path, overwrite=overwrite)

    def _resume(self, found: Recorded) -> None:
        """Take over the tiles of the interrupted run; refuse if input or options differ."""
        if self._hashed is not None:
            self.identity["input"]["sha256"], self._hashed = self._hashed.result(), None
        if lines := differences(found.identity, self.identity):
            raise ResumeError(
                f"{self._storage.path}: the interrupted run had other input or options:\n"
                + "\n".join(lines),
                hint=START_AGAIN,
            )
        self.identity, self.finished, self._has_tiles = found.identity, found.finished, True

    def _start(self) -> None:
        """Start a manifest, then remove what earlier runs left: it never names tiles of theirs."""
        self._storage.manifest.remove()
        self.finished, self._has_tiles = {}, False
        header = make_line(schema=MANIFEST_SCHEMA, identity=self.identity)
        self._storage.manifest.append(header)
        self._storage.remove()

    def _discard(self) -> None:
        """Remove the manifest, then the part: a manifest must never name tiles that are gone."""
        self._storage.manifest.remove()
        self._storage.remove()

    def _keep(self) -> None:
        """Record the marked tiles if the disk allows it; without any recorded tile, discard."""
        with contextlib.suppress(OSError, SfsegError):  # the second is of hashing
            if self._marked:
                self._storage.flush()
                self.sync()
        self.can_resume = self._has_tiles
        if not self.can_resume:
            with contextlib.suppress(OSError):
                self._discard()

    def _record_complete(self) -> None:
        """Record that the part is whole, unless an earlier run did."""
        if not self.complete:
            self.await_input()
            self._storage.flush()
            mark = self._storage.identify()
            self._record(*([] if mark is None else [make_line(whole=mark)]))

    def _publish(self, *, overwrite: bool) -> None:
        """Give the whole part its final name; if stopped on the way, a resumed run ends it."""
        self.can_resume = True
        self._storage.publish(self.record, complete=self.complete, overwrite=overwrite)
        self._storage.manifest.remove()
        self.can_resume = False


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
    with _open_storage(path) as storage:
        work = ResumableOutput(storage, identity, hashed)
        with keep_tiles(work, resume=resume, overwrite=overwrite):
            yield work


def _open_storage(path: Path) -> contextlib.AbstractContextManager[Storage]:
    """Keep other runs away from an output, on a disk or in a bucket, for a block."""
    if isinstance(path, RemotePath):
        from sfseg.prediction.bucket_storage import open_bucket

        return open_bucket(path)
    return open_disk(path)


@contextlib.contextmanager
def keep_tiles(work: ResumableOutput, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Start or resume an output; publish it after the block, or keep its tiles if that raises.

    For one process at a time; see `open_resumable`.
    """
    work._begin(resume=resume, overwrite=overwrite)
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
