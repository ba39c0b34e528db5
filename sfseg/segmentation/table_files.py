"""Files of tables: their names, and their rows as CSV."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from sfseg.errors import OptionError, OutputExistsError
from sfseg.segmentation.tables import Table
from sfseg.types import AnyArray

SUFFIX = ".csv"

_DIGITS = ".9g"


def require_tables(paths: Sequence[Path]) -> None:
    """Refuse names of tables that do not end in .csv, and one name for two tables.

    Raises
    ------
    OptionError
        If a name ends otherwise.
    OutputExistsError
        If two are the same.
    """
    for path in paths:
        if path.suffix.lower() != SUFFIX:
            raise OptionError(
                f"{path}: the name of a table ends in {SUFFIX}",
                hint=f"name it {path.with_suffix(SUFFIX)}",
            )
    if len({path.absolute() for path in paths}) < len(paths):
        raise OutputExistsError(
            f"{paths[0]}: two tables have one name", hint="give each table a name of its own"
        )


class TableWriter:
    """Writes parts of a table to a file, the names of the columns first."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._is_new = file, True

    def __call__(self, table: Table) -> None:
        """Write the rows of a part: whole numbers as they are, others with nine digits."""
        if self._is_new:
            self._file.write(",".join(table) + "\n")
            self._is_new = False
        columns = map(_texts, table.values())
        self._file.writelines(f"{','.join(row)}\n" for row in zip(*columns, strict=True))


def _texts(column: AnyArray) -> Iterable[str]:
    if column.dtype.kind == "f":
        return (format(value, _DIGITS) for value in column.tolist())
    return map(str, column.tolist())
