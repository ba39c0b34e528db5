import builtins
import contextlib
import errno
import inspect
import itertools
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
from concurrent.futures import Future
from subprocess import PIPE

import pytest

from sfseg.errors import OutputExistsError, ResumeError, SfsegError, StackError
from sfseg.prediction.destination import touched_paths
from sfseg.prediction.resumable import open_resumable
from sfseg.system import files
from tests.forks import forked
from tests.processes import end

IDENTITY = {"input": {"sha256": "ab" * 32, "voxel_size_nm": [math.nan, 4.0, 4.0]}, "tta": False}
UNKNOWN = IDENTITY | {"input": IDENTITY["input"] | {"sha256": None}}
"""The identity before the hash of the input is known."""


def make(path, identity, pieces=6, begun=None, **options):
    """Make a file of a few bytes, or a folder of as many files."""
    with open_resumable(path, identity, **options) as work:
        if begun is not None:
            begun.append(work)
        if work.starts_empty and path.suffix == ".zarr":
            work.part.mkdir()
            (work.part / "zarr.json").write_bytes(b"{}")
        elif work.starts_empty:
            work.part.write_bytes(bytes(pieces))
        for piece in [] if work.complete else sorted(set(range(pieces)) - set(work.finished)):
            if path.suffix == ".zarr":
                (work.part / f"{piece}").write_bytes(bytes([piece + 1]))
            else:
                with work.part.open("r+b") as file:
                    file.seek(piece)
                    file.write(bytes([piece + 1]))
            work.mark(piece, {"sum": piece + 1})
            if piece % 2:
                files.sync_tree(work.part)
                work.sync()


def content(path):
    if path.is_dir():
        return {inner.name: inner.read_bytes() for inner in path.iterdir()}
    return path.read_bytes() if path.exists() else None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def is_made(path, pieces=6):
    values = {f"{piece}": bytes([piece + 1]) for piece in range(pieces)}
    whole = {"zarr.json": b"{}", **values} if ".zarr" in path.name else b"".join(values.values())
    return content(path) == whole


def known(sha256):
    """A hash that is there already."""
    hashed = Future()
    hashed.set_result(sha256)
    return hashed


def stop(path, after=4, error=KeyboardInterrupt, identity=IDENTITY, **options):
    """Stop the making of `path` before a piece; return the work."""

    with contextlib.suppress(error), open_resumable(path, identity, **options) as work:
        work.part.write_bytes(bytes(6))
        for piece in range(after):
            with work.part.open("r+b") as file:
                file.seek(piece)
                file.write(bytes([piece + 1]))
            work.mark(piece, {"sum": piece + 1})
        raise error("stopped")
    return work


@pytest.fixture(params=["out.tif", "out.zarr"])
def path(request, tmp_path):
    return tmp_path / "new" / request.param


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out.tif"


def test_an_output_appears_whole_and_nothing_else_stays(path):
    make(path, IDENTITY)
    assert is_made(path)
    assert names(path.parent) == [path.name]


def test_all_temporary_files_of_an_output_are_named(path, monkeypatch):
    def spy(*arguments):
        used.add(sibling(*arguments))
        return sibling(*arguments)

    used, sibling = set(), files.sibling
    monkeypatch.setattr(files, "sibling", spy)
    for _ in range(2):  # to replace one takes more names
        with open_resumable(path, IDENTITY, overwrite=True) as work:
            if path.suffix == ".zarr":
                work.part.mkdir()
                (work.part / "zarr.json").write_bytes(b"{}")
            else:
                work.part.touch()
            work.record = "{}"
    monkeypatch.undo()
    assert used == set(touched_paths(path)) - {path}


