"""Where a Zarr store lies: in a folder, or at an address."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sfseg.errors import RemoteError, StackError
from sfseg.io.grid import count_stored_bytes, find_folder
from sfseg.io.guards import MAX_RATIO
from sfseg.io.objects import Objects
from sfseg.system.files import ZARR_MARKS
from sfseg.system.remote import RemotePath

if TYPE_CHECKING:
    from sfseg.io.zarr.store import GuardedObjects, GuardedStore

METADATA = (*ZARR_MARKS, ".zmetadata")


class Place(Protocol):
    """The nodes of a Zarr store: groups and arrays, each named by its path in the store."""

    if_missing: str
    """What to do where there is no node, for a message."""

    def has(self, inside: str) -> bool:
        """Tell whether there is a node.

        Raises
        ------
        StackError
            If the path leaves the store.
        RemoteError
            If a server does not answer, or does not permit to look.
        """

    def open(self, inside: str) -> "GuardedStore | GuardedObjects":
        """Return the store of a node."""

    def show(self, inside: str) -> str:
        """Write where a node is, for a message."""

    def count_stored_bytes(self, inside: str, enough: int) -> int | None:
        """Add up the sizes of chunks, until they are enough; None if the place cannot tell."""

    def above(self) -> "tuple[Place, str] | None":
        """Return the place above, and the path of this one in it."""


class FolderPlace:
    """A store in a folder; see `Place`.

    Parameters
    ----------
    store : Path
        The folder, which no link may leave.
    name : str
        The input, for messages.

    Raises
    ------
    StackError
        If it is no folder.
    """

    if_missing = "check the path; copy the store again if it should be there"

    def __init__(self, store: Path, name: str) -> None:
        self._store, self._name = store, name
        if not store.is_dir():
            wrong = "this is not a folder" if store.exists() else "there is no such store"
            raise StackError(
                f"{name}: {wrong}",
                hint="check the spelling and the current folder",
            )

    def _folder(self, inside: str) -> Path:
        return find_folder(self._store, inside, self._name)

    def has(self, inside: str) -> bool:
        """Tell whether a folder has metadata."""
        return any((self._folder(inside) / mark).is_file() for mark in METADATA)

    def open(self, inside: str) -> "GuardedStore":
        """Return the store of a folder."""
        from sfseg.io.zarr.store import GuardedStore

        return GuardedStore(self._folder(inside), self._store, self._name)

    def show(self, inside: str) -> str:
        """Write the folder of a node."""
        return str(self._folder(inside))

    def count_stored_bytes(self, inside: str, enough: int) -> int:
        """Add up the sizes of files."""
        return count_stored_bytes(self._folder(inside), enough, METADATA)

    def above(self) -> tuple[Place, str]:
        """Return the folder above."""
        return FolderPlace(self._store.parent, self._name), self._store.name


class RemotePlace:
    """A store at an address; see `Place`.

    Parameters
    ----------
    path : RemotePath
        The address.
    name : str
        The input, for messages.

    Raises
    ------
    MissingExtraError
        If obstore is not installed.
    """

    if_missing = (
        "only Zarr is read from an address: name the folder that holds zarr.json, .zgroup or "
        ".zarray; copy other files to a disk first"
    )

    def __init__(self, path: RemotePath, name: str) -> None:
        self._path, self._name = path, name
        self._objects = Objects(path)

    def _node(self, inside: str) -> Objects:
        parts = [part for part in inside.split("/") if part]
        if ".." in parts:
            raise StackError(
                f"{self._name}: the path {inside} leaves this store",
                hint="copy the array into one store",
            )
        return Objects(self._path.joinpath(*parts)) if parts else self._objects

    def has(self, inside: str) -> bool:
        """Tell whether there are metadata: some servers permit to read only what is there."""
        denied: RemoteError | None = None
        for mark in METADATA:
            try:
                if self._node(inside).read(mark) is not None:
                    return True
            except RemoteError as error:
                if not error.is_denied:
                    raise
                denied = error
        if denied:
            raise denied
        return False

    def open(self, inside: str) -> "GuardedObjects":
        """Return the store of a node."""
        from sfseg.io.zarr.store import GuardedObjects

        return GuardedObjects(self._node(inside), self._name)

    def show(self, inside: str) -> str:
        """Write the address of a node."""
        return str(self._node(inside).path)

    def count_stored_bytes(self, inside: str, enough: int) -> int | None:
        """Add up the sizes of objects, where they can be listed."""
        objects, total = self._node(inside), 0
        if not objects.can_list:
            return None
        for each in objects.list():
            total += each.size * (Path(each.key).name not in METADATA)
            if total * MAX_RATIO >= enough:
                break
        return total

    def above(self) -> tuple[Place, str] | None:
        """Return the address above, within the bucket."""
        if not self._path.key:
            return None
        return RemotePlace(self._path.parent, self._name), self._path.name
