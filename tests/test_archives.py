import io
import random
import stat
import struct
import warnings
import zipfile

import pytest

from sfseg.catalogue import DataFile
from sfseg.delivery.archives import extract
from sfseg.errors import FetchError

BODY = bytes(range(256)) * 4
WANTED = (DataFile("volume.tif", len(BODY)), DataFile("raw/00.tif", len(BODY)))


def packed(*members, method=zipfile.ZIP_DEFLATED):
    """Pack (name or ZipInfo, body) pairs."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # duplicate names are the point
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def of_kind(name, kind):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o644) << 16
    return info


def overlapping():
    """Two entries of the directory that share one member, as in a quine bomb."""
    data = packed(("volume.tif", BODY), ("other.bin", BODY))
    start = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    return data[: start + 42] + struct.pack("<I", 0) + data[start + 46 :]


def encrypted():
    data = bytearray(packed(("volume.tif", BODY)))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def lying_about_its_size():
    """A bomb whose directory says 1,024 bytes."""
    data = packed(("volume.tif", b"\0" * 50_000_000))
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<I", len(BODY)) + data[at + 4 :]


GOOD = ("volume.tif", BODY)
HOSTILE = {
    "climbs out": packed(GOOD, ("../evil.txt", b"x")),
    "climbs out from within": packed(GOOD, ("a/b/../../../evil.txt", b"x")),
    "climbs out to the wanted name": packed(("../volume.tif", BODY)),
    "climbs out the Windows way": packed(GOOD, ("..\\evil.txt", b"x")),
    "is absolute": packed(GOOD, ("/tmp/evil.txt", b"x")),
    "is absolute and wanted": packed(("/volume.tif", BODY)),
    "has a drive": packed(GOOD, ("C:/evil.txt", b"x")),
    "is a network path": packed(GOOD, ("\\\\host\\evil.txt", b"x")),
    "is a symlink": packed((of_kind("volume.tif", stat.S_IFLNK), b"/etc/passwd")),
    "has a symlink": packed(GOOD, (of_kind("link", stat.S_IFLNK), b"/etc")),
    "is a device": packed((of_kind("volume.tif", stat.S_IFCHR), b"")),
    "has a block device": packed(GOOD, (of_kind("disk", stat.S_IFBLK), b"")),
    "has a pipe": packed(GOOD, (of_kind("pipe", stat.S_IFIFO), b"")),
    "has a socket": packed(GOOD, (of_kind("socket", stat.S_IFSOCK), b"")),
    "has one name twice": packed(GOOD, ("volume.tif", b"other")),
    "has the file in two folders": packed(GOOD, ("copy/volume.tif", BODY)),
    "has names that differ in case": packed(GOOD, ("Volume.TIF", BODY)),
    "has members that overlap": overlapping(),
    "is a bomb": packed(("volume.tif", b"\0" * 50_000_000)),
    "is a bomb within the size": packed(("volume.tif", b"\0" * 1_000_000)),
    "lies about its size": lying_about_its_size(),
    "is encrypted": encrypted(),
    "is packed with lzma": packed(GOOD, method=zipfile.ZIP_LZMA),
    "has 20,000 members": packed(GOOD, *((f"{n}", b"") for n in range(20_000))),
    "is cut short": packed(GOOD)[:-30],
    "has a damaged body": packed(GOOD, method=zipfile.ZIP_STORED).replace(b"ABC", b"XYZ"),
    "is no archive": b"<html>not found</html>",
    "is empty": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_is_refused_that(what, tmp_path):
    archive, folder = tmp_path / "a.zip", tmp_path / "deep" / "staging"
    archive.write_bytes(HOSTILE[what])
    folder.mkdir(parents=True)
    with pytest.raises(FetchError):
        extract(archive, WANTED, folder)
    outside = {path for path in tmp_path.rglob("*") if folder not in (path, *path.parents)}
    assert outside == {archive, folder.parent}
    assert all(path.stat().st_size <= WANTED[0].limit_bytes for path in folder.rglob("*"))


def test_an_honest_archive_gives_the_wanted_files_and_nothing_else(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(
        packed(
            ("challenge/", b""),
            ("challenge/volume.tif", BODY),
            ("challenge/raw/00.tif", BODY[::-1]),
            ("challenge/other/00.tif", b"of another folder"),
            ("__MACOSX/challenge/._volume.tif", b"x"),
            ("challenge/setup.py", b"x"),
        )
    )
    extract(archive, WANTED, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"volume.tif", "raw/00.tif"}
    assert (tmp_path / "out/raw/00.tif").read_bytes() == BODY[::-1]


def test_a_mutated_archive_gives_the_right_bytes_or_one_known_error(tmp_path):
    archive, rng = tmp_path / "a.zip", random.Random(0)
    whole = packed(("x/volume.tif", BODY), ("x/raw/00.tif", BODY))
    for number in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        archive.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            extract(archive, WANTED, tmp_path / f"{number}")
        except FetchError:
            continue
        assert all(p.read_bytes() == BODY for p in (tmp_path / f"{number}").rglob("*.tif"))
