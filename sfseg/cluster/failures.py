"""The calls of a cluster that failed for good, with the place that each was for."""

from sfseg.cluster.feed import Failed
from sfseg.errors import BlocksError
from sfseg.types import format_count

LISTED = 5
"""So many failed calls are named; the others are counted."""

MOST_FAILED = 100
"""After so many failed calls in a row something is wrong with all of them."""


class Failures:
    """The calls that failed, and why.

    Parameters
    ----------
    what : str
        What they were for, for the message.
    can_resume : bool
        Whether finished work is kept.
    """

    def __init__(self, what: str, *, can_resume: bool = True) -> None:
        self._what, self._can_resume = what, can_resume
        self._found: list[str] = []
        self._in_a_row = 0

    def note(self, place: str, result: object) -> None:
        """Note how a call ended; raises BlocksError if none ends well any more."""
        if not isinstance(result, Failed):
            self._in_a_row = 0
            return
        self._found.append(f"{place}: {result.reason}")
        self._in_a_row += 1
        if self._in_a_row == MOST_FAILED:
            self.require_none()

    def require_none(self) -> None:
        """Refuse to end as if all was well; raises BlocksError."""
        if not self._found:
            return
        count, lines = len(self._found), [f"  {line}" for line in self._found[:LISTED]]
        if count > LISTED:
            lines.append(f"  and {count - LISTED} more")
        kept, then = "", "run the same command again"
        if self._can_resume:
            kept = ", finished ones are kept"
            then = "add --resume: it only computes what is missing"
        raise BlocksError(
            "\n".join([f"{self._what}: {format_count(count, 'block')} failed{kept}:", *lines]),
            hint=f"remove the cause, then {then}",
        )
