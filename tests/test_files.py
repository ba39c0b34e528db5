import pytest

from sfseg.errors import OutputExistsError
from sfseg.files import atomic_path, beside, refuse_existing, remove, settle, write_text


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


def make_store(path, text="store", **options):
    with atomic_path(path, **options) as part:
        part.mkdir()
        (part / "zarr.json").write_text(text)


def test_a_store_is_replaced_as_a_whole_and_only_when_asked(tmp_path):
    store = tmp_path / "a.zarr"
    make_store(store)
    (store / "0").mkdir()
    with pytest.raises(OutputExistsError, match="expected no store yet, found one"):
        make_store(store)
    make_store(store, "new", overwrite=True)
    assert [path.name for path in store.iterdir()] == ["zarr.json"]
    assert (store / "zarr.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_store_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    store = tmp_path / "a.zarr"
    make_store(store)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(PermissionError):
        make_store(store, "new", overwrite=True)
    assert (store / "zarr.json").read_text() == "store"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("mark", ["zarr.json", ".zgroup", ".zarray", ".zattrs", "thesis.txt"])
def test_what_has_the_name_of_a_store_and_is_none_is_never_replaced(mark, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / mark).touch()
    (tmp_path / "b.zarr").touch()
    if mark != "thesis.txt":
        refuse_existing(tmp_path / "a.zarr", overwrite=True)
        (tmp_path / "a.zarr" / mark).unlink()
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(OutputExistsError, match="expected a Zarr store to replace"):
            refuse_existing(tmp_path / name, overwrite=True)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_replacement_that_was_killed_halfway_is_taken_back_or_completed(renamed, tmp_path):
    store = tmp_path / "a.zarr"
    beside(store, "part.old").mkdir()
    if renamed:
        store.mkdir()
        (store / "new").touch()
    settle(store)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert (store / "new").exists() == renamed


def test_removing_a_link_leaves_what_it_points_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
