"""Moments of a process that no clock decides: the n-th call of a function of sfseg.

For a child (see `tests.trust.children`): what is installed stays so to its end. Only calls in the
main thread are counted, so that a process has the same moments each time; what other threads do at
a moment may differ.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import sfseg

PACKAGE = str(Path(sfseg.__file__).parent) + os.sep


def _count_calls(reach: Callable[[int], None], is_open: Callable[[], bool]) -> None:
    """Call `reach` with the number of each call, from 1, while a condition holds."""
    count = 0

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        file = frame.f_code.co_filename
        # a template is compiled to functions, too: most calls would be those of pages
        if event == "call" and file.startswith(PACKAGE) and file.endswith(".py") and is_open():
            count += 1
            reach(count)

    sys.setprofile(profile)


def _is_caught(number: signal.Signals) -> bool:
    """Tell whether the process does something else about a signal than to end at once."""
    return number == signal.SIGKILL or signal.getsignal(number) != signal.SIG_DFL


def count_moments(path: Path, number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Give a function that lets a process count the moments at which it can be signalled.

    The count goes to a file at the end of the process.
    """

    def install() -> None:
        last, leave = [0], os._exit

        def reach(moment: int) -> None:
            last[0] = moment

        def write_and_leave(code: int) -> None:
            path.write_text(str(last[0]))
            leave(code)

        os._exit = write_and_leave
        _count_calls(reach, lambda: _is_caught(number))

    return install


def signal_at(
    moment: int, number: signal.Signals = signal.SIGKILL, first: Callable[[], object] = lambda: None
) -> Callable[[], None]:
    """Give a function that lets a process signal itself at a moment; something is called first."""

    def reach(now: int) -> None:
        if now == moment:
            sys.setprofile(None)
            first()
            os.kill(os.getpid(), number)

    return lambda: _count_calls(reach, lambda: _is_caught(number))
