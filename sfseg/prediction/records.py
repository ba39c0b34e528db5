"""Find and read the record beside an output, without torch."""

import json
from pathlib import Path
from typing import Any

from sfseg.prediction.resumable import record_path
from sfseg.system.files import check_output_path

SCHEMA = 1

_NEEDED = {"schema", "identity", "output", "pieces", "interior_share", "blank_sections"}


def find_record(output: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """Read the record beside an output; refuse another file under the name of the record.

    Returns
    -------
    dict or None
        The record; None if there is none.

    Raises
    ------
    OutputExistsError
        If there is a folder of that name; or a file that is not a record of sfseg, unless
        `overwrite` is True.
    OutputError
        If the name is too long, or the system cannot look it up.
    """
    found = read_record(output)
    if found is None:
        check_output_path(record_path(output), overwrite=overwrite)
    return found


def read_record(output: Path) -> dict[str, Any] | None:
    """Read the record beside an output; None if there is none that can be read."""
    try:
        found = json.loads(record_path(output).read_text())
    except (OSError, ValueError):
        return None
    is_record = isinstance(found, dict) and found.keys() >= _NEEDED and found["schema"] == SCHEMA
    return found if is_record and isinstance(found["identity"], dict) else None
