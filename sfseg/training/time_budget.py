"""What has to be done now and then beside the steps, in a small share of the time."""

import contextlib
import time
from collections.abc import Iterator

SHARE = 0.05
"""Each takes no more than this share of the time, however long it takes and short the epochs."""


class TimeBudget:
    """Something that takes time, and can wait."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._took_s = 0.0

    @property
    def waited_s(self) -> float:
        """Seconds since it was done, or since the beginning."""
        return time.monotonic() - self._ended

    @property
    def is_affordable(self) -> bool:
        """Whether it was done long enough ago to be done again."""
        return self.waited_s * SHARE >= self._took_s

    @contextlib.contextmanager
    def doing(self) -> Iterator[None]:
        """Do it in the block, which is timed."""
        started = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._took_s = self._ended - started
