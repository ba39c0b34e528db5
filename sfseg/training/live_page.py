"""A page in the folder of a run, written again and again while it runs."""

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from sfseg.errors import SfsegError
from sfseg.report.status import REFRESH_S, Outcome
from sfseg.training.time_budget import TimeBudget
from sfseg.types import Say

SHARE = 0.01
"""Writing the page takes at most this share of the time."""


class LivePage(ABC):
    """Keeps the page of a run up to date.

    Whatever goes wrong with the page is a warning: it is never worth a run.

    Parameters
    ----------
    say : callable
        Called with a warning, once, if the page cannot be written.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._budget = TimeBudget(SHARE)
        self._lock = threading.Lock()
        self._has_failed = False

    @abstractmethod
    def write_page(self, outcome: Outcome, error: str) -> None:
        """Write the page.

        Parameters
        ----------
        outcome : {'running', 'finished', 'stopped', 'failed'}
            How far the run is.
        error : str
            What ended it; empty if it has not failed.
        """

    @contextlib.contextmanager
    def kept_up(self, is_finished: Callable[[], bool]) -> Iterator[None]:
        """Write the page before the block, and after it how the block ended."""
        self.write("running")
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.write("stopped")
            raise
        except BaseException as error:
            self.write("failed", error.message if isinstance(error, SfsegError) else str(error))
            raise
        self.write("finished" if is_finished() else "stopped")

    def write_if_due(self, *, is_news: bool) -> None:
        """Write the page if there is news, or it is time to, unless that takes too much time."""
        if (is_news or self._budget.waited_s > REFRESH_S) and self._budget.is_affordable:
            self.write("running")

    def write(self, outcome: Outcome, error: str = "") -> None:
        """Write the page now, from any thread; if that fails, warn once."""
        try:
            with self._lock, self._budget.doing():
                self.write_page(outcome, error)
        except Exception as failure:  # noqa: BLE001 - see the class
            if not self._has_failed:
                self._has_failed = True
                reason = failure.message if isinstance(failure, SfsegError) else repr(failure)
                self._say(f"warning: the page is not up to date: {reason}")
