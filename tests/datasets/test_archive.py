"""Archives: hostile ones are refused, honest ones give the wanted files."""

import pytest

from sfseg.datasets import archive as archives
from sfseg.datasets.archive import extract
from sfseg.datasets.dataset import DataFile
from sfseg.errors import FetchError
from tests.trust.zips import BROKEN, GOOD, HONEST, HOSTILE, WANTED, mutated, packed

SOUND = ("is a bomb of bombs", "is only an end")  # refused for what is in them, or is not
BODY = b"pixels"
REFUSED = r"archive is (damaged|not safe to unpack): \S|is too large: \d|are called \S"


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", [what for what in HOSTILE | BROKEN if what not in SOUND])
def test_an_archive_is_refused_that(what, tmp_path):
    archive, folder = tmp_path / "a.zip", tmp_path / "deep" / "staging"
    archive.write_bytes((HOSTILE | BROKEN)[what]())
    folder.mkdir(parents=True)
    with pytest.raises(
        FetchError,
        match=REFUSED,
    ):
        extract(archive, WANTED, folder)
    outside = {path for path in tmp_path.rglob("*") if folder not in (path, *path.parents)}
    assert outside == {archive, folder.parent}
    assert all(path.stat().st_size <= WANTED[0].limit_bytes for path in folder.rglob("*"))


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_but_the_checks_stands_against_an_archive_that(what, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_complaints", lambda *_: ())
    monkeypatch.setattr(archives, "_misfits", lambda *_: ())
    (tmp_path / "a.zip").write_bytes(HOSTILE[what]())
    extract(tmp_path / "a.zip", WANTED, tmp_path / "out")
    assert files(tmp_path / "out") == dict(GOOD)


def test_of_a_bomb_of_bombs_the_outermost_is_opened(tmp_path):
    (tmp_path / "a.zip").write_bytes(BROKEN["is a bomb of bombs"]())
    extract(tmp_path / "a.zip", WANTED, tmp_path / "out")
    assert files(tmp_path / "out").keys() == dict(GOOD).keys()
    assert (tmp_path / "out" / "volume.tif").stat().st_size <= WANTED[0].limit_bytes


@pytest.mark.parametrize("what", HONEST)
def test_an_archive_is_good_that(what, tmp_path):
    (tmp_path / "a.zip").write_bytes(HONEST[what]())
    extract(tmp_path / "a.zip", WANTED, tmp_path / "out")
    assert files(tmp_path / "out") == dict(GOOD)


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
    wanted = [DataFile(name, len(BODY)) for name in ("volume.tif", "raw/00.tif")]
    extract(archive, wanted, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"volume.tif", "raw/00.tif"}
    assert (tmp_path / "out/raw/00.tif").read_bytes() == BODY[::-1]


def test_a_mutated_archive_gives_the_right_bytes_or_one_known_error(tmp_path):
    archive = tmp_path / "a.zip"
    for number in range(400):
        archive.write_bytes(mutated(number))
        try:
            extract(archive, WANTED, tmp_path / f"{number}")
        except FetchError:
            continue
        assert files(tmp_path / f"{number}").items() <= dict(GOOD).items()