def test_a_stopped_run_continues_after_the_tiles_that_were_marked(out):
    stopped = stop(out)
    assert stopped.can_resume
    assert names(out.parent) == ["out.tif.part", "out.tif.part.manifest"]
    begun = []
    make(out, IDENTITY, begun=begun, resume=True)
    assert not begun[0].starts_empty
    assert {piece: begun[0].finished[piece] for piece in range(4)} == stopped.finished
    assert is_made(out)
    assert names(out.parent) == ["out.tif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, MemoryError, ValueError])
def test_finished_tiles_are_kept_unless_the_input_is_to_blame(error, out):
    assert stop(out, error=error).can_resume
    assert not stop(out, error=StackError).can_resume
    assert not out.parent.exists() or names(out.parent) == []


def test_an_error_in_a_resumed_run_loses_no_tile_of_the_earlier_run(out):
    stop(out)
    with pytest.raises(StackError), open_resumable(out, IDENTITY, resume=True) as work:
        raise StackError("no such device")
    assert work.can_resume
    make(out, IDENTITY, resume=True)
    assert is_made(out)
    assert names(out.parent) == ["out.tif"]


def test_bad_input_leaves_nothing_behind_even_if_its_error_is_an_oserror(out):
    class BothError(SfsegError, OSError):
        pass

    assert not stop(out, error=BothError).can_resume
    assert not out.parent.exists()


def test_a_run_stopped_before_its_first_tile_leaves_nothing_behind(out):
    assert not stop(out, after=0).can_resume
    assert not out.parent.exists()


def test_without_resume_the_leftovers_of_a_stopped_run_are_removed(out):
    stop(out)
    begun = []
    make(out, {"other": 1}, begun=begun)
    assert begun[0].starts_empty
    assert is_made(out)
    assert names(out.parent) == ["out.tif"]


def test_resume_starts_from_the_beginning_where_there_is_nothing_to_resume(out):
    begun = []
    make(out, IDENTITY, begun=begun, resume=True)
    assert begun[0].starts_empty
    out.unlink()
    stop(out)
    files.sibling(out, "part").unlink()
    make(out, {"other": 1}, begun=begun, resume=True)
    assert begun[1].starts_empty
    assert begun[1].identity == {"other": 1}
    assert is_made(out)


def test_a_part_without_a_manifest_is_not_trusted(out):
    stop(out)
    files.sibling(out, "part.manifest").unlink()
    begun = []
    make(out, IDENTITY, begun=begun, resume=True)
    assert begun[0].starts_empty
    assert is_made(out)


def test_resuming_another_run_is_refused_and_every_difference_named(out):
    stop(out)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    now = {"input": {"sha256": "cd" * 32, "voxel_size_nm": None}, "model": {"name": "unet"}}
    with pytest.raises(ResumeError) as caught:
        make(out, now, resume=True)
    assert str(caught.value).splitlines() == [
        f"{out}: the interrupted run had other input or options:",
        '  input.sha256: "abababababab" -> "cdcdcdcdcdcd"',
        "  input.voxel_size_nm: [NaN, 4.0, 4.0] -> null",
        "  tta: false -> nothing",
        '  model.name: nothing -> "unet"',
        "hint: run without --resume to start again",
    ]
    assert isinstance(caught.value, ValueError)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("was", "now"),
    [({"a": {}}, {}), ({"a": 1}, {"a": True}), ({"a": {"b": 1}}, {"a": {"b": {"c": 1}}})],
)
def test_small_differences_are_differences(was, now, out):
    with contextlib.suppress(KeyboardInterrupt), open_resumable(out, was) as work:
        work.part.touch()
        work.mark(0, {})
        raise KeyboardInterrupt
    with pytest.raises(ResumeError):
        make(out, now, resume=True)


def test_resolved_choices_may_differ_and_are_those_of_the_first_run(out):
    with (
        contextlib.suppress(KeyboardInterrupt),
        open_resumable(out, {"tta": True, "resolved": {"engine": "eager", "tile": (1, 2)}}) as work,
    ):
        work.part.touch()
        work.mark(0, {})
        raise KeyboardInterrupt
    with open_resumable(
        out, {"tta": True, "resolved": {"engine": "compiled"}}, resume=True
    ) as work:
        assert work.identity["resolved"] == {"engine": "eager", "tile": [1, 2]}


def test_facts_come_back_as_json_has_them_and_others_are_refused_at_once(out):
    with open_resumable(out, IDENTITY) as work:
        work.part.touch()
        work.mark(3, {"mean": 0.1, "shape": (1, 2)})
        assert work.finished == {3: {"mean": 0.1, "shape": [1, 2]}}
        with pytest.raises(TypeError):
            work.mark(4, {"pixels": b"1"})
        assert work.finished.keys() == {3}


def test_a_manifest_cut_short_anywhere_is_resumed_or_refused(out):
    stop(out)
    stopped = {path: path.read_bytes() for path in out.parent.iterdir()}
    manifest = files.sibling(out, "part.manifest")
    whole = stopped[manifest]
    cuts = [whole[:size] for size in range(len(whole) + 1)]
    cuts += [cut + bytes(600) for cut in cuts if cut.endswith(b"\n")]  # as a power cut leaves it
    for cut in cuts:
        out.unlink(missing_ok=True)
        for path, data in {**stopped, manifest: cut}.items():
            path.write_bytes(data)
        with Faults(None, 0):
            if b"\n" not in cut:
                with pytest.raises(ResumeError, match=r"line 1 is damaged.*\nhint: run without"):
                    make(out, IDENTITY, resume=True)
            make(out, IDENTITY, resume=b"\n" in cut)
        assert is_made(out)
        assert names(out.parent) == ["out.tif"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "7",
        "[" * 100_000,
        '{"piece": "1", "facts": {}}',
        '{"piece": 1}',
        '{"schema": 1, "identity": {}}',
    ],
)
def test_damage_before_the_end_of_a_manifest_is_refused_with_its_place(line, out):
    stop(out)
    manifest = files.sibling(out, "part.manifest")
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines[:2], line, *lines[2:], ""]))
    with pytest.raises(ResumeError, match="line 3 is damaged"):
        make(out, IDENTITY, resume=True)


def test_a_manifest_of_another_schema_is_refused(out):
    stop(out)
    manifest = files.sibling(out, "part.manifest")
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(ResumeError, match="line 1 is damaged, or from another version"):
        make(out, IDENTITY, resume=True)


def test_an_existing_output_is_replaced_only_when_asked(path):
    make(path, IDENTITY, pieces=3)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make(path, IDENTITY)
    assert is_made(path, 3)
    make(path, IDENTITY, overwrite=True)
    assert is_made(path)
    assert names(path.parent) == [path.name]


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path):
    store = tmp_path / "out.zarr"
    store.mkdir()
    (store / "thesis.txt").touch()
    for folder in (store, tmp_path):
        with pytest.raises(OutputExistsError):
            make(folder, IDENTITY, overwrite=True)
    assert names(tmp_path) == ["out.zarr"]
    assert names(store) == ["thesis.txt"]


def test_an_output_that_appeared_meanwhile_is_kept_and_so_is_the_work(out):
    def run():
        with open_resumable(out, IDENTITY) as work:
            begun.append(work)
            work.part.write_bytes(bytes([1, 2, 3, 4, 5, 6]))
            for piece in range(6):
                work.mark(piece, {})
            out.write_text("theirs")

    begun = []
    with pytest.raises(OutputExistsError):
        run()
    assert out.read_text() == "theirs"
    assert begun[0].can_resume
    with pytest.raises(OutputExistsError):
        make(out, IDENTITY, resume=True)
    make(out, IDENTITY, resume=True, overwrite=True, begun=begun)
    assert begun[1].finished.keys() == set(range(6))
    assert is_made(out)
    assert names(out.parent) == ["out.tif"]


def test_an_old_output_is_not_taken_for_the_new_one(out):
    make(out, IDENTITY, pieces=3)
    stop(out, overwrite=True)
    files.sibling(out, "part").unlink()
    begun = []
    make(out, IDENTITY, begun=begun, resume=True, overwrite=True)
    assert not begun[0].complete
    assert is_made(out)


