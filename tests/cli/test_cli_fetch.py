"""`sfseg fetch` as a person meets it."""

import errno
import sys

import pytest

from sfseg.system import locks
from tests.cli.commands import TINY, fails, sfseg


def test_fetch_prints_the_folder_and_nothing_else_on_stdout(tmp_path):
    result = sfseg("fetch", "tissue", "--to", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'tissue'}\n"
    assert "licence" in result.stderr
    assert (tmp_path / "tissue" / "volume.tif").is_file()


def test_fetch_verify_reads_a_fetched_dataset_through(tmp_path):
    missing = fails("fetch", "tissue", "--verify", "--to", tmp_path)
    assert f"hint: sfseg fetch tissue --data-dir {tmp_path}\n" in missing
    sfseg("fetch", "tissue", "--to", tmp_path)
    result = sfseg("fetch", "tissue", "--verify", "--to", tmp_path)
    assert result.exit_code == 0
    assert "volume.tif" in result.stderr


def test_fetch_list_says_what_is_here():
    sfseg("fetch", "tissue")
    lines = sfseg("fetch", "--list").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert {"isbi2012", "piriform", "vnc", "snemi3d", "cremi", "tissue"} <= rows.keys()
    assert " yes " in rows["tissue"]
    assert " no " in rows["isbi2012"]


def test_fetch_from_takes_the_data_that_the_user_has(isbi, tmp_path):
    result = sfseg("fetch", "isbi2012", "--from", isbi, "--to", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "isbi2012" / "train-labels.tif").is_file()


def test_fetch_draws_tissue_of_other_options_and_finds_it_again(tmp_path):
    options = ("--sections", 4, "--size", 64, "--seed", 2, "--noise", 1.5, "--branches", 1)
    options += ("--shift", 2, "--missing", 1, "--to", tmp_path)
    first = sfseg("fetch", "tissue", *options)
    assert first.exit_code == 0, first.output
    again = sfseg("fetch", "tissue", *options, "--verify")
    assert again.stdout == first.stdout
    assert "cells.tif" in again.stderr
    assert not (tmp_path / "tissue").exists()


@pytest.mark.parametrize("name", ["isbi2012", "--list"])
def test_options_that_draw_are_refused_where_nothing_is_drawn(name):
    said = fails("fetch", name, "--seed", 3, code=2)
    assert said.endswith("hint: leave it out, or: sfseg fetch tissue --seed 3\n")


def test_fetch_of_an_unknown_dataset_suggests_the_nearest():
    assert "did you mean 'isbi2012'" in fails("fetch", "isbi2021", code=2)


def test_fetch_from_with_nothing_to_fetch_is_refused(tmp_path):
    assert "--from" in fails("fetch", "tissue", "--verify", "--from", tmp_path, code=2)


def test_fetch_without_a_name_is_a_usage_error():
    assert "sfseg fetch --list" in fails("fetch", code=2)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /sys are of Linux")
@pytest.mark.parametrize(
    ("folder", "message", "hint"),
    [
        ("/proc", "/proc: cannot be written: nothing can be made in /proc", "another folder"),
        (
            "/proc/new",
            "/proc/new: cannot be written: nothing can be made in /proc",
            "another folder",
        ),
        ("/sys", "/sys: cannot be written: no permission", "a folder where you may write"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_with_a_hint(folder, message, hint, tmp_path):
    assert fails("fetch", "tissue", "--to", folder) == f"error: {message}\nhint: choose {hint}\n"
    if folder != "/proc/new":  # train looks for data there, and makes no new folder
        assert message in fails("train", "--dataset", "tissue", "--data-dir", folder)
    assert sfseg("fetch", "tissue", "--to", tmp_path).exit_code == 0  # what the hint says


def test_data_in_a_read_only_folder_are_used_and_new_ones_refused(tmp_path, monkeypatch):
    assert sfseg("fetch", "tissue", "--to", tmp_path / "full").exit_code == 0
    (tmp_path / "empty").mkdir()

    def refuse(path):  # root may write everywhere, whatever the mode of the folder
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(locks, "_open", refuse)
    own = ("train", "--dataset", "tissue", *TINY, "--out")
    assert sfseg("fetch", "tissue", "--to", tmp_path / "full").exit_code == 0
    for command in (("fetch", "tissue", "--to"), (*own, tmp_path / "run", "--data-dir")):
        said = fails(*command, tmp_path / "empty")
        assert f"error: {tmp_path / 'empty'}: cannot be written: no permission\n" in said
        assert said.endswith("hint: choose a folder where you may write\n")
