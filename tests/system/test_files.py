"""Files and folders are whole or not there, and errors of writing name the reason."""

import ast
import errno
import os
import re
import stat
from pathlib import Path

import pytest

import sfseg
from sfseg.errors import OutputError, OutputExistsError, SfsegWarning
from sfseg.system import locks
from sfseg.system.files import (
    atomic_path,
    check_output_path,
    ensure_parent,
    explain_errors,
    read_json,
    recover,
    refuse_file_as_folder,
    remove,
    sibling,
    write_text,
)

ROOT = Path(sfseg.__file__).parent


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
    with pytest.raises(OutputExistsError, match="this is a folder, the output is a file"):
        write_text(tmp_path, "x", overwrite=True)


def test_a_block_that_writes_nothing_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError), atomic_path(tmp_path / "a.txt"):
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
    with pytest.raises(OutputExistsError, match=r"a\.zarr exists already\nhint: .*--overwrite"):
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


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mark", ["zarr.json", ".zgroup", ".zarray", ".zattrs", "thesis.txt"])
def test_what_has_the_name_of_a_store_and_is_none_is_never_replaced(mark, overwrite, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / mark).touch()
    (tmp_path / "b.zarr").touch()
    if mark != "thesis.txt":
        check_output_path(tmp_path / "a.zarr", overwrite=True)
        (tmp_path / "a.zarr" / mark).unlink()
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(OutputExistsError, match="not replaced, because this is no Zarr store"):
            check_output_path(tmp_path / name, overwrite=overwrite)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_replacement_that_was_killed_halfway_is_taken_back_or_completed(renamed, tmp_path):
    store = tmp_path / "a.zarr"
    sibling(store, "part.old").mkdir()
    if renamed:
        store.mkdir()
        (store / "new").touch()
    recover(store)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert (store / "new").exists() == renamed


def test_removing_a_link_leaves_what_it_points_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_has_half_written_is_replaced_be_it_a_file_or_a_folder(tmp_path):
    sibling(tmp_path / "a.txt", "part").mkdir()
    (sibling(tmp_path / "a.txt", "part") / "0").touch()
    write_text(tmp_path / "a.txt", "whole")
    make_store(tmp_path / "a.zarr")
    (tmp_path / "b.zarr.part").touch()
    make_store(tmp_path / "b.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "a.zarr", "b.zarr"]


# --- what is said when the system does not write


@pytest.mark.parametrize(
    ("number", "reason", "hint"),
    [
        (errno.ENOSPC, "disk full", "free some space"),
        (errno.EDQUOT, "disk quota used up", "free some space"),
        (errno.EACCES, "no permission", "where you may write"),
        (errno.EROFS, "read-only disk", "where you may write"),
        (errno.ENOENT, "its folder is gone", "removed or renamed"),
        (errno.ENOTDIR, "a file is in the way", "another place"),
        (errno.ENAMETOOLONG, "name too long", "shorter name"),
        (errno.EIO, os.strerror(errno.EIO), "check the disk"),
    ],
)
def test_each_reason_why_a_file_cannot_be_written_comes_with_what_helps(
    number, reason, hint, tmp_path, monkeypatch
):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.txt"
    path.write_text("previous")
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OutputError, match=hint) as caught:
        write_text(path, "new", overwrite=True)
    assert caught.value.message == f"{path}: cannot be written: {reason}"
    assert caught.value.errno == number
    assert [p.read_text() for p in tmp_path.iterdir()] == ["previous"]


def test_an_error_about_another_file_or_of_sfseg_passes_unchanged(tmp_path):
    for error in (FileNotFoundError(errno.ENOENT, "no", "elsewhere.tif"), OutputExistsError("x")):
        with pytest.raises(type(error)) as caught, explain_errors(tmp_path / "a.txt"):
            raise error
        assert caught.value is error


