"""The record of what arrived, written last: a dataset is there when its record is.

It makes the difference between "exists" and "arrived whole", and costs no reading of the data.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from sfseg.datasets.dataset import Dataset
from sfseg.datasets.verify import sha256

NAME = "sfseg-dataset.json"


@dataclass(frozen=True)
class FileRecord:
    """A file as it was delivered.

    Attributes
    ----------
    name : str
        Path in the dataset's folder.
    size_bytes : int
        Its size.
    sha256 : str
        Of its bytes.
    """

    name: str
    size_bytes: int
    sha256: str


def record(folder: Path, name: str) -> FileRecord:
    """Record the file `name` of a dataset's folder as it is now."""
    path = folder / name
    return FileRecord(name, path.stat().st_size, sha256(path))


def write(folder: Path, dataset: Dataset, records: Sequence[FileRecord]) -> None:
    """Write the record of a dataset into its folder."""
    content = {
        "schema": 1,
        "dataset": dataset.name,
        "citation": dataset.citation,
        "licence": dataset.licence,
        "files": [asdict(entry) for entry in records],
    }
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> tuple[FileRecord, ...]:
    """Read the record of a dataset's folder; empty if it has none, or not a sound one."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        records = tuple(FileRecord(**entry) for entry in content["files"])
    except (FileNotFoundError, ValueError, TypeError, LookupError, RecursionError):
        return ()
    return records if all(_is_sound(entry) for entry in records) else ()


def _is_sound(entry: FileRecord) -> bool:
    """Whether a record speaks of a file within the dataset's folder."""
    name: object = entry.name
    if not isinstance(name, str) or "\0" in name:
        return False
    return not (PurePath(name).is_absolute() or ".." in PurePath(name).parts)


def is_whole(folder: Path, dataset: Dataset) -> bool:
    """Whether all that a dataset needs is there, with the recorded sizes."""
    sizes = {entry.name: entry.size_bytes for entry in read(folder)}
    needed = {file.name for file in dataset.files if file.required}
    return needed <= sizes.keys() and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )
