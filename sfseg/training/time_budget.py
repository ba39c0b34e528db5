"""Regular work beside the steps, such as saving, limited to a small share of the time."""

import contextlib
import time
from collections.abc import Iterator

SHARE = 0.05
"""Each kind of such work takes at most this share of the time."""


class TimeBudget:
    """Times one kind of work, and says when it may be done again.

    Parameters
    ----------
    share : float, optional
        Largest share of the time; default is `SHARE`.
    """

    def __init__(self, share: float | None = None) -> None:
        self._share = share
        self._ended = time.monotonic()
        self._took_s = 0.0

    @property
    def waited_s(self) -> float:
        """Seconds since the work was last done, or since the start."""
        return time.monotonic() - self._ended

    @property
    def is_affordable(self) -> bool:
        """Whether enough time has passed for the share to hold if the work is done now."""
        share = SHARE if self._share is None else self._share
        return self.waited_s * share >= self._took_s

    @contextlib.contextmanager
    def doing(self) -> Iterator[None]:
        """Time the work, which the block does; work that fails takes time, too."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._ended = time.monotonic()
            self._took_s = self._ended - started
