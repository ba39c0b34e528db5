"""Children that have imported torch and sfseg already: importing takes seconds, forking does not.

They are forked from a process of one thread, which is started for the first of them: the process
that runs the tests may have more threads, and may not fork.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.processes import HANGS_S

PRELOADED = ["tests.trust.small"]
"""Imports what a command does, late or not; without zarr a child imports the rest itself."""


class Fork:
    """A child that runs a function, with those methods of `subprocess.Popen` that tests use.

    Parameters
    ----------
    function : callable
        A function of a module, to call in the child.
    *arguments : object
        Its arguments.
    cwd : path
        The folder to call it in.
    stderr : path, optional
        Where what it writes to stderr goes, as a terminal.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        cwd: Path,
        stderr: str | None = None,
    ) -> None:
        self._said = tempfile.TemporaryDirectory()
        out, err = (f"{self._said.name}/{name}" for name in ("stdout", "stderr"))
        self._streams = [Path(out), Path(err)]
        # Dask sets it in a process that starts workers, and leaves it there.
        os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process = context.Process(
            target=live, args=(function, arguments, cwd, dict(os.environ), (out, stderr or err))
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float = HANGS_S) -> tuple[str, str]:
        """Wait for its end, and return what it has written to stdout and stderr."""
        self._process.join(timeout)
        assert not self._process.is_alive()
        stdout, stderr = (path.read_text() if path.exists() else "" for path in self._streams)
        return stdout, stderr

    def close(self) -> None:
        """Kill it if it has not ended, and clear up."""
        self._process.kill()  # nothing happens to one that has ended
        self._process.join()
        self._said.cleanup()


def live(
    function: Callable[..., object],
    arguments: tuple[object, ...],
    cwd: Path,
    environment: dict[str, str],
    streams: tuple[str, str],
) -> None:
    """Call the function as if this process had been started for it alone."""
    warnings.simplefilter("ignore")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    function(*arguments)


def command(*arguments: object) -> None:
    """Be the command with these arguments."""
    from sfseg import cli

    sys.argv = ["sfseg", *map(str, arguments)]
    cli.main()


@contextlib.contextmanager
def forked(
    function: Callable[..., object], *arguments: object, cwd: Path, stderr: str | None = None
) -> Iterator[Fork]:
    """Start a child, see `Fork`; kill it if it has not ended when the block is left."""
    child = Fork(function, *arguments, cwd=cwd, stderr=stderr)
    try:
        yield child
    finally:
        child.close()
