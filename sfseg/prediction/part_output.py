"""The output of one part: some whole sections of a store; see `parts_folder`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfseg.config import PredictConfig
from sfseg.errors import OutputExistsError
from sfseg.io.hashing import hash_file
from sfseg.prediction.parts_folder import PartsFolder
from sfseg.prediction.receipt import Receipt, read_receipt, write_receipt
from sfseg.prediction.resumable import ResumableOutput, keep_tiles
from sfseg.system import files
from sfseg.system.limits import usable_processors
from sfseg.system.threads import ordered
from sfseg.types import parse_sections

_READERS = 8
"""Files that are hashed at the same time."""


class PartOutput(ResumableOutput):
    """A part of an output: some whole sections of a store that other parts write to as well.

    Parameters
    ----------
    folder : PartsFolder
        The folder of all parts.
    sections : str
        Its sections, as in ``"1-500"``.
    identity : mapping
        The identity that all parts have.
    count : int
        Number of sections of the stack.

    Attributes
    ----------
    receipt : Receipt or None
        Of a part that was made before; else set it when the part is whole.
    """

    def __init__(
        self, folder: PartsFolder, sections: str, identity: Mapping[str, Any], count: int
    ) -> None:
        super().__init__(folder.output, identity)
        self.part, self._manifest = folder.store, folder.manifest(sections)
        self._receipt = folder.receipt(sections)
        self.receipt: Receipt | None = None
        self.sections = self._own = parse_sections(sections, count)
        self._name = sections

    @property
    def starts_empty(self) -> bool:
        """Always False: the store may have pixels of other parts."""
        return False

    def hash_files(self) -> dict[str, str]:
        """Hash the files of the part, by their names in the store."""
        found = [file for folder in self._folders() for file in folder.rglob("*") if file.is_file()]
        hashes = ordered(hash_file, found, min(usable_processors(), _READERS))
        names = (file.relative_to(self.part).as_posix() for file in found)
        return dict(zip(names, hashes, strict=True))

    def _check(self, *, resume: bool, overwrite: bool) -> None:
        del overwrite  # each part of the output is new
        if self._receipt.exists():
            self.complete, self._is_new = True, False
            self.receipt = read_receipt(self._receipt)
            if not resume:
                raise OutputExistsError(
                    f"{self._path}: sections {self._name} are made already",
                    hint="add --resume to keep them; after the last part, run with --finish",
                )
        elif resume and self._manifest.exists():
            self._resume()

    def _discard(self) -> None:
        self._manifest.unlink(missing_ok=True)
        files.sync(self._manifest.parent)

    def _flush(self) -> None:
        for folder in self._folders():
            files.sync_tree(folder)

    def _folders(self) -> Iterator[Path]:
        """Iterate over the folders with the files of the part, and only these."""
        from sfseg.io.zarr.writer import section_folders

        return (folder for index in self._own for folder in section_folders(self.part, index))

    def _record_complete(self) -> None:
        if not self.complete:
            self._flush()
            self.sync()

    def _publish(self, *, overwrite: bool) -> None:
        del overwrite
        self.can_resume = True
        if self.receipt is not None and not self.complete:
            write_receipt(self._receipt, self.receipt)
        self._manifest.unlink(missing_ok=True)
        self.can_resume = False


@contextlib.contextmanager
def open_part(
    output: Path, sections: str, count: int, identity: Mapping[str, Any], config: PredictConfig
) -> Iterator[PartOutput]:
    """Make some sections of an output, which can be stopped and resumed.

    Parameters
    ----------
    output : Path
        The final path of the output.
    sections : str
        The sections, as in ``"1-500"``.
    count : int
        Number of sections of the stack.
    identity : mapping
        See `sfseg.prediction.resumable.open_resumable`; without the sections.
    config : PredictConfig
        Its ``resume`` and ``overwrite`` count.

    Yields
    ------
    PartOutput
        The finished tiles, and where to record new ones; its identity is that of the first part.
        Set its receipt when it is whole.

    Raises
    ------
    OutputExistsError
        If another run makes this part, another part has some of its sections, or it is made.
    ResumeError
        If the other parts have another identity.
    OutputError
        If the disk is full or fails, or the folder cannot be written to.
    """
    folder = PartsFolder(output)
    with files.explain_errors(output), files.ensure_parent(output):
        folder.refuse_other(overwrite=config.overwrite)
        work = PartOutput(folder, sections, folder.join(identity), count)
        with folder.hold(sections), keep_tiles(work, resume=config.resume, overwrite=False):
            folder.refuse_overlap(sections, count)
            yield work
