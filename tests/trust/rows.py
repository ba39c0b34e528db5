"""A row of the table of promises: what was tried, how often, and how often it held."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """What came of trying one promise many times.

    Attributes
    ----------
    name : str
        The promise, in a few words.
    held, tried : int
        How often it held, and how often it was tried.
    notes : str
        Figures beside: the longest time, the largest memory.
    failures : list of str
        What did not hold, each with what it takes to repeat it.
    """

    name: str
    held: int
    tried: int
    notes: str = ""
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        notes = f" ({self.notes})" if self.notes else ""
        return f"{self.name}: {self.held} of {self.tried}{notes}"
