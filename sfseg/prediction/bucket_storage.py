"""An unfinished output in a bucket.

It is as on a disk, see `sfseg.prediction.resumable`, but a bucket cannot rename or append. So:

* The store is written under its final name. Its root metadata are written last, on the condition
  that there are none: before that, it is no Zarr store for any reader.
* The manifest is objects with some lines each, ``<name>.part.manifest/00000000`` and so on. Each is
  written on the condition that there is none of that number; so a run that another one has taken
  over cannot go on.
* The lock ``<name>.part.lock`` is a lease: see `sfseg.io.lease`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sfseg.errors import OutputExistsError
from sfseg.io.lease import lease
from sfseg.io.objects import DRAFT, Objects
from sfseg.prediction.destination import LOCK, MANIFEST
from sfseg.prediction.manifest import Manifest
from sfseg.prediction.output_lock import refuse_second
from sfseg.prediction.record import write_record
from sfseg.system.files import TAKEN, sibling
from sfseg.system.remote import RemotePath
from sfseg.system.threads import ordered

_ROOT = "zarr.json"
_READERS = 16
"""Requests at once: a long run has thousands of small objects."""


@contextlib.contextmanager
def open_bucket(path: RemotePath) -> Iterator["BucketStorage"]:
    """Keep other runs away from an output for a block; raises as `open_resumable` does."""
    storage = BucketStorage(path)
    lock = f"{path.name}.{LOCK}"
    with lease(Objects(path.parent), lock, lambda: refuse_second(str(path))):
        yield storage


class BucketManifest:
    """A manifest in a bucket; see `sfseg.prediction.manifest.Manifest`."""

    def __init__(self, output: RemotePath) -> None:
        self.path: Path = sibling(output, MANIFEST)
        self._output, self._objects = output, Objects(output.parent)
        self._next = 0  # number of the next object

    def read(self) -> bytes | None:
        """Read the lines; None if there is no manifest."""
        keys = self._keys()
        if not keys:
            return None
        self._next = int(keys[-1].rpartition("/")[2]) + 1
        return b"".join(data or b"" for data in ordered(self._objects.read, keys, _READERS))

    def append(self, lines: bytes) -> None:
        """Write more lines, as an object; refuse if another run has written one of its number."""
        key = f"{self.path.name}/{self._next:08d}"
        if self._objects.create(key, lines) is None and self._objects.read(key) != lines:
            raise OutputExistsError(
                f"{self._output}: another run has taken over this output",
                hint="wait until that run ends, or give another name",
            )
        self._next += 1

    def remove(self) -> None:
        """Remove the manifest, the last lines first: those that are left are true."""
        self._objects.remove(self._keys()[::-1])
        self._next = 0

    def _keys(self) -> list[str]:
        return sorted(each.key for each in self._objects.list(self.path.name))


class BucketStorage:
    """An unfinished output in a bucket; see `Storage`. Its part has the final name."""

    def __init__(self, path: RemotePath) -> None:
        self.path: Path = path
        self.part: Path = path
        self.manifest: Manifest = BucketManifest(path)
        self._store = Objects(path)

    def has_part(self) -> bool:
        """Tell whether there are metadata of a store that is not whole."""
        return self._store.read(DRAFT) is not None

    def remove(self) -> None:
        """Remove what is there: the root metadata first."""
        self._store.remove([_ROOT])
        self._store.remove([each.key for each in self._store.list()])

    def flush(self) -> None:
        """Do nothing: an object lasts once it is written."""

    def identify(self) -> int:
        """Return 0: nothing tells two stores apart."""
        return 0

    def is_published(self, mark: int | None) -> bool:
        """Tell whether a whole store has its root metadata."""
        if mark is None:
            return False
        root, draft = self._store.read(_ROOT), self._store.read(DRAFT)
        return root is not None and draft in (None, root)

    def publish(self, record: str, *, complete: bool, overwrite: bool) -> None:
        """Give the root metadata their name, unless another run has done so; write the record."""
        del overwrite  # the old store is gone already
        draft = self._store.read(DRAFT)
        if draft is not None and not complete:
            is_new = self._store.create(_ROOT, draft) is not None
            if not is_new and self._store.read(_ROOT) != draft:
                raise OutputExistsError(f"{self.path} exists already", hint=TAKEN)
        self._store.remove([DRAFT])
        if record:
            write_record(self.path, record)
