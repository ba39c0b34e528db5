"""Regular work beside the steps, such as saving, limited to a small share of the time."""

import contextlib
import time
from collections.abc import Iterator

SHARE = 0.05
"""Each kind of such work takes at most this share of the time."""


class TimeBudget:
    """Times one kind of work, and says when it may be done again."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._took_s = 0.0

    @property
    def waited_s(self) -> float:
        """Seconds since the work was last done, or since the start."""
        return time.monotonic() - self._ended

    @property
    def is_affordable(self) -> bool:
        """Whether enough time has passed for the share to hold if the work is done now."""
        return self.waited_s * SHARE >= self._took_s

    @contextlib.contextmanager
    def doing(self) -> Iterator[None]:
        """Time the work, which the block does."""
        started = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._took_s = self._ended - started
