"""Parts of one output on the disk, each made by a process of its own; see `parts`.

Until the output is complete, the folder ``<name>.parts`` lies beside its final name::

    identity.json     input and options, the same for all parts
    store             the pixels of all parts, an OME-Zarr
    1-500.manifest    the finished tiles of the part of these sections; see `resumable`
    1-500.lock        keeps a second run of it away
    1-500.json        its receipt: the part is whole; it replaces the manifest

A part has whole sections, and the files of a store hold one section each. So no file has pixels of
two parts, and the parts need not know of each other.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sfseg.config import PredictConfig
from sfseg.errors import OptionError, OutputExistsError, ResumeError
from sfseg.identity import differences
from sfseg.io.hashing import hash_file, hash_input
from sfseg.prediction.record import write_record
from sfseg.prediction.resumable import (
    ResumableOutput,
    hold,
    is_unfinished,
    keep_tiles,
    lock_path,
)
from sfseg.system import files
from sfseg.system.limits import usable_processors
from sfseg.system.remote import is_remote
from sfseg.system.threads import ordered
from sfseg.types import Say, format_count, format_sections, name_sections, parse_sections

_LONGEST_NAME = 200
"""Bytes of the sections in the name of a file, to which suffixes are added."""

_READERS = 8
"""Files that are hashed at the same time."""


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


def require_parts(output: Path, config: PredictConfig) -> None:
    """Refuse an output that cannot be made in parts.

    Raises
    ------
    OptionError
        If it is no OME-Zarr on a disk; if its numbers go on from section to section; if planes of
        all sections are predicted; or if both ``sections`` and ``finish`` are set.
    """
    option = "--finish" if config.finish else "--sections"
    if config.finish and config.sections is not None:
        raise OptionError(
            "--finish: it is for all sections, after the last part",
            hint="leave --sections out, or make this part first, without --finish",
        )
    if is_remote(output):
        raise OptionError(
            f"{option}: parts are made on a file system that all processes share, not in a bucket",
            hint="write them there, then copy the output; or write to the bucket in one run",
        )
    if output.suffix.lower() != ".zarr":
        raise OptionError(
            f"{option}: only a .zarr can be made in parts, not {output.name}",
            hint=f"-o {output.with_suffix('.zarr')}",
        )
    if config.planes:
        raise OptionError(
            f"{option}: it does not work with --planes, whose planes have pixels of all sections",
            hint="make the map in one run, without --sections and --finish; or leave out --planes",
        )
    if config.output in ("segments", "cells"):
        raise OptionError(
            f"{option}: it does not work with --output {config.output}, whose numbers go on from "
            "section to section",
            hint="make the map in parts, without --output; then sfseg segment finds its cells",
        )


class PartsFolder:
    """The folder with the parts of an output.

    Parameters
    ----------
    output : Path
        The final path of the output.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.path = output, files.sibling(output, "parts")
        self.store = self.path / "store"
        self._identity = self.path / "identity.json"

    def manifest(self, sections: str) -> Path:
        """Return the path of the list of finished tiles of a part."""
        return self.path / f"{sections}.manifest"

    def receipt(self, sections: str) -> Path:
        """Return the path of the receipt of a part."""
        return self.path / f"{sections}.json"

    def hold(self, sections: str) -> contextlib.AbstractContextManager[None]:
        """Take the lock of a part for a block; raises OutputExistsError if it is running."""
        return hold(self.path / f"{sections}.lock", f"{self.output}: sections {sections}")

    def join(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Make the folder, or join the parts in it; return the identity that all parts have.

        Raises
        ------
        ResumeError
            If they have another identity, or the file with it is damaged.
        """
        if not self.path.exists():
            own = files.sibling(self.path, secrets.token_hex(4))
            try:
                files.write_text(own / self._identity.name, json.dumps(identity) + "\n")
                own.rename(self.path)  # with the file in it; fails if it is there already
                files.sync(self.path.parent)
            except OSError:
                if not self._identity.exists():  # else another part was faster
                    raise
            finally:
                files.remove(own)
        return self.require_same(identity)

    def require_same(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return the identity that all parts have; refuse another one; raises ResumeError."""
        shared = self.identity()
        if lines := differences(shared, json.loads(json.dumps(identity))):
            raise ResumeError(
                f"{self.output}: its parts have other input or options:\n" + "\n".join(lines),
                hint=f"give all parts the same; to start again, remove {self.path}",
            )
        return shared

    def identity(self) -> dict[str, Any]:
        """Read the identity that all parts have; raises ResumeError."""
        try:
            found = files.read_json(self._identity)
        except FileNotFoundError as error:
            if self.output.exists():
                raise OutputExistsError(
                    f"{self.output}: it is there, and there are no parts of it",
                    hint="if it is to be made again, remove it, and begin with --sections",
                ) from error
            raise ResumeError(
                f"{self.output}: there are no parts of it",
                hint="make them first, with --sections in place of --finish",
            ) from error
        except (OSError, ValueError):
            found = None
        if not (isinstance(found, dict) and isinstance(found.get("resolved"), dict)):
            raise ResumeError(
                f"{self._identity}: the file is damaged",
                hint=f"remove {self.path} to start again",
            )
        return found

    def begun(self) -> set[str]:
        """Return the sections of all parts that have a manifest or a receipt."""
        names = (*self.path.glob("*.manifest"), *self.path.glob("*.json"))
        return {path.stem for path in names if path != self._identity}

    def refuse_overlap(self, sections: str, count: int) -> None:
        """Refuse a part with sections that another part has.

        Call it when this one has its manifest: so of two that begin at once, one sees the other.
        """
        own = set(parse_sections(sections, count))
        for other in sorted(self.begun() - {sections}):
            if shared := own.intersection(parse_sections(other, count)):
                rest = own - shared
                raise OutputExistsError(
                    f"{self.output}: --sections {sections}: the part of sections {other} has "
                    f"{'some of them' if rest else 'them'}",
                    hint=f"--sections {format_sections(tuple(rest))}"
                    if rest
                    else f"continue that part: --sections {other} --resume",
                )

    def refuse_whole(self) -> None:
        """Refuse a run for all sections if there are parts; raises OutputExistsError."""
        if self.path.exists():
            raise OutputExistsError(
                f"{self.output}: parts of this output lie beside it",
                hint=f"--finish makes the output of them; to start again, remove {self.path}",
            )

    def refuse_other(self, *, overwrite: bool) -> None:
        """Refuse a part if there is another output; raises OutputExistsError."""
        files.check_output_path(self.output, overwrite=overwrite)
        if is_unfinished(self.output):
            raise OutputExistsError(
                f"{self.output}: an interrupted run without --sections lies beside it",
                hint="continue it with --resume and without --sections, or choose another name",
            )

    # --- all parts

    def require_all(self, count: int, say: Say) -> list[Receipt]:
        """Return the receipts of all parts, in order; refuse if a section is missing.

        Parameters
        ----------
        count : int
            Number of sections of the stack.
        say : callable
            Called with a line for each part that has to be made again.

        Raises
        ------
        ResumeError
            If a section is missing; the hint says how to make it.
        """
        receipts = sorted(
            self._receipts(say), key=lambda each: parse_sections(each.sections, count)
        )
        done = {index for each in receipts for index in parse_sections(each.sections, count)}
        if missing := sorted(set(range(count)) - done):
            raise ResumeError(
                f"{self.output}: {_name_sections(missing)} missing",
                hint=self._say_how(missing, count),
            )
        return receipts

    def _receipts(self, say: Say) -> Iterator[Receipt]:
        """Read the receipts; remove those of parts whose files are not there, or damaged ones."""
        there = set(self._list_pixels())
        for sections in sorted(self.begun()):
            path = self.receipt(sections)
            try:
                receipt = read_receipt(path)
            except FileNotFoundError:
                continue  # it has a manifest only
            if gone := len(receipt.files.keys() - there):
                say(
                    f"warning: {format_count(gone, 'file')} of sections {sections} "
                    f"{'are' if gone > 1 else 'is'} gone from {self.store}"
                )
                path.unlink()
            else:
                yield receipt

    def _list_pixels(self) -> Iterator[str]:
        """List the files of the store, by their names in it."""
        pixels = self.pixels
        return (file.relative_to(pixels).as_posix() for file in pixels.rglob("*") if file.is_file())

    def _say_how(self, missing: Sequence[int], count: int) -> str:
        """Say how to make sections that are missing."""
        begun = {path.stem for path in self.path.glob("*.manifest")}
        running = sorted(filter(self._is_running, begun))
        if running:
            return f"the part of {_join(running)} is still running: wait until it ends"
        of_begun = {index for each in begun for index in parse_sections(each, count)}
        commands = [f"--sections {each} --resume" for each in sorted(begun)]
        if new := [index for index in missing if index not in of_begun]:
            commands.append(f"--sections {format_sections(new)}")
        return f"run the same command with {_join(commands)}, in place of --finish"

    def _is_running(self, sections: str) -> bool:
        """Tell whether a part is being made now."""
        try:
            with self.hold(sections):
                return False
        except OutputExistsError:
            return True

    @property
    def pixels(self) -> Path:
        """Where the store is now: it is renamed twice, and a kill may come in between."""
        places = (self.store, files.sibling(self.output, "part"), self.output)
        return next((place for place in places if place.exists()), self.store)

    @contextlib.contextmanager
    def finishing(self, *, overwrite: bool) -> Iterator[None]:
        """Keep other runs away for a block that checks all parts and publishes the output.

        Raises
        ------
        OutputExistsError
            If another run is writing the output, or it exists and may not be replaced.
        """
        with files.explain_errors(self.output), hold(lock_path(self.output), str(self.output)):
            if self.pixels != self.output:
                files.recover(self.output)
                files.check_output_path(self.output, overwrite=overwrite)
            if self.store.exists():
                from sfseg.io.zarr.writer import remove_drafts

                remove_drafts(self.store)
            yield

    def hash(self, receipts: Sequence[Receipt]) -> str:
        """Hash the store as `sfseg.io.hashing.hash_input` does, but read the small files only."""
        known = {name: sha256 for each in receipts for name, sha256 in each.files.items()}
        return hash_input(self.pixels, known)

    def publish(self, record: str, *, overwrite: bool) -> None:
        """Give the store its final name, write the record, and remove the folder."""
        part = files.sibling(self.output, "part")
        if self.store.exists():
            files.remove(part)  # of a run that was killed before it had a manifest
            self.store.rename(part)
            files.sync(self.path)
        if part.exists():
            files.publish(part, self.output, overwrite=overwrite)
        write_record(self.output, record)
        self.path.rename(files.sibling(self.path, "old"))
        self.clear()

    @property
    def is_published(self) -> bool:
        """Whether the output is there, and nothing more to do than `clear`."""
        return self.output.exists() and not self.path.exists()

    def clear(self) -> None:
        """Remove what is left of the folder when the output is there."""
        for folder in self.path.parent.glob(f"{self.path.name}.*"):
            files.remove(folder)


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
            files.write_text(self._receipt, json.dumps(asdict(self.receipt)) + "\n")
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


def as_name(text: str, count: int) -> str:
    """Write a list of sections as the name of a part.

    Raises
    ------
    OptionError
        If the list makes no sense, or is too long for the name of a file.
    """
    name = format_sections(parse_sections(text, count))
    if len(name) > _LONGEST_NAME:
        raise OptionError(
            f"--sections: {len(name)} letters are too many for the name of a file",
            hint="name ranges of sections, as in 1-500, and make the others in another part",
        )
    return name


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


def _name_sections(indices: Sequence[int]) -> str:
    """Name sections in a sentence, with the verb."""
    return f"{name_sections(indices)} {'are' if len(indices) > 1 else 'is'}"


def _join(names: Sequence[str]) -> str:
    """Join names with commas, and a word before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