def test_a_folder_that_vanishes_while_it_is_written_to_is_an_output_error(tmp_path):
    def write_while_it_vanishes():
        with atomic_path(tmp_path / "new" / "a.txt") as part:
            part.write_text("whole")
            remove(part.parent)

    with pytest.raises(OutputError, match=r"a\.txt: cannot be written: .*\nhint: check whether"):
        write_while_it_vanishes()


def test_a_name_that_leaves_no_room_for_what_lies_beside_it_is_refused_at_once(tmp_path):
    check_output_path(tmp_path / ("n" * 232 + ".tif"), overwrite=False)
    with pytest.raises(
        OutputError, match=r"too long: 237 bytes, at most 236 .*\nhint: .*\.part\.manifest"
    ):
        check_output_path(tmp_path / ("n" * 233 + ".tif"), overwrite=False)
    with pytest.raises(OutputError, match="too long: 246 bytes"):
        check_output_path(tmp_path / ("\u00e4" * 121 + ".tif"), overwrite=False)


def test_a_file_in_the_place_of_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file is in the way"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with (
        pytest.raises(OutputError, match="a file is in the way"),
        ensure_parent(tmp_path / "file/b/c"),
    ):
        pass


def test_a_link_that_leads_nowhere_is_a_taken_output(tmp_path):
    link = tmp_path / "map.tif"
    link.symlink_to(tmp_path / "gone.tif")
    with pytest.raises(OutputExistsError, match=r"map\.tif exists already"):
        check_output_path(link, overwrite=False)
    write_text(link, "whole", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]
    assert not link.is_symlink()


def test_a_link_that_leads_nowhere_is_no_folder_for_outputs(tmp_path):
    (tmp_path / "maps").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputExistsError, match="a broken link"):
        refuse_file_as_folder(tmp_path / "maps")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "]" * 100_000, '{"a":' * 100 + "1" + "}" * 100, "{", "\xff", "1" * 9999],
)
def test_deep_or_damaged_json_is_one_kind_of_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError):  # noqa: PT011 - of the parser, in its words
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"ü": [[1], {"b": 2}]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"ü": [[1], {"b": 2}]}


# --- locks


def test_a_lock_of_another_user_that_may_only_be_read_is_taken_over(tmp_path, monkeypatch):
    real = os.open

    def open_to_read(path, flags, *mode):
        if flags & os.O_WRONLY:
            raise PermissionError(errno.EACCES, "denied", str(path))
        return real(path, flags, *mode)

    (tmp_path / "a.lock").touch()
    monkeypatch.setattr(os, "open", open_to_read)
    with locks.exclusive(tmp_path / "a.lock", waiting=pytest.fail):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="where you may write"):
        locks.exclusive(tmp_path / "a.lock", waiting=pytest.fail).__enter__()


def test_a_lock_does_not_follow_links(tmp_path):
    for target in ("mine.txt", "missing.txt"):
        (tmp_path / "mine.txt").write_text("mine")
        (tmp_path / "a.lock").symlink_to(tmp_path / target)
        with pytest.raises(OutputExistsError, match=r"a\.lock: this is a link.*\nhint: remove"):
            locks.exclusive(tmp_path / "a.lock", waiting=pytest.fail).__enter__()
        (tmp_path / "a.lock").unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture
def refused_calls(monkeypatch):
    """Let `fcntl.flock`, and `os.fsync` of a folder, fail with these error numbers."""

    def refuse(flock, fsync):
        def no_flock(*_):
            raise OSError(flock, os.strerror(flock))

        def no_fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(fsync, os.strerror(fsync))

        locks._warn_without_locks.cache_clear()
        monkeypatch.setattr("fcntl.flock", no_flock)
        monkeypatch.setattr(os, "fsync", no_fsync)

    yield refuse
    locks._warn_without_locks.cache_clear()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_without_locks_the_work_goes_on_after_one_warning(number, tmp_path, refused_calls):
    refused_calls(number, errno.EINVAL)
    with (
        pytest.warns(SfsegWarning, match="no locks") as told,
        locks.exclusive(tmp_path / "a.lock", waiting=pytest.fail),
        locks.only_one(tmp_path / "run" / "b.lock", "training run"),
    ):
        assert (tmp_path / "run" / "b.lock").exists()
    assert len(told) == 1
    assert list(tmp_path.rglob("*.lock")) == []


