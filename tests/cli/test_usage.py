"""Wrong options, arguments and commands: one line that says what, one that helps, exit code 2."""

import pytest

from sfseg.cli.usage import describe_type
from tests.cli.commands import fails

COMMANDS = ("fetch", "train", "predict", "score", "compare", "bench")


def usage(line):
    """Run a command line that is wrong; give its message and its hint."""
    error, hint = fails(*line.split(), code=2).splitlines()
    return error.removeprefix("error: "), hint.removeprefix("hint: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_is_not_there_has_the_help_for_a_hint(command):
    error, hint = usage(f"{command} --zzz 1")
    assert error == "no such option --zzz"
    assert hint.endswith(f" {command} --help lists all options")


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("fetch --form x", "--from"),
        ("train --arhc sfnet", "--arch"),
        ("predict a.tif --otu b.tif", "--out"),
        ("score a.tif b.tif --jsno", "--json"),
        ("compare --seed 3", "--seeds"),
        ("bench --egnine torch", "--engine"),
        ("train --hlep", "--help"),
        ("--versoin", "--version"),
    ],
)
def test_a_misspelt_option_is_answered_by_the_nearest_one(line, nearest):
    assert usage(line)[1] == f"did you mean {nearest}?"


def test_a_wrong_command_is_answered_by_the_nearest_one_or_all():
    error, hint = usage("trian")
    assert (error, hint) == ("trian: there is no command of that name", "did you mean 'train'?")
    everything = "bench, compare, fetch, measure, predict, score, segment, train, view"
    assert usage("zzz")[1] == f"choose one of: {everything}"
    assert usage("--")[0] == "missing command"


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("predict", "argument INPUTS..."),
        ("predict a.tif", "option --out"),
        ("score", "argument PREDICTION..."),
        ("score a.tif", "argument PREDICTION..."),
    ],
)
def test_what_is_missing_is_named_with_an_example(line, missing):
    error, hint = usage(line)
    assert error == f"the {missing} is missing"
    assert hint.startswith(f"for example: sfseg {line.split()[0]} ")
    assert "  " not in hint


@pytest.mark.parametrize("line", ["fetch tissue b", "train b", "compare b", "bench b"])
def test_an_argument_too_many_is_named(line):
    error, hint = usage(line)
    assert error == "unexpected argument: b"
    assert hint.endswith(" --help lists all options")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --epochs x", "--epochs: must be a whole number from 1 up, not 'x'"),
        ("train --epochs 0", "--epochs: must be a whole number from 1 up, not '0'"),
        ("train --epochs=1.5", "--epochs: must be a whole number from 1 up, not '1.5'"),
        ("train --save-every -1", "--save-every: must be a number from 0 up, not '-1'"),
        ("predict a -o b --threshold 7", "--threshold: must be a number from 0 to 1, not '7'"),
        ("compare --seeds x", "--seeds: must be a whole number, not 'x'"),
        ("compare --budget x", "--budget: must be a number, not 'x'"),
        ("bench --repeats x", "--repeats: must be a whole number, not 'x'"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_quoted_with_what_is_possible(line, message):
    error, hint = usage(line)
    assert error == message
    assert hint.endswith(f" {line.split()[0]} --help explains {message.split(':')[0]}")


@pytest.mark.parametrize(
    ("line", "option", "hint"),
    [
        (
            "train --augmentation eightfld",
            "--augmentation",
            "did you mean --augmentation eightfold?",
        ),
        ("train --labels-are nuclei", "--labels-are", " train --help explains --labels-are"),
        ("predict a -o b --output maps", "--output", " predict --help explains --output"),
        ("predict a -o b --dtype uint3", "--dtype", "did you mean --dtype uint8?"),
        ("compare --precision float3", "--precision", "did you mean --precision float32?"),
    ],
)
def test_a_wrong_choice_is_answered_by_all_and_the_nearest(line, option, hint):
    error, found = usage(line)
    assert error.startswith(f"{option}: must be one of ")
    assert error.endswith(f", not {line.split()[-1]!r}")
    assert found.endswith(hint)


def test_an_option_without_its_value_or_with_one_too_many_says_how_to_write_it():
    assert usage("predict a.tif -o") == ("-o: its value is missing", "-o PATH")
    assert usage("train --resume=yes") == ("--resume: takes no value", "write --resume alone")


def test_the_types_of_options_are_those_of_the_command():
    from sfseg.cli.predict import predict

    assert describe_type(predict, "tta") == ("one of none, flips, d4", ("none", "flips", "d4"))
    assert describe_type(predict, "memory") == ("a number from 1 up", ())
    assert describe_type(predict, "model") == ("", ())


def test_a_pattern_without_quotes_is_answered_by_one_with_quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s1.tif", "s2.tif", "s10.tif"):
        (tmp_path / name).touch()
    error, hint = usage("predict s1.tif s10.tif s2.tif -o map.tif")
    assert error == "map.tif: both s1.tif and s10.tif would be written to this file"
    assert "quotes around a pattern: 's*.tif'; else name a folder with -o" in hint


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("predict", "a.tif", "-o", ""), "--out"),
        (("predict", "", "-o", "b.tif"), "INPUTS..."),
        (("train", "--out", ""), "--out"),
        (("compare", "-o", ""), "--out"),
        (("fetch", "tissue", "--data-dir", ""), "--data-dir"),
        (("score", "a.tif", ""), "TRUTH"),
        (("predict", "a.tif", "-o", " "), "--out"),
    ],
)
def test_an_empty_value_is_refused(words, name):
    """An empty path would be the current folder; one of blanks comes from a script, too."""
    error, hint = fails(*words, code=2).splitlines()
    assert error == f"error: {name}: its value is empty"
    assert "variable" in hint


@pytest.mark.parametrize("command", ["predict a.tif", "train", "compare"])
def test_stdout_is_no_output(command):
    error, hint = usage(f"{command} -o -")
    assert (error, hint) == ("--out: the output cannot go to stdout", "name a file or a folder")
