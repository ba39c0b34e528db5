"""An output that is made tile by tile, may be stopped at any moment, and is continued later.

While it is made there are, beside the final name: ``<name>.part``, the output so far;
``<name>.part.manifest``, the record of what is done; ``<name>.part.lock``, which keeps a second run
away. The manifest is lines of JSON, and only ever grows::

    {"schema": 1, "identity": {...}}    what goes in and how; first, before the part is there
    {"piece": 7, "facts": {...}}        a piece that is safe on the disk
    {"whole": 1234}                     all are; the part, of this inode, is about to be renamed

Nothing is recorded before it is flushed, so a line vouches for its piece after a power cut too. A
last line that was cut short counts for nothing.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfseg.errors import OutputExistsError, ResumeError, SfsegError
from sfseg.identity import differences
from sfseg.system import files
from sfseg.system.locks import exclusive

SCHEMA = 1

_PART, _MANIFEST, _LOCK, _RECORD = "part", "part.manifest", "part.lock", "json"

_START_AGAIN = "run without --resume to start again"


class ResumableOutput:
    """What `open_resumable` hands out: what is done already, and a place to record what gets done.

    Attributes
    ----------
    part : Path
        The file or folder to make; it gets its final name when the block ends well.
    fresh : bool
        Whether the part must be made from the start; else it has the `finished` tiles.
    complete : bool
        Whether the output has its final name already and nothing is left to do.
    kept : bool
        After a block that was stopped: whether a run with ``resume=True`` continues from here.
    identity : dict
        As the first run gave it, as JSON has it.
    finished : dict of int to dict
        The facts of each finished piece.
    record : str
        Is written to ``<name>.json`` when the output has its final name; empty = nothing.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.part = files.sibling(path, _PART)
        self.fresh, self.complete, self.kept = True, False, False
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.finished: dict[int, dict[str, Any]] = {}
        self.record = ""
        self._path = path
        self._manifest = files.sibling(path, _MANIFEST)
        self._end = 0  # of the sound lines of the manifest, in bytes
        self._whole: int | None = None
        self._marked: list[str] = []
        self._has_record = False

    def mark(self, piece: int, facts: Mapping[str, Any]) -> None:
        """Note that a piece is written to the part; `sync` records it. For one thread at a time.

        Parameters
        ----------
        piece : int
            Its number.
        facts : mapping
            What is to be known of it later; as JSON can hold it.

        Raises
        ------
        TypeError
            If JSON cannot hold the facts.
        """
        line = json.dumps({"piece": piece, "facts": facts})
        self._marked.append(line)
        self.finished[piece] = json.loads(line)["facts"]

    def sync(self) -> None:
        """Record the marked pieces durably; the part must have been flushed to the disk before.

        Raises
        ------
        OSError
            If the disk does not take it. The pieces are still marked then.
        """
        if self._marked:
            self._append(self._marked)
            self._marked, self._has_record = [], True

    def _append(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        with self._manifest.open("r+b") as file:
            file.seek(self._end)
            file.truncate()  # a line that was cut short
            file.write(data)
        files.sync(self._manifest)
        self._end += len(data)

    def _begin(self, *, resume: bool, overwrite: bool) -> None:
        """Find out what is there, and refuse what cannot be; nothing is lost by that."""
        files.recover(self._path)
        if resume and self._manifest.exists():
            self._resume()
        if not self.complete:
            files.refuse_existing(self._path, overwrite=overwrite)

    def _resume(self) -> None:
        """Take over what the interrupted run has left, unless it was another one."""
        given = self.identity
        self._read()
        renamed = self._path.exists() and self._path.stat().st_ino == self._whole
        self.complete = renamed and not self.part.exists()
        # A part without a piece may be one that was being created.
        self.fresh = not (self.complete or (self.part.exists() and self._has_record))
        if self.fresh:
            self.identity = given
        elif lines := differences(self.identity, given):
            raise ResumeError(
                f"{self._path}: expected what the interrupted run was given, found other:\n"
                + "\n".join(lines),
                hint=_START_AGAIN,
            )

    def _read(self) -> None:
        """Read the manifest as far as it is sound; refuse damage before its end."""
        data = self._manifest.read_bytes()
        self._end = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._end].split(b"\n")[:-1] or [b""], start=1):
            try:
                self._take(json.loads(line), is_first=number == 1)
            except ValueError as error:
                raise ResumeError(
                    f"{self._manifest}: line {number}: expected the record of a run of this "
                    "version of sfseg, found something else",
                    hint=_START_AGAIN,
                ) from error

    def _take(self, line: Any, *, is_first: bool) -> None:
        """Take over one line of the manifest."""
        match line:
            case {"schema": 1, "identity": dict(identity)} if is_first:
                self.identity = identity
            case {"piece": int(piece), "facts": dict(facts)} if not is_first:
                self.finished[piece] = facts
            case {"whole": int(inode)} if not is_first:
                self._whole = inode
            case _:
                raise ValueError(line)
        self._has_record = not is_first

    def _start(self) -> None:
        """Clear away what was left, and begin a manifest before there is a part."""
        self._discard()
        self.finished, self._has_record = {}, False
        header = json.dumps({"schema": SCHEMA, "identity": self.identity}) + "\n"
        files.write_text(self._manifest, header)
        self._end = len(header.encode())

    def _discard(self) -> None:
        """Remove the manifest and the part, in this order: the manifest vouches for the part."""
        if self._manifest.exists():
            self._manifest.unlink()
            files.sync(self._path.parent)
        files.remove(self.part)

    def _keep(self) -> None:
        """Record what is marked, if the disk takes it; if nothing is recorded, keep nothing."""
        with contextlib.suppress(OSError):
            if self._marked:
                files.sync_tree(self.part)
                self.sync()
        self.kept = self._has_record
        if not self.kept:
            with contextlib.suppress(OSError):
                self._discard()

    def _seal(self) -> None:
        """Record that the part is whole, unless that is done."""
        if not self.complete:
            files.sync_tree(self.part)
            whole = json.dumps({"whole": self.part.stat().st_ino})
            self._append([*self._marked, whole])
            self._marked, self._has_record = [], True

    def _publish(self, *, overwrite: bool) -> None:
        """Give the sealed part its final name; stopped anywhere, it can be resumed."""
        self.kept = True
        if self.complete:
            files.sync(self._path.parent)
        else:
            files.publish(self.part, self._path, overwrite=overwrite)
        if self.record:
            files.write_text(record_path(self._path), self.record, overwrite=True)
        self._manifest.unlink()
        self.kept = False