def test_a_disk_that_fails_to_lock_is_an_error_and_leaves_no_lock(tmp_path, refused_calls):
    refused_calls(errno.EIO, errno.EINVAL)
    with pytest.raises(OutputError, match="cannot be written"):
        locks.exclusive(tmp_path / "a.lock", waiting=pytest.fail).__enter__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])
def test_a_folder_that_cannot_be_flushed_is_no_error(number, tmp_path, refused_calls):
    refused_calls(errno.ENOSYS, number)
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_folder_that_fails_is_an_error(tmp_path, refused_calls):
    refused_calls(errno.ENOSYS, errno.EIO)
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "a.txt", "whole")


# --- nobody else writes

WRITERS = {
    "system/files.py": "the way to write",
    "system/locks.py": "an empty file, that nothing is read from",
    "prediction/manifest.py": "a manifest that only grows, and is flushed line by line",
    "io/tiff/writer.py": "into a part that `open_resumable` or `atomic_path` flushes and renames",
    "io/flat.py": "into such a part: the pixels of a TIFF or MRC",
    "io/mrc/writer.py": "into such a part",
    "io/zarr/writer.py": "into such a part, and each file is flushed and renamed on its own",
    "segmentation/measure.py": "into parts that `atomic_path` flushes and renames",
    "datasets/archive.py": "into the staging folder, whose files are flushed before they move",
    "datasets/download.py": "into the staging folder",
    "datasets/manifest.py": "into the staging folder",
    "datasets/staging.py": "into the staging folder",
    "segmentation/store.py": "a draft of its own for each process, renamed later",
}
"""Modules that write otherwise than by `files.atomic_path`, and why they may."""

WRITING = {"write_text", "write_bytes", "touch", "imwrite", "TiffWriter", "copyfile"}
BY_LIBRARIES = {"save_file": "staging / path.name", "savefig": "part"}
"""Functions of libraries that write to a path, and the argument that each must get."""


def calls(*, keywords=False):
    """Give every call in sfseg: its file, its owner, its name, its arguments, perhaps keywords."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                owner, _, name = ast.unparse(node.func).rpartition(".")
                arguments = [ast.unparse(argument) for argument in node.args]
                named = ([keyword.arg for keyword in node.keywords],) if keywords else ()
                yield path.relative_to(ROOT).as_posix(), owner, name, arguments, *named


def is_mode_to_write(argument):
    return re.fullmatch(r"'[rwaxbt+]*[wax+][rwaxbt+]*'", argument) is not None


def test_every_file_goes_through_one_way_to_write():
    found = {
        path
        for path, owner, name, arguments in calls()
        if (name == "open" and any(map(is_mode_to_write, arguments)))
        or (name in WRITING and owner != "files" and arguments[:1] != ["'<bytes>'"])  # to memory
    }
    assert found == WRITERS.keys()


def test_text_is_read_and_written_as_utf_8_everywhere():
    """Else the encoding is that of the machine; see PYTHONWARNDEFAULTENCODING."""
    without = [
        (path, name)
        for path, owner, name, arguments, keywords in calls(keywords=True)
        if name in ("read_text", "write_text") and owner != "files" and "encoding" not in keywords
    ]
    assert without == []


def test_libraries_write_to_a_part_that_is_flushed_and_renamed_later():
    found = {name: arguments for _, _, name, arguments in calls() if name in BY_LIBRARIES}
    assert found.keys() == BY_LIBRARIES.keys()
    for _, _, name, arguments in calls():
        if name in BY_LIBRARIES:
            assert BY_LIBRARIES[name] in arguments
