"""Let the n-th call that changes the disk fail, or be the last one before a SIGKILL; or note all.

For a child (see `tests.trust.children`): what is patched stays patched. Files are written by the
io of the standard library that is written in Python, so that each `os.write` is seen; what
safetensors writes by itself is not, but the calls around it are.
"""

import _pyio
import builtins
import errno
import functools
import io
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BY_PATH = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir")
BY_FILE = ("write", "fsync", "ftruncate", "posix_fallocate", "sendfile")
ADDING = ("open", "mkdir", "write", "posix_fallocate", "sendfile")
"""What a full disk does not do; a read-only one does none of the calls."""

FAULTS = ("EIO", "EACCES", "ENOSPC", "EROFS", "KILL")
LASTING = ("ENOSPC", "EROFS")
NEVER = 10**9


@dataclass(frozen=True)
class Event:
    """A call that changed the disk: what it was, of which file, by number, and its new name."""

    call: str
    inode: int
    path: str
    new: str = ""


class Faults:
    """Watches the calls on files in a folder.

    Parameters
    ----------
    root : Path
        The folder.
    number : int
        Which call fails, from 1; `NEVER` only notes.
    fault : str
        One of `FAULTS`. A disk that is full or read-only stays so; other errors come once.
    """

    def __init__(self, root: Path, number: int = NEVER, fault: str = "KILL") -> None:
        self.root, self.number, self.fault = os.path.realpath(root), number, fault
        self.events: list[Event] = []
        self._open: dict[int, str] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        """Watch from now on."""
        self._real = {name: getattr(os, name) for name in (*BY_PATH, *BY_FILE, "open", "close")}
        for name in BY_PATH:
            setattr(os, name, functools.partial(self._by_path, name))
        for name in BY_FILE:
            setattr(os, name, functools.partial(self._by_file, name))
        os.open, os.close = self._opening, self._closing
        builtins.open = io.open = _pyio.open

    def report(self, path: Path) -> Callable[[], None]:
        """Give a function that installs it, and at the end of the process writes the events."""

        def install() -> None:
            self.install()
            leave = os._exit

            def leave_a_note(code: int) -> None:
                descriptor = self._real["open"](path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                text = json.dumps([asdict(event) for event in self.events])
                self._real["write"](descriptor, text.encode())
                leave(code)

            os._exit = leave_a_note

        return install

    def _call(self, name: str, event: Callable[[], Event], call: Callable[[], Any]) -> Any:
        """Make a call, unless it is the one that fails, or comes after it where that lasts."""
        with self._lock:
            noted = event()
            self.events.append(noted)
            count = len(self.events)
            if count == self.number and self.fault == "KILL":
                os.kill(os.getpid(), signal.SIGKILL)
            lasts = self.fault in LASTING and count > self.number
            spared = self.fault == "ENOSPC" and name not in ADDING
            if (count == self.number or lasts) and not (spared and lasts):
                number = getattr(errno, self.fault)
                raise OSError(number, os.strerror(number), *([noted.path] if noted.path else []))
            return call()

    def _by_path(self, name: str, path: Any, *rest: Any, **options: Any) -> Any:
        call = functools.partial(self._real[name], path, *rest, **options)
        old = self._full(path, options)
        new = self._full(rest[0], options) if name in ("replace", "rename") else ""
        if not any(self._is_ours(place) for place in (old, new)):
            return call()
        return self._call(name, lambda: Event(name, _inode(old), old, new), call)

    def _by_file(self, name: str, descriptor: int, *rest: Any, **options: Any) -> Any:
        call = functools.partial(self._real[name], descriptor, *rest, **options)
        path = self._open.get(descriptor)
        if path is None:
            return call()
        if name == "write" and self.number == len(self.events) + 1 and len(rest[0]) > 1:
            self._real[name](descriptor, memoryview(rest[0])[: len(rest[0]) // 2])
        inode = os.fstat(descriptor).st_ino
        return self._call(name, lambda: Event(name, inode, ""), call)

    def _opening(self, path: Any, flags: int, *rest: Any, **options: Any) -> int:
        call = functools.partial(self._real["open"], path, flags, *rest, **options)
        full = self._full(path, options)
        if not self._is_ours(full):
            return int(call())
        creates = flags & os.O_CREAT and not Path(full).exists()
        if creates or flags & os.O_TRUNC:
            descriptor = self._call("open", lambda: Event("open", _inode(full), full), call)
        else:
            descriptor = call()
        self._open[descriptor] = full
        return int(descriptor)

    def _closing(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)

    def _full(self, path: Any, options: dict[str, Any]) -> str:
        """Spell a path out; one that is relative to an open folder is its name alone."""
        if options.get("dir_fd") is not None:
            return str(Path(self._open.get(options["dir_fd"], "")) / os.fsdecode(path))
        return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - `resolve` follows links

    def _is_ours(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + os.sep)


def _inode(path: str) -> int:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def read_events(path: Path) -> list[Event]:
    """Read what a child has noted."""
    return [Event(**fields) for fields in json.loads(path.read_text())]


def unsafe(events: list[Event], root: Path) -> list[str]:
    """Say which files of a folder a power cut could have lost or spoilt.

    Each must have been flushed after the last write and before it got its name, by a rename of its
    own or of a folder that it is in; and the folder of the new name flushed afterwards.
    """
    return [
        f"{path.relative_to(root)}: {reason}"
        for path in sorted(root.rglob("*"))
        if path.is_file() and (reason := _danger(path, events, root))
    ]


def _danger(path: Path, events: list[Event], root: Path) -> str:
    """Say what could happen to a file; nothing if it is safe, or was not written."""
    ours = path.stat().st_ino
    if all(event.inode != ours for event in events):
        return ""
    calls = [(n, e.call) for n, e in enumerate(events) if e.inode == ours and e.call in BY_FILE]
    written = max((n for n, call in calls if call != "fsync"), default=-1)
    flushed = next((n for n, call in calls if call == "fsync" and n > written), None)
    if flushed is None:
        return "is not flushed after the last write"
    places = {str(place) for place in (path, *path.parents) if place.is_relative_to(root)}
    named = [
        n
        for n, event in enumerate(events)
        if n > written and event.new in places and (event.new != str(path) or event.inode == ours)
    ]
    if not named:
        return "is written under its final name"
    if flushed > named[0]:
        return "is flushed after it got its name"
    folder = Path(events[named[-1]].new).parent.stat().st_ino
    after = [e for e in events[named[-1] :] if e.call == "fsync" and e.inode == folder]
    return "" if after else "is renamed, and its folder never flushed"