def is_unfinished(path: Path) -> bool:
    """Tell whether a run that makes a path was interrupted, or is at work."""
    return files.sibling(path, _MANIFEST).exists()


def clear_lock(path: Path) -> None:
    """Remove the lock of a run that was killed when all else was done."""
    lock = files.sibling(path, _LOCK)
    if lock.exists():
        with (
            contextlib.suppress(OSError),  # a run that is at work keeps it
            exclusive(lock, waiting=functools.partial(_refuse_second, path)),
        ):
            pass


def record_path(path: Path) -> Path:
    """Name the record that lies beside an output."""
    return files.sibling(path, _RECORD)


def touched_paths(path: Path) -> list[Path]:
    """Name an output, and all paths beside it that its making writes, replaces or removes."""
    made = [path, files.sibling(path, _MANIFEST), record_path(path)]
    passing = [files.sibling(each, suffix) for each in made for suffix in ("part", "part.old")]
    return [*made, *passing, files.sibling(path, _LOCK)]


@contextlib.contextmanager
def open_resumable(
    path: Path, identity: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[ResumableOutput]:
    """Make a file or folder that is whole or absent, and can be stopped and resumed.

    Parameters
    ----------
    path : Path
        The final path; a name that ends in .zarr is a folder's. Its folder is made if missing.
    identity : mapping
        What decides the output (input, options, versions), nested as JSON can hold it. What is
        under the key ``resolved`` follows from circumstances, as does the device: it may differ,
        and a resumed run takes that of the first run.
    resume : bool
        Whether to continue with what a stopped run has left, if anything; else that is
        removed.
    overwrite : bool
        Whether an existing output may be replaced.

    Yields
    ------
    ResumableOutput
        What is done and what is not. When the block ends well, its part gets the final name. When
        the block raises a `SfsegError`, the input is to blame and nothing is kept of this run; what
        an earlier one has left stays. When it raises anything else, such as KeyboardInterrupt,
        SystemExit or OSError, the marked pieces are kept, if there are any.

    Raises
    ------
    OutputExistsError
        If the path is taken and may not be replaced, or another run is making it.
    ResumeError
        If the interrupted run was of another identity, or its manifest is damaged. All is left as
        it was.
    OutputError
        If the disk is full or fails, or the place may not be written to.
    """
    work = ResumableOutput(path, identity)
    lock = files.sibling(path, _LOCK)
    waiting = functools.partial(_refuse_second, path)
    with files.explain_errors(path), files.ensure_parent(path), exclusive(lock, waiting=waiting):
        work._begin(resume=resume, overwrite=overwrite)
        try:
            if work.fresh:
                work._start()
            yield work
            work._seal()
        except SfsegError:
            if work.fresh:
                with contextlib.suppress(OSError):
                    work._discard()
            else:  # of an earlier run nothing is lost
                work._keep()
            raise
        except BaseException:
            work._keep()
            raise
        work._publish(overwrite=overwrite)


def _refuse_second(path: Path) -> None:
    raise OutputExistsError(
        f"{path}: expected no other run to make it, found one at work",
        hint="let that one end, or give another name",
    )
