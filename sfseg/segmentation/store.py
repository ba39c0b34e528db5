"""Keep what is found in each section: in memory, or in a folder that a stopped run leaves."""

import contextlib
import copy
import json
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self

import imagecodecs
import numpy as np

from sfseg.errors import OutputError, ResumeError
from sfseg.identity import differences
from sfseg.segmentation.edges import Edges
from sfseg.segmentation.section import Section
from sfseg.segmentation.superpixels import Labels
from sfseg.system import files
from sfseg.types import AnyArray

_IDENTITY = "identity.json"

_READING = Lock()
"""NumPy parses headers by `ast`, which two threads of CPython 3.11 may not do at the same time."""


class Store(Protocol):
    """Keeps sections by their index, from 0. None: it is not there yet."""

    def save_section(self, index: int, section: Section) -> None:
        """Keep a section."""

    def load_section(self, index: int) -> Section | None:
        """Return a section."""

    def load_labels(self, index: int) -> Labels:
        """Return the superpixels of a section that is there."""

    def save_overlaps(self, index: int, overlaps: Edges) -> None:
        """Keep the overlaps of a section with the one before."""

    def load_overlaps(self, index: int) -> Edges | None:
        """Return the overlaps of a section with the one before."""


class MemoryStore:
    """Keeps the superpixels in memory, for an array."""

    def __init__(self) -> None:
        self._labels: dict[int, Labels] = {}

    def save_section(self, index: int, section: Section) -> None:
        """Keep a section."""
        self._labels[index] = section.labels

    def load_section(self, index: int) -> Section | None:
        """Return None: nothing is there from before."""

    def load_labels(self, index: int) -> Labels:
        """Return the superpixels of a section."""
        return self._labels[index]

    def save_overlaps(self, index: int, overlaps: Edges) -> None:
        """Keep nothing: they are in the graph."""

    def load_overlaps(self, index: int) -> Edges | None:
        """Return None: nothing is there from before."""


