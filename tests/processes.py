"""Processes that tests start: waited for as long as they take, and never left behind."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HANGS_S = 900
"""Only a process that hangs takes so long, however busy the machine is."""


@contextlib.contextmanager
def started(*arguments: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start Python; kill it if it has not ended when the block is left."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # nothing happens to one that has ended


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for its end, and return what it has written to stdout and stderr."""
    return process.communicate(timeout=HANGS_S)


def wait_until(event: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for what a process does; fail if it ends before it."""
    began = time.monotonic()
    while not event():
        if process.poll() is not None:
            assert event(), process.communicate()
        assert time.monotonic() - began < HANGS_S
        time.sleep(0.05)


def refusal_without_torch(room: str, config: str, out: Path) -> str:
    """Call `refuse_taken` of a room for a folder in a new process.

    Return the message of the error, and whether torch was imported for it.
    """
    code = (
        f"import sys; from pathlib import Path; from sfseg.config import {config}\n"
        f"from sfseg.{room}.run_folder import refuse_taken\n"
        f"try: refuse_taken({config}(Path(sys.argv[1])))\n"
        "except FileExistsError as error: print(error.message, 'torch' in sys.modules)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, out], check=True, capture_output=True, text=True
    ).stdout
