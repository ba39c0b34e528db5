"""Run the command line in a child that has everything imported already.

The child is forked and has one thread: importing torch takes seconds, forking does not.
"""

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sfseg import cli

BUG = 70
"""Exit code of a child that ends with an error that no one expects."""

_SUBJECT = re.compile(r"error: .*(\S: \S|/|--\w|\w\.\w)")
"""A message names something: it stands before a colon, or is a path or an option."""

_HINT = re.compile(r"^hint: \S", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, negative for a signal, and its output."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """Everything from the first line that begins with ``error: ``; empty without one."""
        found = re.search(r"^error: ", self.stderr, re.MULTILINE)
        return self.stderr[found.start() :] if found else ""

    @property
    def is_clear(self) -> bool:
        """Whether its error names something and has a hint, and no traceback is in sight."""
        complete = _SUBJECT.match(self.error) and _HINT.search(self.error)
        return bool(complete) and "Traceback" not in self.stderr

    @property
    def is_explained(self) -> bool:
        """Whether it failed, or some of its work did, with a clear error."""
        return self.code in (1, 3) and self.is_clear


class Child:
    """A child that runs a function; its output goes to a folder.

    Parameters
    ----------
    function : callable
        Called in the child. What it patches stays in the child.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._said = tempfile.TemporaryDirectory()
        self._streams = [Path(self._said.name) / name for name in ("stdout", "stderr")]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._live(function)

    def _live(self, function: Callable[[], object]) -> None:
        """Run the function and end the process, whatever comes of it."""
        code = BUG
        try:
            for number, path in enumerate(self._streams, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
            sys.stdout.reconfigure(errors="strict")  # type: ignore[union-attr]
            torch.set_num_threads(1)
            function()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:  # noqa: BLE001 - it is printed, and the code says that it is a bug
            traceback.print_exc()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # a signal may come even now, and what is above is the parent's
            os._exit(code)

    def end(self) -> Ended:
        """Wait for its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        said = [path.read_bytes() if path.exists() else b"" for path in self._streams]
        self._said.cleanup()
        return Ended(code, *(text.decode("utf-8", "backslashreplace") for text in said))


def sfseg(*arguments: object, before: Sequence[Callable[[], object]] = ()) -> Child:
    """Start a child that calls some functions, and then is the command with these arguments."""

    def run() -> None:
        for prepare in before:
            prepare()
        sys.argv = ["sfseg", *map(str, arguments)]
        cli.main()

    return Child(run)


def content(path: Path) -> dict[str, bytes]:
    """Read a file, or all the files of a folder, by their names in it."""
    paths = [inner for inner in sorted(path.rglob("*")) if inner.is_file()] or [path]
    return {str(inner.relative_to(path)): inner.read_bytes() for inner in paths if inner.is_file()}


def names(folder: Path) -> set[str]:
    """Name what lies in a folder; a missing one is empty."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
