"""How far a run is, as its page says it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REFRESH_S = 15
"""A browser that shows the page of a run that is not over loads it again so often."""

Outcome = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    outcome : {'running', 'finished', 'stopped', 'failed'}
        Whether it goes on.
    text : str
        What to say about it.
    done, total : int
        How much of the work is done, and how much there is.
    resume_with : str
        The command that continues it.
    written_s : float
        When this was so, in seconds since 1970.
    """

    outcome: Outcome
    text: str
    done: int
    total: int
    resume_with: str
    written_s: float

    @property
    def can_go_on(self) -> bool:
        """Whether the run is over, but not at its end."""
        return self.outcome in ("stopped", "failed")


def says_finished(path: Path) -> bool:
    """Tell whether a page is there, of a run that has come to its end."""
    return path.is_file() and 'data-outcome="finished"' in path.read_text(encoding="utf-8")
