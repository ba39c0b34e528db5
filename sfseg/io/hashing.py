"""Hashes of files, of sets of files and of Zarr stores."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from sfseg.io.folders import address, is_many, is_store, list_files
from sfseg.io.guards import require_member
from sfseg.io.objects import DRAFT, Objects, read_metadata
from sfseg.io.sources import require_file
from sfseg.system.files import ZARR_MARKS
from sfseg.system.limits import usable_processors
from sfseg.system.remote import RemotePath, as_location
from sfseg.system.threads import ordered

MOST_READERS = 8
"""Files that are hashed at the same time."""

_STORE_MARKS = (*ZARR_MARKS, "attributes.json", "info")
"""Files in the folder of a store that say what it holds; its chunks may be millions."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[tuple[str, Path]], known: Mapping[str, str] = _NOTHING) -> str:
    """Return the SHA-256 of files, each with the name that counts, in the order given.

    Files with a `known` hash, by their names, are not read.
    """

    def line(file: tuple[str, Path]) -> str:
        # no name holds NUL, so two different sets of files cannot make the same text
        name, path = file
        return f"{name}\0{known.get(name) or hash_file(path)}\n"

    return hash_text("".join(ordered(line, files, min(usable_processors(), MOST_READERS))))


def hash_store(store: Path, what: str, known: Mapping[str, str] = _NOTHING) -> str:
    """Return the SHA-256 of all files of a store and their names.

    Parameters
    ----------
    store : Path
        The folder.
    what : str
        The store, for messages.
    known : mapping of str to str
        The hashes of some files by their names in the store; these files are not read.

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
        if member.is_symlink():  # rglob does not enter linked folders
            require_member(what, member, store)
    files = sorted((each.relative_to(store).as_posix(), each) for each in members)
    return hash_files(files, known)


def hash_objects(path: RemotePath, inside: str) -> str:
    """Hash what identifies a Zarr store at an address, without reading its pixels.

    Parameters
    ----------
    path : RemotePath
        The address.
    inside : str
        The path of an array or an image in the store; empty for the store itself.

    Returns
    -------
    str
        In hexadecimal.

    Notes
    -----
    In a bucket: the names, sizes and versions (ETags) of all objects, and the metadata above them.
    The copy of a store has the same hash where the service makes the ETags from the bytes. A web
    server does not list its files: there it is the address and the metadata, so other pixels with
    the same metadata under the same address are not noticed.
    """
    objects = Objects(path)
    metadata = read_metadata(objects, inside)
    lines = [f"{key}\0{hashlib.sha256(data).hexdigest()}\n" for key, data in metadata.items()]
    if objects.can_list:
        listed = sorted(objects.list(inside.strip("/")))
        known = {DRAFT, *metadata}
        lines += [f"{k}\0{size}\0{tag}\n" for k, size, tag in listed if k not in known]
    else:
        lines.append(str(path))
    return hash_text("".join(lines))


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text; names that are not Unicode count as their bytes."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def stamp_input(source: str | Path) -> str:
    """Tell whether a source is the one of another process, without reading its pixels.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.

    Returns
    -------
    str
        SHA-256 of the names, sizes and times of the last change of its files; of a store, of those
        files that say what it holds. At an address, what `hash_objects` returns.

    Raises
    ------
    StackError
        If there is nothing to read.
    """
    file, inside = address(as_location(source))
    if isinstance(file, RemotePath):
        return hash_objects(file, inside)
    files = [file / name for name in _STORE_MARKS] if is_store(file) else list_files(file)
    found = ((path.name, path.stat()) for path in files if path.is_file())
    lines = [f"{name}\0{stat.st_size} {stat.st_mtime_ns}\n" for name, stat in found]
    return hash_text(f"{inside}\0{''.join(lines)}")


def hash_input(source: str | Path, known: Mapping[str, str] = _NOTHING) -> str:
    """Hash all that reading a source depends on, except the axes that a person gives.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.
    known : mapping of str to str
        The hashes of some files of a Zarr store, by their names in it; these files are not read.

    Returns
    -------
    str
        SHA-256 in hexadecimal. For a file it covers the bytes; for a folder or pattern the names
        and hashes of the images in order; for a Zarr store the names and hashes of all files. The
        path of an array counts too. At an address, nothing is read but metadata: see
        `hash_objects`.

    Raises
    ------
    StackError
        If there is nothing to read, or a file of a store is a link to one elsewhere.
    """
    path = as_location(source)
    if is_many(path):
        members = list_files(source)
        for member in members:
            require_file(member, str(member))
        return hash_files((member.name, member) for member in members)
    file, inside = address(path)
    if isinstance(file, RemotePath):
        return hash_text(f"{hash_objects(file, inside)} {inside.strip('/')}")
    if is_store(file):
        return hash_text(f"{hash_store(file, str(source), known)} {inside.strip('/')}")
    require_file(file, str(source))
    content = hash_file(file)
    return hash_text(f"{content} {inside.strip('/')}") if inside else content
