"""Hashes of files, of sets of files and of Zarr stores."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sfseg.io.folders import address, is_many, is_store, list_files
from sfseg.io.guards import require_member
from sfseg.io.objects import Objects, read_metadata
from sfseg.io.sources import require_file
from sfseg.system.remote import RemotePath, as_location


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Return the SHA-256 of files, each with the name that counts, in the order given."""
    # no name holds NUL, so two different sets of files cannot make the same text
    return hash_text("".join(f"{name}\0{hash_file(path)}\n" for name, path in files))


def hash_store(store: Path, what: str) -> str:
    """Return the SHA-256 of all files of a store and their names.

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
        if member.is_symlink():  # rglob does not enter linked folders
            require_member(what, member, store)
    return hash_files(sorted((each.relative_to(store).as_posix(), each) for each in members))


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
        lines += [f"{each.key}\0{each.size}\0{each.tag}\n" for each in listed]
    else:
        lines.append(str(path))
    return hash_text("".join(lines))


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text; names that are not Unicode count as their bytes."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def hash_input(source: str | Path) -> str:
    """Hash all that reading a source depends on, except the axes that a person gives.

    Parameters
    ----------
    source : str or Path
        As for `open_stack`.

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
        return hash_text(f"{hash_store(file, str(source))} {inside.strip('/')}")
    require_file(file, str(source))
    content = hash_file(file)
    return hash_text(f"{content} {inside.strip('/')}") if inside else content
