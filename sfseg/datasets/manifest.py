"""The record of a fetched dataset, which is written last.

A folder can exist and be incomplete; a dataset with its record is complete. To check that, only
the record and the sizes of the files are read.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from sfseg.datasets.dataset import Dataset
from sfseg.datasets.verify import sha256
from sfseg.system import files

NAME = "sfseg-dataset.json"


@dataclass(frozen=True)
class FileRecord:
    """A file at the time when it was fetched.

    Attributes
    ----------
    name : str
        Path in the folder of the dataset.
    size_bytes : int
        Its size in bytes.
    sha256 : str
        The sha256 of its bytes.
    """

    name: str
    size_bytes: int
    sha256: str


def record(folder: Path, name: str) -> FileRecord:
    """Measure the file `name` in the folder of a dataset."""
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
    """Read the record in the folder of a dataset; empty if it is missing or damaged."""
    try:
        content = files.read_json(folder / NAME)
        records = tuple(FileRecord(**entry) for entry in content["files"])
    except (FileNotFoundError, IsADirectoryError, ValueError, TypeError, LookupError):
        return ()
    return records if all(_is_sound(entry) for entry in records) else ()


def _is_sound(entry: FileRecord) -> bool:
    """Whether a record names a file inside the folder of the dataset."""
    name: object = entry.name
    size: object = entry.size_bytes
    if not (isinstance(name, str) and isinstance(size, int)) or "\0" in name:
        return False
    return not (PurePath(name).is_absolute() or ".." in PurePath(name).parts)


def is_whole(folder: Path, dataset: Dataset) -> bool:
    """Whether all required files of a dataset are there, with the recorded sizes."""
    sizes = {entry.name: entry.size_bytes for entry in read(folder)}
    needed = {file.name for file in dataset.files if file.required}
    return needed <= sizes.keys() and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )
