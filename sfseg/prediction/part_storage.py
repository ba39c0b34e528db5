"""The output of one part: some whole sections of a store; see `parts_folder`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfseg.config import PredictConfig
from sfseg.errors import OutputExistsError
from sfseg.io.hashing import hash_file
from sfseg.prediction.manifest import Manifest, ManifestFile
from sfseg.prediction.parts_folder import PartsFolder
from sfseg.prediction.receipt import Receipt, read_receipt
from sfseg.prediction.resumable import ResumableOutput, keep_tiles
from sfseg.system import files
from sfseg.system.limits import usable_processors
from sfseg.system.threads import ordered
from sfseg.types import parse_sections

_READERS = 8
"""Files that are hashed at the same time."""


class PartStorage:
    """Where a part lies: some whole sections of a store that other parts write to as well.

    It is a `sfseg.prediction.storage.Storage`. The record of a part is its receipt.

    Parameters
    ----------
    folder : PartsFolder
        The folder of all parts.
    name : str
        Its sections, as in ``"1-500"``.
    count : int
        Number of sections of the stack.
    """

    def __init__(self, folder: PartsFolder, name: str, count: int) -> None:
        self.folder, self.name, self.count = folder, name, count
        self.path, self.part = folder.output, folder.store
        self.manifest: Manifest = ManifestFile(folder.manifest(name))
        self.sections = parse_sections(name, count)
        self._receipt = folder.receipt(name)

    def read_receipt(self) -> Receipt | None:
        """Read the receipt of a part that is whole; raises as `read_receipt` does."""
        return read_receipt(self._receipt) if self._receipt.exists() else None

    def hash_files(self) -> dict[str, str]:
        """Hash the files of the part, by their names in the store."""
        found = [file for folder in self._folders() for file in folder.rglob("*") if file.is_file()]
        hashes = ordered(hash_file, found, min(usable_processors(), _READERS))
        names = (file.relative_to(self.part).as_posix() for file in found)
        return dict(zip(names, hashes, strict=True))

    def has_part(self) -> bool:
        """Tell whether there is a store."""
        return self.part.exists()

    def remove(self) -> None:
        """Remove no pixels: the store may have those of other parts."""
        files.sync(self.manifest.path.parent)

    def flush(self) -> None:
        """Flush the files of the part to the disk."""
        for folder in self._folders():
            files.sync_tree(folder)

    def identify(self) -> None:
        """Return None: the receipt says that the part is whole."""

    def is_published(self, mark: int | None) -> bool:  # noqa: ARG002 - it has none
        """Tell whether the part has a receipt."""
        return self._receipt.exists()

    def publish(self, record: str, *, complete: bool, overwrite: bool) -> None:
        """Write the receipt, unless there is one: each part is new."""
        del overwrite
        if record and not complete:
            files.write_text(self._receipt, record)

    def _folders(self) -> Iterator[Path]:
        """Iterate over the folders with the files of the part, and only these."""
        from sfseg.io.zarr.writer import section_folders

        return (folder for index in self.sections for folder in section_folders(self.part, index))


@contextlib.contextmanager
def open_part(
    part: PartStorage, identity: Mapping[str, Any], config: PredictConfig
) -> Iterator[ResumableOutput]:
    """Make some sections of an output, which can be stopped and resumed.

    Parameters
    ----------
    part : PartStorage
        Where they lie.
    identity : mapping
        See `sfseg.prediction.resumable.open_resumable`; without the sections.
    config : PredictConfig
        Its ``resume`` and ``overwrite`` count.

    Yields
    ------
    ResumableOutput
        The finished tiles, and where to record new ones; its identity is that of the first part.
        Set its record to the receipt, unless it is complete: then the part has one.

    Raises
    ------
    OutputExistsError
        If another run makes this part, another part has some of its sections, or it is made.
    ResumeError
        If the other parts have another identity.
    OutputError
        If the disk is full or fails, or the folder cannot be written to.
    """
    folder, resume = part.folder, config.resume
    with files.explain_errors(part.path), files.ensure_parent(part.path):
        folder.refuse_other(overwrite=config.overwrite)
        work = ResumableOutput(part, folder.join(identity), sections=part.sections)
        with folder.hold(part.name):
            is_made = part.read_receipt() is not None
            if is_made and not resume:
                raise OutputExistsError(
                    f"{part.path}: sections {part.name} are made already",
                    hint="add --resume to keep them; after the last part, run with --finish",
                )
            resume = resume and not is_made
            with keep_tiles(work, resume=resume, overwrite=config.overwrite):
                folder.refuse_overlap(part.name, part.count)
                yield work
