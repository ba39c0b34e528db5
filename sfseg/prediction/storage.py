"""Where an unfinished output lies, and how it gets its final name."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sfseg.prediction.destination import MANIFEST, lock_path
from sfseg.prediction.manifest import Manifest, ManifestFile
from sfseg.prediction.output_lock import hold
from sfseg.prediction.record import write_record
from sfseg.system import files


class Storage(Protocol):
    """Where an unfinished output lies.

    Attributes
    ----------
    path : Path
        Its final name.
    part : Path
        What is written until it has that.
    manifest : Manifest
        The list of the finished tiles of the part.
    """

    path: Path
    part: Path
    manifest: Manifest

    def has_part(self) -> bool:
        """Tell whether there is a part."""

    def remove(self) -> None:
        """Remove the part of an earlier run, whose manifest is removed."""

    def flush(self) -> None:
        """Flush the part to the disk."""

    def identify(self) -> int | None:
        """Return what tells this part from another one, also under its final name."""

    def is_published(self, mark: int | None) -> bool:
        """Tell whether a whole part has its final name: the one that `identify` named so."""

    def publish(self, record: str, *, complete: bool, overwrite: bool) -> None:
        """Give the part its final name, unless it is complete; write the record, if any."""


@contextlib.contextmanager
def open_disk(path: Path) -> Iterator["DiskStorage"]:
    """Keep other runs away from an output for a block; raises as `open_resumable` does."""
    with (
        files.explain_errors(path),
        files.ensure_parent(path),
        hold(lock_path(path), str(path)),
    ):
        files.recover(path)
        yield DiskStorage(path)


class DiskStorage:
    """An unfinished file or folder; see `Storage`."""

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, files.sibling(path, "part")
        self.manifest: Manifest = ManifestFile(files.sibling(path, MANIFEST))

    def has_part(self) -> bool:
        """Tell whether there is a part."""
        return self.part.exists()

    def remove(self) -> None:
        """Remove the part, once its manifest is gone for good: it must not name lost tiles."""
        files.sync(self.path.parent)
        files.remove(self.part)

    def flush(self) -> None:
        """Flush the part to the disk."""
        files.sync_tree(self.part)

    def identify(self) -> int:
        """Return the inode of the part."""
        return self.part.stat().st_ino

    def is_published(self, mark: int | None) -> bool:
        """Tell whether the part with an inode was renamed."""
        renamed = self.path.exists() and self.path.stat().st_ino == mark
        return renamed and not self.part.exists()

    def publish(self, record: str, *, complete: bool, overwrite: bool) -> None:
        """Rename the part, unless an earlier run did, and write the record."""
        if complete:
            files.sync(self.path.parent)
        else:
            files.publish(self.part, self.path, overwrite=overwrite)
        if record:
            write_record(self.path, record)
