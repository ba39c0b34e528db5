"""A package of others that fails is an error line; a bug of sfseg stays a traceback."""

import errno
import types

import imageio.v3 as iio
import matplotlib.figure
import PIL
import pytest
import requests
import tifffile
import urllib3

from sfseg.cli import failures
from sfseg.cli.console import say_error
from sfseg.scoring import thinning
from tests.cli.commands import FAST, TINY, fails, sfseg

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")

pytestmark = pytest.mark.usefixtures("small_shipped")


def failing(error, package):
    """Build a function of a package that raises."""

    def fail(*_, **__):
        raise error

    return types.FunctionType(
        fail.__code__, {"__name__": f"{package}.inner"}, closure=fail.__closure__
    )


def error_line(*command):
    """Run a command that must fail; give its error line."""
    error, *_, hint = fails(*command).splitlines()
    assert hint.startswith("hint: ")
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no font"), "error: matplotlib: ValueError: no font"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "curves.png: cannot be written: disk full",
        ),
    ],
)
def test_matplotlib(error, line, volume, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", failing(error, "matplotlib"))
    own = ("train", "--images", volume, "--labels", labels, "--out", tmp_path / "run", *TINY)
    assert line in error_line(*own)


@pytest.mark.parametrize("name", ["create_group", "open_group"])
def test_zarr_while_it_writes(name, volume, tmp_path, monkeypatch):
    error = zarr.errors.ContainsGroupError("there is a group")
    monkeypatch.setattr(zarr, name, failing(error, "zarr"))
    line = error_line("predict", volume, "-o", tmp_path / "map.zarr", *FAST)
    assert "there is a group" in line


def test_zarr_while_it_reads(volume, tmp_path, monkeypatch):
    assert sfseg("predict", volume, "-o", tmp_path / "map.zarr", *FAST).exit_code == 0
    monkeypatch.setattr(zarr, "open", failing(zarr.errors.MetadataValidationError("odd"), "zarr"))
    line = error_line("predict", tmp_path / "map.zarr", "-o", tmp_path / "again.tif", *FAST)
    assert "map.zarr" in line


@pytest.mark.parametrize("error", [OSError("bad signature"), RuntimeError("bad heap")])
def test_h5py(error, volume, tmp_path, monkeypatch):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["raw"] = tifffile.imread(volume)
    monkeypatch.setattr(h5py, "File", failing(error, "h5py"))
    line = error_line("predict", f"{tmp_path / 'v.h5'}:/raw", "-o", tmp_path / "map.tif", *FAST)
    assert str(error) in line


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("refused"),
        requests.exceptions.InvalidURL("odd"),
        requests.exceptions.ChunkedEncodingError("cut"),
        urllib3.exceptions.DecodeError("odd"),
    ],
)
def test_requests(error, tmp_path, monkeypatch):
    monkeypatch.setattr(requests.Session, "send", failing(error, "requests"))
    monkeypatch.setattr("time.sleep", lambda _: None)  # before the next try
    assert "isbi2012" in error_line("fetch", "isbi2012", "--to", tmp_path)


@pytest.mark.parametrize("error", [PIL.UnidentifiedImageError("odd"), OSError("broken data")])
def test_pillow(error, volume, tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "v.png", tifffile.imread(volume)[0])
    monkeypatch.setattr(iio, "imopen", failing(error, "PIL"))
    line = error_line("predict", tmp_path / "v.png", "-o", tmp_path / "map.tif", *FAST)
    assert "v.png" in line


def test_tifffile(volume, tmp_path, monkeypatch):
    error = tifffile.TiffFileError("odd")
    monkeypatch.setattr(tifffile, "TiffFile", failing(error, "tifffile"))
    assert "volume.tif" in error_line("predict", volume, "-o", tmp_path / "map.tif", *FAST)


def test_numba(labels, monkeypatch):
    from numba.core.errors import LoweringError

    name = next(name for name in vars(thinning) if name.startswith("_flood"))
    monkeypatch.setattr(thinning, name, failing(LoweringError("no such type"), "numba"))
    assert error_line("score", labels, labels).startswith("error: numba: LoweringError: no such")


def test_skimage(volume, tmp_path, monkeypatch):
    error = failing(ValueError("odd connectivity"), "skimage")
    monkeypatch.setattr("sfseg.prediction.tile_writer.label", error)
    own = ("predict", volume, "-o", tmp_path / "map.tif", "--output", "segments", *FAST)
    assert "odd connectivity" in error_line(*own)


def test_an_error_of_the_system_names_the_path_and_has_a_hint(labels, monkeypatch):
    error = PermissionError(errno.EACCES, "Permission denied", "/data/labels.tif")
    monkeypatch.setattr("sfseg.scoring.score_files.score_files", failing(error, "sfseg"))
    assert error_line("score", labels, labels) == "error: /data/labels.tif: Permission denied"


def test_the_hint_for_a_failing_disk_is_not_to_check_the_path(capsys):
    say_error(OSError(errno.EIO, "Input/output error", "/data/labels.tif"))
    assert capsys.readouterr().err == (
        "error: /data/labels.tif: Input/output error\n"
        "hint: the disk or the network failed: try again, or copy the file to another disk\n"
    )


def test_a_bug_of_sfseg_and_every_error_on_demand_stay_tracebacks(labels, monkeypatch):
    bug = failing(ValueError("ours"), "sfseg")
    monkeypatch.setattr("sfseg.scoring.score_files.score_files", bug)
    assert isinstance(sfseg("score", labels, labels).exception, ValueError)
    monkeypatch.setattr("sfseg.scoring.score_files.score_files", failing(ValueError("odd"), "zarr"))
    assert error_line("score", labels, labels) == "error: zarr: ValueError: odd"
    monkeypatch.setenv(failures.TRACEBACK, "1")
    assert isinstance(sfseg("score", labels, labels).exception, ValueError)
