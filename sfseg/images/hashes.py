"""Hashes of files and of sets of files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Give the SHA-256 of files, each with the name that counts, in the order given."""
    # a name ends where NUL is, which no name holds: no two sets of files make one text
    return hash_text("".join(f"{name}\0{hash_file(path)}\n" for name, path in files))


def hash_text(text: str) -> str:
    """Give the SHA-256 of a text; names that are no Unicode count as their bytes."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
