"""The receipt of a part of an output: the part is whole; see `parts_folder`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sfseg.errors import ResumeError
from sfseg.system import files


@dataclass(frozen=True)
class Receipt:
    """What is known of a part that is whole, in types that JSON can hold.

    Attributes
    ----------
    sections : str
        Its sections, as in ``"1-500"``.
    facts : dict
        Its device, times and counts; see `sfseg.prediction.run.result_facts`.
    totals : dict of str to float
        Sums of the facts of its tiles; see `sfseg.prediction.run.describe_totals`.
    files : dict of str to str
        The SHA-256 of each file with its pixels, by the name in the store.
    """

    sections: str
    facts: dict[str, Any]
    totals: dict[str, float]
    files: dict[str, str]

    def to_json(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self)) + "\n"


def read_receipt(path: Path) -> Receipt:
    """Read a receipt.

    Raises
    ------
    ResumeError
        If it is damaged.
    OSError
        If it cannot be read.
    """
    try:
        return Receipt(**files.read_json(path))
    except (TypeError, ValueError) as error:
        raise ResumeError(
            f"{path}: the file is damaged", hint="remove it, and make this part again"
        ) from error
