"""`sfseg view` and `predict --preview` as a person meets them."""

import os
import signal
import subprocess
import sys
import urllib.request

import imageio.v3 as iio
import pytest

from tests.cli.commands import FAST, fails, sfseg

pytestmark = pytest.mark.usefixtures("small_shipped")


@pytest.fixture
def here(tissue_files, monkeypatch):
    """The folder of the tissue, as the current one."""
    monkeypatch.chdir(tissue_files)
    return tissue_files


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was to open."""
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda address: addresses.append(address) or True)
    return addresses


def test_view_writes_a_page_named_after_the_stack_prints_it_and_opens_it(here, opened):
    result = sfseg("view", "volume.tif", "labels.tif", "--open")
    assert result.exit_code == 0, result.output
    assert result.stdout == "volume.view.html\n"
    assert "volume.tif: an image (4 sections of 96x112" in result.stderr
    assert "labels.tif: a mask of two values (" in result.stderr
    page = (here / "volume.view.html").read_text()
    assert "voxel 50x4x4 nm" in page
    assert opened == [(here / "volume.view.html").as_uri()]
    assert "--overwrite" in fails("view", "volume.tif")
    assert sfseg("view", "volume.tif", "--overwrite").exit_code == 0


def test_view_takes_every_option(here, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    options = ("--image", "volume.tif", "--map", "labels.tif", "--labels", "labels.tif")
    result = sfseg(
        *("view", *options, "--sections", "2-3", "--axes", "ZYX", "--pixel-size", "8"),
        *("-o", "out.png", "--overwrite", "--open"),
    )
    assert result.exit_code == 0, result.output
    assert "labels.tif: numbers of cells" in result.stderr
    assert "voxel 50x8x8 nm" in result.stderr
    assert "warning: no web browser was found here" in result.stderr
    assert iio.imread(here / "out.png").shape[1] > 5 * 400


def test_view_names_the_page_of_a_pattern_after_its_folder(here):
    from sfseg.cli.view import default_name

    (here / "raw").mkdir()
    assert default_name("raw/*.png") == "raw.view.html"
    assert default_name("*.png") == "stack.view.html"
    assert default_name("a/store.zarr:/labels/0") == "store.view.html"
    assert default_name("a/b.ome.tif") == "b.ome.view.html"


def test_view_refuses_what_cannot_be_shown(here):
    iio.imwrite(here / "section.png", iio.imread(here / "volume.tif")[0])
    refused = fails("view", "section.png", "-o", "section.png", "--overwrite")
    assert "inputs are never overwritten" in refused
    assert (
        "do not lie on volume.tif, 4 sections of 96x112"
        in sfseg("view", "volume.tif", "section.png").stderr
    )
    (here / "damaged.tif").write_bytes((here / "volume.tif").read_bytes()[:30_000])
    assert "error: damaged.tif: " in sfseg("view", "damaged.tif").stderr
    assert not list(here.glob("*.html"))


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_view_serves_for_neuroglancer_until_ctrl_c():
    pytest.importorskip("neuroglancer", reason="the extra neuroglancer is not installed")
    command = (sys.executable, "-m", "sfseg", "view", "volume.tif", "--neuroglancer")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            address = process.stdout.readline().decode().strip()
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.endswith(b"Ctrl-C ends it\ninterrupted\n")


@pytest.mark.usefixtures("here")
def test_view_says_what_to_install_for_neuroglancer(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    result = sfseg("view", "volume.tif", "--neuroglancer")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--neuroglancer: the extra 'neuroglancer' is not installed" in result.stderr


@pytest.mark.parametrize("output", ["probability", "binary", "segments"])
def test_predict_makes_a_preview_of_the_finished_output(output, here):
    options = ("-o", "out.tif", "--preview", "look.png", "--output", output, *FAST)
    first = sfseg("predict", "volume.tif", *options)
    assert first.exit_code == 0, first.output
    assert first.stdout == "out.tif\n"
    assert "\npreview: look.png\n" in first.stderr
    assert "to look at it" not in first.stderr
    made = (here / "look.png").read_bytes()
    (here / "look.png").write_bytes(b"")
    assert "exists already" in fails("predict", "volume.tif", *options)
    again = sfseg("predict", "volume.tif", *options, "--resume")
    assert again.exit_code == 0
    assert "finished already" in again.stderr
    assert (here / "look.png").read_bytes() == made


def test_predict_makes_a_preview_of_each_output_in_a_folder(here):
    for name in "ab":
        (here / f"{name}.tif").write_bytes((here / "volume.tif").read_bytes())
    inputs = ("predict", "a.tif", "b.tif", "-o", "maps")
    one = fails(*inputs, "--preview", "look.png", code=2)
    assert "look.png is one picture, but there are 2 outputs" in one
    assert "hint: name a folder: --preview look\n" in one
    result = sfseg(*inputs, "--preview", "look", *FAST)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (here / "look").iterdir()) == ["a.png", "b.png"]


def test_a_preview_is_not_put_where_it_would_be_read_as_a_section(here):
    (here / "raw").mkdir()
    for number, section in enumerate(iio.imread(here / "volume.tif")):
        iio.imwrite(here / "raw" / f"{number}.png", section)
    options = ("-o", "out.tif", "--preview", "raw/look.png")
    for source in ("raw", "raw/*.png"):
        refused = fails("predict", source, *options, code=2)
        assert "raw/look.png would be read as a section of" in refused
    only = ("predict", "raw/0.png", "-o", "out.tif", "--preview", "raw/0.png", "--overwrite")
    assert "would be read as a section" in fails(*only, code=2)


def test_a_preview_that_fails_is_a_warning_and_without_one_a_line_says_how_to_look(
    here, monkeypatch
):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    options = ("predict", "volume.tif", "-o", "out.tif", "--resume", *FAST)
    without = sfseg(*options, "--pixel-size", "4")
    assert without.stderr.endswith(
        "to look at it: sfseg view volume.tif out.tif --pixel-size 4,4 --open\n"
    )
    monkeypatch.setattr("sfseg.report.preview.write_preview", fail)
    result = sfseg(*options, "--pixel-size", "4", "--preview", "look.png")
    assert (result.exit_code, result.stdout) == (0, "out.tif\n")
    assert "warning: the preview could not be made; out.tif is complete: " in result.stderr
    assert not (here / "look.png").exists()
