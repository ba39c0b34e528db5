"""An output in a bucket that is made tile by tile, and can be stopped and resumed.

It is as on a disk, see `sfseg.prediction.resumable`, but a bucket cannot rename or append. So:

* The store is written under its final name. Its root metadata are written last, on the condition
  that there are none: before that, it is no Zarr store for any reader.
* The manifest is objects with some lines each, ``<name>.part.manifest/00000000`` and so on. Each is
  written on the condition that there is none of that number; so a run that another one has taken
  over cannot go on.
* The lock ``<name>.part.lock`` is a lease: see `sfseg.io.lease`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from sfseg.errors import OutputExistsError
from sfseg.io.lease import lease
from sfseg.io.objects import DRAFT, Objects
from sfseg.prediction.destination import LOCK, MANIFEST
from sfseg.prediction.output_lock import refuse_second
from sfseg.prediction.resumable import ResumableOutput, keep_tiles, manifest_header
from sfseg.system.files import TAKEN
from sfseg.system.remote import RemotePath
from sfseg.system.threads import ordered

_ROOT = "zarr.json"
_READERS = 16
"""Requests at once: a long run has thousands of small objects."""


@contextlib.contextmanager
def open_in_bucket(
    path: RemotePath,
    identity: Mapping[str, Any],
    hashed: "Future[str] | None",
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[ResumableOutput]:
    """Make a store in a bucket; see `sfseg.prediction.resumable.open_resumable`."""
    work = BucketOutput(path, identity, hashed)
    lock = f"{path.name}.{LOCK}"
    with (
        lease(Objects(path.parent), lock, lambda: refuse_second(str(path))),
        keep_tiles(work, resume=resume, overwrite=overwrite),
    ):
        yield work


class BucketOutput(ResumableOutput):
    """An unfinished output in a bucket; see `ResumableOutput`. Its part has the final name."""

    def __init__(
        self, path: RemotePath, identity: Mapping[str, Any], hashed: "Future[str] | None"
    ) -> None:
        super().__init__(path, identity, hashed)
        self.part = path
        self._store, self._beside = Objects(path), Objects(path.parent)
        self._lines = f"{path.name}.{MANIFEST}"
        self._next = 0  # number of the next object of the manifest

    def _list_manifest(self) -> list[str]:
        return sorted(each.key for each in self._beside.list(self._lines))

    def _load_manifest(self) -> bytes:
        keys = self._list_manifest()
        self._next = int(keys[-1].rpartition("/")[2]) + 1
        return b"".join(data or b"" for data in ordered(self._beside.read, keys, _READERS))

    def _append(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        key = f"{self._lines}/{self._next:08d}"
        if self._beside.create(key, data) is None and self._beside.read(key) != data:
            raise OutputExistsError(
                f"{self._path}: another run has taken over this output",
                hint="wait until that run ends, or give another name",
            )
        self._next += 1

    def _recover(self) -> None:
        """Do nothing: nothing is renamed."""

    def _has_part(self) -> bool:
        return self._store.read(DRAFT) is not None

    def _is_published(self) -> bool:
        root, draft = self._store.read(_ROOT), self._store.read(DRAFT)
        return self._whole_mark is not None and root is not None and draft in (None, root)

    def _start(self) -> None:
        """Start a manifest, then remove what is there: the root metadata first."""
        self._remove_manifest()
        self.finished, self._has_tiles, self._next = {}, False, 0
        self._append([manifest_header(self.identity)])
        self._remove_store()

    def _discard(self) -> None:
        self._remove_manifest()
        self._remove_store()

    def _remove_manifest(self) -> None:
        """Remove the last lines first: those that are left are true."""
        self._beside.remove(self._list_manifest()[::-1])

    def _remove_store(self) -> None:
        self._store.remove([_ROOT])
        self._store.remove([each.key for each in self._store.list()])

    def _flush(self) -> None:
        """Do nothing: an object lasts once it is written."""

    def _identify_part(self) -> int:
        return 0

    def _move(self, *, overwrite: bool) -> None:  # noqa: ARG002 - the old store is gone already
        """Give the root metadata their name, unless another run has done so."""
        draft = self._store.read(DRAFT)
        if draft is not None and not self.complete:
            is_new = self._store.create(_ROOT, draft) is not None
            if not is_new and self._store.read(_ROOT) != draft:
                raise OutputExistsError(f"{self._path} exists already", hint=TAKEN)
        self._store.remove([DRAFT])

    def _end_manifest(self) -> None:
        self._remove_manifest()
