"""What SIGTERM and Ctrl-C do to a training: nothing of it is lost."""

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from sfseg.cli.console import EXIT_ERROR, on_signals, say, say_error
from sfseg.errors import SfsegError

GRACE_S = 2.0
"""So long the running step may take, before the one before it has to do.

A cluster kills 10 s after SIGTERM and sometimes sooner; writing the largest state takes about 5 s.
"""


class Stop:
    """Ends a training on a signal: after the running step, soon, or at once.

    The first signal sets `event`, which the training heeds. Where that takes longer than `GRACE_S`,
    as it may in the midst of a validation, a compilation or a long step, the state as of the last
    finished step is saved and the process ended from another thread. A second signal ends it at
    once; so does the first where there is no state to save yet.

    Attributes
    ----------
    event : threading.Event
        Whether the training should stop.
    exit_code : int
        What the signal says that the process should exit with.
    has_state : bool
        Whether a training is under way.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.exit_code = 0
        self.has_state = False
        self._save: Callable[[], int] | None = None

    def arm(self, save: Callable[[], int]) -> None:
        """Take over the function that saves a training, which is about to start."""
        self._save, self.has_state = save, True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals while the block runs."""
        inbox, outbox = socket.socketpair()
        outbox.setblocking(False)  # as `set_wakeup_fd` wants it
        with inbox, on_signals(self):
            # Python calls a handler when the main thread comes out of PyTorch; this wakes at once.
            before = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
            listener = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
            listener.start()
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                outbox.close()
                listener.join()

    def __call__(self, exit_code: int) -> None:
        """Take a signal in the main thread."""
        self.exit_code = exit_code
        if not self.has_state:
            sys.exit(exit_code)
        self.event.set()

    def _listen(self, inbox: socket.socket) -> None:
        number = _next_signal(inbox)
        while number and not self.has_state:
            number = _next_signal(inbox)  # the main thread leaves by itself
        if not number:
            return
        self.exit_code = 128 + number
        self.event.set()
        say("stopping after this step; once more to stop at once")
        inbox.settimeout(GRACE_S)
        try:
            number = _next_signal(inbox)
        except TimeoutError:
            threading.Thread(target=self._save_and_exit, daemon=True).start()
            inbox.settimeout(None)
            number = _next_signal(inbox)
        if number:
            say("stopped at once")
            leave(self.exit_code)

    def _save_and_exit(self) -> None:
        """Save the state as of the last finished step and end the process."""
        if self._save is None:
            return
        try:
            step = self._save()
        except (SfsegError, OSError) as error:
            say_error(error)
            leave(EXIT_ERROR)
        say(describe_stop(step))
        leave(self.exit_code)


def _next_signal(inbox: socket.socket) -> int:
    """Wait for SIGINT or SIGTERM; 0 when no more signals come."""
    while byte := inbox.recv(1):
        if byte[0] in (signal.SIGINT, signal.SIGTERM):
            return byte[0]
    return 0


def leave(exit_code: int) -> None:
    """End the process here and now, whatever its main thread is doing."""
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        sys.__stderr__.write("\x1b[?25h")  # the bar has hidden the cursor
    sys.stderr.flush()
    os._exit(exit_code)


def describe_stop(step: int) -> str:
    """Say what is safe, and the command that goes on."""
    return f"stopped after step {step}; to go on: {command_to_resume()}"


def command_to_resume() -> str:
    """Write the command that is running, with --resume."""
    words = [*sys.argv[1:], *["--resume"] * ("--resume" not in sys.argv)]
    name = Path(sys.argv[0])
    program = [name.name] if name.name != "__main__.py" else ["python", "-m", "sfseg"]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        nodes, processes = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
        program = ["torchrun", *["--nnodes", nodes] * (nodes != "1")]
        program += ["--nproc-per-node", processes, "-m", "sfseg"]
    return shlex.join([*program, *words])