def test_nothing_is_recorded_before_the_part_is_flushed(monkeypatch, out):
    flushed, fsync = [], os.fsync

    def noting(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    work = stop(out, after=2)  # the inodes stay while it goes on
    part, manifest = work.part.stat().st_ino, files.sibling(out, "part.manifest").stat().st_ino
    monkeypatch.setattr(os, "fsync", noting)
    with contextlib.suppress(OSError), open_resumable(out, IDENTITY, resume=True) as work:
        work.mark(2, {})
        raise OSError
    assert flushed == [part, manifest]
    make(out, IDENTITY, resume=True)
    assert flushed[2:].index(part) < flushed[2:].index(manifest)
    assert flushed[-1] == out.parent.stat().st_ino


def test_no_tile_is_recorded_before_the_hash_of_the_input(out):
    hashed, manifest = Future(), files.sibling(out, "part.manifest")
    with open_resumable(out, UNKNOWN, hashed=hashed) as work:
        work.part.touch()
        work.mark(0, {})
        work.sync()
        assert manifest.read_text().count("\n") == 1
        hashed.set_result(IDENTITY["input"]["sha256"])
        work.sync()
        assert [list(json.loads(line)) for line in manifest.read_text().splitlines()[1:]] == [
            ["input_sha256"],
            ["piece", "facts"],
        ]
        assert work.identity["input"]["sha256"] == IDENTITY["input"]["sha256"]


def test_a_run_killed_before_the_hash_was_known_starts_again(out, tmp_path):
    with (
        contextlib.suppress(KeyboardInterrupt),
        open_resumable(out, UNKNOWN, hashed=Future()) as work,
    ):
        work.part.touch()
        work.mark(0, {})
        work.sync()
        shutil.copytree(out.parent, tmp_path / "killed")  # as it would lie there
        raise KeyboardInterrupt
    assert not work.can_resume
    assert not out.parent.exists()
    killed = tmp_path / "killed" / out.name
    assert files.sibling(killed, "part.manifest").exists()
    make(killed, IDENTITY, resume=True)
    assert is_made(killed)


@pytest.mark.parametrize("sha256", ["ab" * 32, "cd" * 32], ids=["the same", "another"])
def test_a_resumed_run_waits_for_the_hash_and_compares_it(out, sha256):
    stop(out, identity=UNKNOWN, hashed=known("ab" * 32))
    if sha256 == IDENTITY["input"]["sha256"]:
        make(out, UNKNOWN, hashed=known(sha256), resume=True)
        assert is_made(out)
    else:
        with pytest.raises(ResumeError, match=r"input\.sha256: \S*abab\S* -> \S*cdcd"):
            make(out, UNKNOWN, hashed=known(sha256), resume=True)


def test_an_input_that_cannot_be_hashed_leaves_nothing(out):
    hashed = Future()
    hashed.set_exception(StackError("a link out of the store", hint="copy it"))
    with pytest.raises(StackError, match="a link out"):
        make(out, UNKNOWN, hashed=hashed)
    assert not out.parent.exists() or names(out.parent) == []


class KilledError(BaseException):
    """Stands for SIGKILL: nothing that follows has an effect."""


class Faults:
    """Let the n-th call that changes the disk fail; a kill is one after which all of them do."""

    CALLS = (
        *((os, name) for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")),
        (pathlib.Path, "open"),
        (builtins, "open"),
    )

    def __init__(self, error, number):
        self.error, self.number, self.count = error, number, 0

    def __enter__(self):
        self._patches = pytest.MonkeyPatch()
        for owner, name in self.CALLS:
            self._patches.setattr(owner, name, self._wrapped(getattr(owner, name)))
        return self

    def __exit__(self, *_):
        self._patches.undo()

    def _wrapped(self, function):
        def call(*arguments, **options):
            self.count += 1
            killed = isinstance(self.error, KilledError) and self.count > self.number
            if self.count == self.number or killed:
                raise self.error
            if function is not FSYNC:  # the disk is not what is tested
                return function(*arguments, **options)
            return None

        return call


FSYNC = os.fsync
FULL = OSError(errno.ENOSPC, "no space left on device")


@pytest.mark.parametrize("resume", [True, False], ids=["resume", "restart"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("error", [KilledError(), FULL, KeyboardInterrupt()], ids=type)
def test_stopped_at_any_call_the_next_run_finishes(error, existing, resume, path):
    for number in itertools.count(1):
        begun = []
        with Faults(None, 0):
            files.remove(path.parent)
            if existing:
                make(path, IDENTITY, pieces=3)
        with Faults(error, number) as faults, contextlib.suppress(type(error)):
            make(path, IDENTITY, begun=begun, overwrite=existing)
        if faults.count < number:
            break
        if isinstance(error, KilledError):
            there = [place for place in (path, files.sibling(path, "part.old")) if place.exists()]
            assert bool(there) >= existing
            assert all(is_made(place) or is_made(place, 3) for place in there[:1])
        else:
            assert_nothing_lost(path, existing, begun)
        with Faults(None, 0):
            finish(path, resume=resume, overwrite=existing)
        assert is_made(path), number
        assert names(path.parent) == [path.name], number
    assert number > 30


def assert_nothing_lost(path, existing, begun):
    """Whatever the error was: the output is an old or new one, and what is kept can be resumed."""
    assert is_made(path) or (is_made(path, 3) if existing else not path.exists())
    kept = bool(begun) and begun[0].can_resume
    assert kept == files.sibling(path, "part.manifest").exists()
    stray = set(names(path.parent)) - {path.name} if path.parent.exists() else set()
    assert kept or stray <= {f"{path.name}.part.lock"}


def finish(path, *, resume, overwrite):
    """Make what is not made yet, as a user would who runs the same command again."""
    try:
        make(path, IDENTITY, resume=resume, overwrite=overwrite)
    except OutputExistsError:  # the last run was stopped with everything done
        assert is_made(path)
        assert not overwrite
        make(path, IDENTITY, overwrite=True)


CHILD = f"""
import os, signal, sys
from pathlib import Path
from sfseg.system import files
from concurrent.futures import Future
from sfseg.prediction.resumable import open_resumable
{inspect.getsource(make)}
{inspect.getsource(known)}
calls = 0
def count(frame, event, function):
    global calls
    if event == "c_call":
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
make(path, {{"input": {{"sha256": None}}}}, pieces=12, hashed=known("ab"), resume=True)
sys.setprofile(None)
print(calls)
"""
"""Makes an output of 12 pieces; killed at its last call into C, or says how many there were."""


def test_killed_at_any_moment_it_finishes_with_the_same_bytes(tmp_path):
    def run(path, last):
        with forked(exec, CHILD, {"path": path, "last": last}, cwd=tmp_path) as child:
            return end(child)[0], child.returncode

    calls = int(run(tmp_path / "whole.tif", 0)[0])
    rng, kills, resumed = random.Random(0), 0, 0
    for number in itertools.count():
        path = tmp_path / str(number) / ("out.zarr" if number % 2 else "out.tif")
        for attempt in itertools.count(1):
            _, code = run(path, rng.randint(1, calls * attempt // 3))  # in the end it gets through
            if code >= 0:  # 1 if all was done before the kill: the output exists
                break
            kills += 1
            manifest = files.sibling(path, "part.manifest")
            resumed += manifest.exists() and manifest.read_bytes().count(b"\n") > 2
        assert is_made(path, 12)
        assert names(path.parent) == [path.name]
        if kills >= 30:
            break
    assert resumed > 5


def test_a_second_run_is_refused_while_the_first_one_lives(out):
    code = CHILD.partition("calls = 0")[0] + (
        "with open_resumable(Path(sys.argv[1]), {}) as work:\n"
        "    work.part.write_bytes(bytes([1]))\n"
        "    work.mark(0, {})\n"
        "    work.sync()\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, out]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as child:
        child.stdout.readline()
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputExistsError, match="another run is writing"):
                make(out, {}, **options)
        child.kill()
    begun = []
    make(out, {}, begun=begun, resume=True)
    assert not begun[0].starts_empty
    assert is_made(out)
    assert names(out.parent) == ["out.tif"]


def test_a_run_killed_after_the_rename_is_known_to_be_complete(monkeypatch, path):
    def interrupt(self, **options):
        if self.name.endswith(".manifest"):
            raise KeyboardInterrupt
        unlink(self, **options)

    unlink, begun = pathlib.Path.unlink, []
    monkeypatch.setattr(pathlib.Path, "unlink", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(path, IDENTITY, begun=begun)
    monkeypatch.undo()
    assert begun[0].can_resume
    assert names(path.parent) == [path.name, f"{path.name}.part.manifest"]
    with pytest.raises(ResumeError, match="tta: false -> true"):
        make(path, IDENTITY | {"tta": True}, resume=True)
    with pytest.raises(OutputExistsError):
        make(path, IDENTITY)
    make(path, IDENTITY, begun=begun, resume=True)
    assert begun[1].complete
    assert begun[1].finished == begun[0].finished
    assert is_made(path)
    assert names(path.parent) == [path.name]


def test_killed_while_it_removes_leftovers_it_does_not_trust_the_rest(path):
    for number in range(1, 30):
        with Faults(None, 0):
            files.remove(path.parent)
        with Faults(KilledError(), 40), contextlib.suppress(KilledError):
            make(path, IDENTITY, pieces=12)
        with Faults(KilledError(), number), contextlib.suppress(KilledError):
            make(path, IDENTITY, pieces=12)
        with Faults(None, 0):
            make(path, IDENTITY, pieces=12, resume=True)
        assert is_made(path, 12), number


def test_a_line_cut_short_is_gone_from_the_manifest_when_it_grows(out):
    stop(out)
    with files.sibling(out, "part.manifest").open("ab") as file:
        file.write(b"{" * 600)
    with contextlib.suppress(OSError), open_resumable(out, IDENTITY, resume=True) as work:
        work.mark(5, {})
        raise OSError
    assert files.sibling(out, "part.manifest").read_bytes().endswith(b"}\n")
    with open_resumable(out, IDENTITY, resume=True) as work:
        assert work.finished.keys() == {0, 1, 2, 3, 5}
