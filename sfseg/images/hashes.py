"""Hashes of files, of sets of files and of Zarr stores."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sfseg.images.guards import require_member


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Give the SHA-256 of files, each with the name that counts, in the order given."""
    # a name ends where NUL is, which no name holds: no two sets of files make one text
    return hash_text("".join(f"{name}\0{hash_file(path)}\n" for name, path in files))


def hash_store(store: Path, what: str) -> str:
    """Give the SHA-256 of all files of a store and their names.

    Parameters
    ----------
    store : Path
        The folder.
    what : str
        The store, for messages.

    Returns
    -------
    str
        In hexadecimal.

    Raises
    ------
    StackError
        If one of them is a link to a file elsewhere.
    """
    members = [member for member in store.rglob("*") if member.is_file()]
    for member in members:
        if member.is_symlink():  # of linked folders rglob lists nothing
            require_member(what, member, store)
    return hash_files(sorted((each.relative_to(store).as_posix(), each) for each in members))


def hash_text(text: str) -> str:
    """Give the SHA-256 of a text; names that are no Unicode count as their bytes."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