class FolderStore:
    """Keeps all in a folder, two files a section, each whole or not there.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    identity : mapping
        What the sections depend on, as plain values.
    resume : bool
        Whether to go on with what is there; else it is deleted.

    Raises
    ------
    ResumeError
        If what is there was made from something else.
    OSError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = self._drafts = folder
        manifest = folder / _IDENTITY
        if resume and manifest.exists():
            _require_same(manifest, identity)
            for draft in folder.glob("*.part"):  # of a run that was killed
                files.remove(draft)
            return
        with files.explain_errors(folder), files.ensure_parent(folder):
            if folder.is_dir():
                files.remove(folder)  # a section that stays would be taken for one of this map
            folder.mkdir()
            files.write_text(manifest, json.dumps(identity, indent=2), overwrite=True)

    def save_section(self, index: int, section: Section) -> None:
        """Keep a section."""
        borders = {f"border_{name}": values for name, values in vars(section.borders).items()}
        labels = _pack(section.labels, len(section.areas))
        self._save("section", index, **labels, areas=section.areas, **borders)

    def load_section(self, index: int) -> Section | None:
        """Return a section."""
        found = self._load("section", index)
        if found is None:
            return None
        return Section(_unpack(found), found["areas"], _edges(found, "border_"))

    def load_labels(self, index: int) -> Labels:
        """Return the superpixels of a section that is there."""
        with _READING, np.load(self._path("section", index)) as file:
            packed = {name: file[name] for name in ("labels", "shape", "type")}
        return _unpack(packed)

    def save_overlaps(self, index: int, overlaps: Edges) -> None:
        """Keep the overlaps of a section with the one before."""
        self._save("overlaps", index, **vars(overlaps))

    def load_overlaps(self, index: int) -> Edges | None:
        """Return the overlaps of a section with the one before."""
        found = self._load("overlaps", index)
        return None if found is None else _edges(found)

    def sections(self) -> set[int]:
        """List the sections that are there; a damaged one counts, too."""
        return self._list("section")

    def overlaps(self) -> set[int]:
        """List the sections whose overlaps are there; damaged ones count, too."""
        return self._list("overlaps")

    @contextlib.contextmanager
    def shared(self) -> Iterator[Self]:
        """Let other processes keep sections here, also on other machines that see the folder.

        Yields
        ------
        FolderStore
            For them, by pickle. After the block none of them can write any more, even one that
            nobody can reach: its drafts have no folder.
        """
        drafts = self.folder / f"{secrets.token_hex(8)}.part"
        with files.explain_errors(self.folder):
            drafts.mkdir()
        other = copy.copy(self)
        other._drafts = drafts.absolute()
        other.folder = self.folder.absolute()
        try:
            yield other
        finally:
            void = drafts.with_suffix(".void.part")
            with contextlib.suppress(FileNotFoundError):
                drafts.rename(void)
            files.remove(void)

    def require_visible(self) -> None:
        """Refuse a process that does not see the folder; raises OutputError."""
        if not self._drafts.is_dir():
            raise OutputError(
                f"{self.folder}: a worker does not see this folder, or the run has ended",
                hint="write to a disk that all workers see under the same name",
            )

    def remove(self) -> None:
        """Delete the folder: the output is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, what: str, index: int) -> Path:
        return self.folder / f"{what}-{index + 1:06}.npz"

    def _list(self, what: str) -> set[int]:
        return {int(path.stem.split("-")[1]) - 1 for path in self.folder.glob(f"{what}-*.npz")}

    def _save(self, what: str, index: int, **arrays: AnyArray) -> None:
        path = self._path(what, index)
        # each has a name of its own: two processes may save the same section at a time
        draft = self._drafts / f"{path.stem}-{secrets.token_hex(4)}.part"
        with files.explain_errors(self.folder):
            try:
                with draft.open("wb") as file:
                    np.savez(file, allow_pickle=False, **arrays)
                # Not flushed to the disk: a file that a power cut spoils is found out by `_load`.
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)

    def _load(self, what: str, index: int) -> dict[str, AnyArray] | None:
        path = self._path(what, index)
        if not path.exists():
            return None
        try:
            with _READING, path.open("rb") as raw, np.load(raw) as file:
                return dict(file)
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return None  # damaged: it is found again


def _pack(labels: Labels, largest: int) -> dict[str, AnyArray]:
    """Compress labels, to 3 % of two bytes a pixel; in a third of the time of writing these."""
    # Half of the bytes: a section rarely has so many superpixels that they need more.
    small = labels.astype(np.min_scalar_type(largest))
    packed = np.frombuffer(imagecodecs.zstd_encode(small.tobytes(), level=1), np.uint8)
    return {"labels": packed, "shape": np.array(small.shape), "type": np.array(small.dtype.str)}


def _unpack(found: Mapping[str, AnyArray]) -> Labels:
    data = imagecodecs.zstd_decode(found["labels"].tobytes())
    return np.frombuffer(data, str(found["type"])).reshape(found["shape"]).astype(np.uint32)


def _edges(found: Mapping[str, AnyArray], prefix: str = "") -> Edges:
    return Edges(*(found[f"{prefix}{name}"] for name in ("pairs", "measures", "sizes")))


def _require_same(manifest: Path, identity: Mapping[str, Any]) -> None:
    """Refuse to go on with what was made from something else."""
    hint = "leave --resume out, to start again"
    try:
        was = files.read_json(manifest)
    except ValueError:
        was = None
    if not isinstance(was, dict):
        raise ResumeError(f"{manifest}: this file of the interrupted run is damaged", hint=hint)
    if changed := differences(was, json.loads(json.dumps(identity))):
        raise ResumeError(
            f"{manifest.parent}: the interrupted run had other input or options:\n"
            + "\n".join(changed),
            hint=hint,
        )
