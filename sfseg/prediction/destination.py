"""Where an output and its record lie: on a disk, or in a bucket.

The module does not import torch, because outputs are checked before torch loads.
"""

from pathlib import Path
from typing import Protocol

from sfseg.errors import OutputError, OutputExistsError
from sfseg.io.objects import DRAFT, Objects
from sfseg.system import files
from sfseg.system.remote import RemotePath

RECORD, MANIFEST, LOCK = "json", "part.manifest", "part.lock"
"""What is appended to the name of an output for the files beside it."""

_ZARR_ONLY = "name it like s3://bucket/map.zarr"


class Destination(Protocol):
    """An output and what lies beside it."""

    def exists(self) -> bool:
        """Tell whether there is a whole output."""

    def is_unfinished(self) -> bool:
        """Tell whether a run that writes the output was interrupted, or is still running."""

    def check(self, *, overwrite: bool, hint: str | None = None) -> None:
        """Refuse an output that exists, or that cannot be written.

        Parameters
        ----------
        overwrite : bool
            Whether a store or a file that exists may be replaced.
        hint : str, optional
            What to do if it exists.

        Raises
        ------
        OutputExistsError
            If it exists, and may not be replaced or is something else.
        OutputError
            If it has no place there.
        """

    def check_record(self, *, overwrite: bool) -> None:
        """Refuse another file under the name of the record; raises as `check` does."""

    def read_record(self) -> bytes:
        """Read the record; raises OSError if there is none."""

    def write_record(self, text: str) -> None:
        """Write the record, and replace an older one."""


def find_destination(path: Path) -> Destination:
    """Return the destination that a path or an address stands for.

    Raises
    ------
    MissingExtraError
        If obstore is needed and not installed.
    OutputError
        If it is an address that cannot be written to.
    """
    return BucketDestination(path) if isinstance(path, RemotePath) else DiskDestination(path)


def is_unfinished(path: Path) -> bool:
    """Tell whether a run that writes this path was interrupted, or is still running."""
    return find_destination(path).is_unfinished()


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists, as `files.check_output_path`; name an unfinished one too."""
    destination = find_destination(path)
    if not destination.is_unfinished():
        destination.check(overwrite=overwrite)
        return
    hint = (
        "an interrupted run lies beside it: --resume --overwrite continues that run and replaces "
        "this output; --overwrite starts again"
    )
    destination.check(overwrite=overwrite, hint=hint)


def lock_path(path: Path) -> Path:
    """Return the path of the lock of an output."""
    return files.sibling(path, LOCK)


def touched_paths(path: Path) -> list[Path]:
    """List an output, and all paths beside it that a run writes, replaces or removes."""
    made = [path, files.sibling(path, MANIFEST), files.sibling(path, RECORD)]
    temporary = [files.sibling(each, suffix) for each in made for suffix in ("part", "part.old")]
    return [*made, *temporary, lock_path(path)]


class DiskDestination:
    """A file or a folder; see `Destination`."""

    def __init__(self, path: Path) -> None:
        self._path, self._record = path, files.sibling(path, RECORD)

    def exists(self) -> bool:
        """Tell whether there is a whole output."""
        return self._path.exists()

    def is_unfinished(self) -> bool:
        """Tell whether there is a manifest."""
        return files.sibling(self._path, MANIFEST).exists()

    def check(self, *, overwrite: bool, hint: str | None = None) -> None:
        """Refuse an output that exists, or whose name is too long."""
        files.check_output_path(self._path, overwrite=overwrite, hint=hint)

    def check_record(self, *, overwrite: bool) -> None:
        """Refuse another file under the name of the record."""
        files.check_output_path(self._record, overwrite=overwrite)

    def read_record(self) -> bytes:
        """Read the record."""
        return self._record.read_bytes()

    def write_record(self, text: str) -> None:
        """Write the record whole or not at all."""
        files.write_text(self._record, text, overwrite=True)


class BucketDestination:
    """A Zarr store in a bucket; see `Destination`. Nothing can be renamed there."""

    def __init__(self, path: RemotePath) -> None:
        if path.scheme != "s3":
            raise OutputError(
                f"{path}: an output cannot be written to {path.scheme}://, only to s3://",
                hint="write it to a disk, then copy it",
            )
        if path.suffix.lower() != ".zarr" or "/" not in f"{path.key}/" or not path.key:
            raise OutputError(
                f"{path}: only a Zarr store can be written to a bucket", hint=_ZARR_ONLY
            )
        self._path, self._store, self._beside = path, Objects(path), Objects(path.parent)
        self._record = f"{path.name}.{RECORD}"

    def exists(self) -> bool:
        """Tell whether there are the metadata that are written last."""
        return any(self._store.read(mark) is not None for mark in files.ZARR_MARKS)

    def is_unfinished(self) -> bool:
        """Tell whether there is a manifest."""
        return self._beside.has(f"{self._path.name}.{MANIFEST}")

    def check(self, *, overwrite: bool, hint: str | None = None) -> None:
        """Refuse a store that exists, or other objects under its name."""
        if self.exists():
            if not overwrite:
                raise OutputExistsError(f"{self._path} exists already", hint=hint or files.TAKEN)
        elif self._store.has("") and not self.is_unfinished() and not self._store.read(DRAFT):
            raise OutputExistsError(
                f"{self._path}: not replaced, because there are objects, but no Zarr store",
                hint="choose another name, or remove them yourself",
            )

    def check_record(self, *, overwrite: bool) -> None:
        """Refuse another object under the name of the record."""
        if not overwrite and self._beside.read(self._record) is not None:
            raise OutputExistsError(
                f"{self._beside.path}/{self._record} exists already", hint=files.TAKEN
            )

    def read_record(self) -> bytes:
        """Read the record."""
        found = self._beside.read(self._record)
        if found is None:
            raise FileNotFoundError(self._record)
        return found

    def write_record(self, text: str) -> None:
        """Write the record."""
        self._beside.write(self._record, text.encode())
