"""Take the wanted files, and nothing else, out of a zip archive that nobody vouches for."""

import itertools
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sfseg.datasets.dataset import DataFile
from sfseg.errors import FetchError

_MEMBERS = 10_000
_RATIO = 500  # of sizes unpacked to packed; a binary membrane map reaches about 60
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError),
    *(OverflowError, LookupError),
)
_END = struct.Struct("<4s4H2LH")  # of an archive: mark, disks, entries, directory, comment
_LOCAL = struct.Struct("<4s5H3L2H")  # before a member; fields as in the directory
_DESCRIPTORS: tuple[int, ...] = (
    0,
    12,
    16,
    20,
    24,
)  # sizes of what may follow a member that was streamed
_NO_GAP = _DESCRIPTORS[:1]
_STREAMED, _TOLD_ELSEWHERE = 8, 2**32 - 1


def extract(archive: Path, files: Sequence[DataFile], folder: Path) -> None:
    """Extract the files of a dataset that a zip archive has.

    Parameters
    ----------
    archive : Path
        The archive. The files may lie in folders of it.
    files : sequence of DataFile
        What to look for; the names are ours, so nothing is written but ``folder / file.name``.
    folder : Path
        Where to put them.

    Raises
    ------
    FetchError
        If the archive is damaged, or has anything in it that an honest one does not have.
    """
    try:
        with archive.open("rb") as file_, zipfile.ZipFile(file_) as opened:
            members = opened.infolist()
            for complaint in itertools.chain(_complaints(members), _misfits(file_, opened)):
                raise FetchError(f"{archive.name}: expected an honest archive, found {complaint}")
            for file in files:
                for member in _members_of(file, members, archive.name):
                    _unpack(opened, member, folder / file.name)
    except _DAMAGES as error:
        raise FetchError(f"{archive.name}: expected a whole zip archive, found {error}") from error


def _unpack(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member, which `zipfile` compares with its checksum, to a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as packed, target.open("wb") as out:
        shutil.copyfileobj(packed, out)
        if out.tell() != member.file_size:
            raise zipfile.BadZipFile(
                f"{out.tell():,} bytes of {member.orig_filename!r} instead of {member.file_size:,}"
            )


def _members_of(
    file: DataFile, members: Sequence[zipfile.ZipInfo], archive: str
) -> list[zipfile.ZipInfo]:
    """Return the member that is the file, if there is one."""
    tail = PurePosixPath(file.name).parts
    found = [m for m in members if PurePosixPath(m.filename).parts[-len(tail) :] == tail]
    if len(found) > 1:
        raise FetchError(f"{archive}: expected one {file.name}, found {len(found)}")
    for member in found:
        if member.file_size > min(file.limit_bytes, _RATIO * max(1, member.compress_size)):
            raise FetchError(
                f"{archive}: expected about {file.size_bytes:,} bytes of {file.name}, "
                f"found {member.file_size:,} packed into {member.compress_size:,}"
            )
    return found


def _complaints(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Say what an archive has that an honest one does not have."""
    if len(members) > _MEMBERS:
        yield f"{len(members):,} members"
    for member in members:
        name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
        if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name) or "\0" in name:
            yield f"a member called {name!r}"
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{name!r}, which is neither a file nor a folder"
        if member.flag_bits & 1 or member.compress_type not in _METHODS:
            yield f"{name!r}, which is encrypted or packed in an unusual way"
    folded = [_fold(member.orig_filename) for member in members]
    if len(set(folded)) < len(folded):
        yield "two members of one name"


def _fold(name: str) -> str:
    """Return what names have in common that some file systems take for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _misfits(file: BinaryIO, opened: zipfile.ZipFile) -> Iterator[str]:
    """Say where an archive can be read in two ways: each byte must have one meaning.

    Members, directory and end follow each other without a gap from the first byte to the last, and
    what is said before a member is what the directory says of it.
    """
    start = opened.start_dir
    end = file.seek(0, 2) - _END.size - len(opened.comment)
    file.seek(max(0, end))
    mark, *disks, here, entries, length, at, _ = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or any(disks) or not here == entries == len(opened.filelist):
        yield "several disks, or something after its end"
    if at != start or start + length != end:
        yield "something before or between its parts, or more than 4 GiB"
    if b"PK\5\6" in opened.comment:
        yield "another end in its comment"
    place, gaps = 0, _NO_GAP
    for member in sorted(opened.filelist, key=lambda member: member.header_offset):
        if member.header_offset - place not in gaps:
            yield f"a gap or an overlap before {member.orig_filename!r}"
        place, gaps = _measure(file, member)
    if start - place not in gaps:
        yield "a gap or an overlap before its directory"


def _measure(file: BinaryIO, member: zipfile.ZipInfo) -> tuple[int, tuple[int, ...]]:
    """Return where a member ends, and how many bytes may follow it.

    Raises
    ------
    BadZipFile
        If what stands before the member is not what the directory says of it.
    """
    file.seek(member.header_offset)
    mark, _, flags, method, _, _, *told, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    text = file.read(name).decode("utf-8" if flags & 0x800 else "cp437")
    known = (member.CRC, member.compress_size, member.file_size)
    streamed = bool(flags & _STREAMED)
    told_later = {_TOLD_ELSEWHERE, 0} if streamed else {_TOLD_ELSEWHERE}
    same = all(ours in {theirs, *told_later} for ours, theirs in zip(told, known, strict=True))
    if (
        (mark, method, text) != (b"PK\3\4", member.compress_type, member.orig_filename)
        or (flags ^ member.flag_bits) & ~_STREAMED
        or not same
    ):
        raise zipfile.BadZipFile(f"{member.orig_filename!r}, of which it says two things")
    end = member.header_offset + _LOCAL.size + name + extra + member.compress_size
    return end, _DESCRIPTORS if streamed else _NO_GAP
