"""The folder of the parts of one output, each made by a process of its own; see `parts`.

Until the output is complete, the folder ``<name>.parts`` lies beside its final name::

    identity.json     input and options, the same for all parts
    store             the pixels of all parts, an OME-Zarr
    1-500.manifest    the finished tiles of the part of these sections; see `manifest`
    1-500.lock        keeps a second run of it away
    1-500.json        its receipt: the part is whole; it replaces the manifest; see `receipt`

A part has whole sections, and the files of a store hold one section each. So no file has pixels of
two parts, and the parts need not know of each other.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfseg.errors import OutputExistsError, ResumeError
from sfseg.identity import differences
from sfseg.io.hashing import hash_input
from sfseg.prediction.destination import is_unfinished, lock_path
from sfseg.prediction.output_lock import hold
from sfseg.prediction.receipt import Receipt, read_receipt
from sfseg.prediction.record import write_record
from sfseg.system import files
from sfseg.types import Say, format_count, format_sections, name_sections, parse_sections


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


def _name_sections(indices: Sequence[int]) -> str:
    """Name sections in a sentence, with the verb."""
    return f"{name_sections(indices)} {'are' if len(indices) > 1 else 'is'}"


def _join(names: Sequence[str]) -> str:
    """Join names with commas, and a word before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
