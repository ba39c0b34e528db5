import pytest

from sfseg.errors import OutputExistsError
from sfseg.files import atomic_path, write_text


def test_a_file_appears_whole_and_nothing_else_stays(tmp_path):
    with atomic_path(tmp_path / "new" / "a.txt") as part:
        part.write_text("whole")
        assert part.name == "a.txt.part"
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


def fail_halfway(path, **options):
    with atomic_path(path, **options) as part:
        part.write_text("half")
        raise KeyboardInterrupt


def test_a_failure_leaves_neither_the_file_nor_its_part_nor_new_folders(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("a.txt", "new/newer/a.txt", "old/new/a.txt"):
        with pytest.raises(KeyboardInterrupt):
            fail_halfway(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_a_failure_leaves_the_previous_file_intact(tmp_path):
    write_text(tmp_path / "a.txt", "previous")
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(tmp_path / "a.txt", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "previous"


def test_an_existing_file_is_replaced_only_when_asked(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_text(tmp_path / "a.txt", "two")
    write_text(tmp_path / "a.txt", "two", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "two"


def test_a_file_that_came_in_the_meantime_is_kept(tmp_path):
    def write_while_another_does(path):
        with atomic_path(path) as part:
            part.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(OutputExistsError):
        write_while_another_does(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "theirs"


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(OutputExistsError, match="found a folder"):
        write_text(tmp_path, "x", overwrite=True)


def test_a_block_that_writes_nothing_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []
