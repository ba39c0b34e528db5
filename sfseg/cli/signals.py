"""What Ctrl-C, SIGTERM and the like do to a training run: no finished step is lost.

The other half is in `sfseg.training.train`, which saves the state (`sfseg.training.checkpointing`)
of the last finished step (`sfseg.training.last_step`).
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from sfseg.cli.console import (
    EXIT_ERROR,
    STOPPING,
    exit_code_of,
    on_signals,
    say,
    say_error,
)
from sfseg.errors import SfsegError

GRACE_S = 2.0
"""Seconds to wait for the running step; after that, the state of the step before is saved.

A cluster kills 10 s after SIGTERM and sometimes sooner; writing the largest state takes about 5 s.
"""


ONLY_CTRL_C = (signal.SIGINT,)


class Stop:
    """Ends a training run on a signal: after the running step, soon, or immediately.

    The first signal sets `event`, which ends the training after the running step. A validation, a
    compilation or a long step may take longer than `GRACE_S`. Then another thread saves the state
    of the last finished step and ends the process. Ctrl-C after that ends it immediately; so does
    the first signal if there is no state to save yet. Other signals after the first are no wish to
    hurry: a lost terminal sends two, and a cluster warns before it ends a job.

    Parameters
    ----------
    resume_with : str
        The command that continues the training, for the message.

    Attributes
    ----------
    event : threading.Event
        Whether the training should stop.
    exit_code : int
        Exit code of the process after the signal.
    has_state : bool
        Whether a training run has begun.
    """

    def __init__(self, resume_with: str) -> None:
        self.resume_with = resume_with
        self.event = threading.Event()
        self.exit_code = 0
        self.has_state = False
        self._save: Callable[[], int] | None = None

    def arm(self, save: Callable[[], int]) -> None:
        """Keep the function that saves a training run, which is about to start."""
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
        self.exit_code = self.exit_code or exit_code
        if not self.has_state:
            sys.exit(exit_code)
        self.event.set()

    def _listen(self, inbox: socket.socket) -> None:
        number = _next_signal(inbox)
        while number and not self.has_state:
            number = _next_signal(inbox)  # the main thread leaves by itself
        if not number:
            return
        self.exit_code = self.exit_code or exit_code_of(number)
        self.event.set()
        say("stopping after this step; press Ctrl-C again to stop immediately")
        inbox.settimeout(GRACE_S)
        try:
            number = _next_signal(inbox, ONLY_CTRL_C)
        except TimeoutError:
            threading.Thread(target=self._save_and_exit, daemon=True).start()
            inbox.settimeout(None)
            number = _next_signal(inbox, ONLY_CTRL_C)
        if number:
            say("stopped immediately")
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
        say(describe_stop(step, self.resume_with))
        leave(self.exit_code)


def _next_signal(inbox: socket.socket, awaited: Sequence[int] = (*ONLY_CTRL_C, *STOPPING)) -> int:
    """Wait for one of some signals; 0 when no more signals come."""
    while byte := inbox.recv(1):
        if byte[0] in awaited:
            return byte[0]
    return 0


def leave(exit_code: int) -> None:
    """End the process here and now, whatever its main thread is doing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the terminal may be gone
        if sys.__stderr__ is not None and sys.__stderr__.isatty():
            sys.__stderr__.write("\x1b[?25h")  # the bar has hidden the cursor
        sys.stderr.flush()
    os._exit(exit_code)


def describe_stop(step: int, resume_with: str) -> str:
    """Say what is safe, and the command that continues."""
    return f"stopped after step {step}; to continue: {resume_with}"
