"""The page of `sfseg view`, in a web browser; the browser of sections has tests of its own."""

import io
import re

import imageio.v3 as iio
import numpy as np
import pytest

from sfseg.io import Stack, open_array
from sfseg.report import view_page
from sfseg.report.colours import EMPTY_COLOUR, MEMBRANE_COLOUR
from sfseg.report.layers import Layer
from sfseg.report.view_page import write_view_page

HOSTILE = "<img src=x onerror=alert(1)>.tif"


def named(array, name, voxel=None):
    """Make a stack of an array, with a name."""
    stack = open_array(array, "test")
    return Stack(
        name, stack.shape, stack.dtype, voxel, read_window=stack.window, sha256=str, close=int
    )


@pytest.fixture(scope="module")
def layers(tissue):
    """An image with a black border, a mask and cells."""
    volume, labels = (np.pad(stack, ((0, 0), (40, 0), (0, 0))) for stack in tissue)
    cells = (np.cumsum(labels == 0, axis=2) * (labels > 0)).astype(np.int32)
    return [
        Layer(named(volume, HOSTILE, (50, 4, 4)), "image"),
        Layer(named(labels, "mask.tif"), "mask", 255),
        Layer(named(cells, "cells.tif"), "labels"),
    ]


@pytest.fixture(scope="module")
def page(layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "page.html"
    assert write_view_page(path, layers) == ()
    return path


def test_the_layers_are_those_of_the_files(page, layers, visitor):
    visitor.open(page)
    names = [label.text for label in visitor.find_all(".layer-name")]
    assert names == ["image", "mask", "membranes", "cells"]
    shown = visitor.run(
        "return [...document.querySelectorAll('.layers input')].map(x => x.checked)"
    )
    assert shown[::2] == [True, False, True, False]
    visitor.press("\ue014")  # arrow to the right
    assert "section 2" in visitor.text(".section-number")
    picture = visitor.picture(".pane:not([hidden]) img:nth-child(3)")
    edges = iio.imread(io.BytesIO(picture), mode="RGBA")
    mask = layers[1].stack.section(1)
    assert (edges[..., 3] > 0).tolist() == (mask == 0).tolist()  # the border is 0, too
    colours = {tuple(colour) for colour in edges[edges[..., 3] > 0][:, :3].tolist()}
    assert colours == {MEMBRANE_COLOUR, EMPTY_COLOUR}
    assert "nm" in visitor.find_all(".scale-bar")[0].text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone_is_legible_and_asks_for_nothing(page, visitor, theme):
    visitor.set_theme(theme)
    visitor.resize(390)
    visitor.open(page)
    assert visitor.run("return document.documentElement.scrollWidth") <= 390
    assert visitor.text("h1").startswith(HOSTILE)
    assert visitor.audit() == {}
    assert visitor.errors() == []
    assert {re.match("[a-z]+", address)[0] for address in visitor.requests()} <= {
        *("about", "data", "file")
    }


def test_large_sections_are_read_smaller_and_the_page_says_so(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(view_page, "MOST_PX", 50)
    done = []
    notes = write_view_page(
        tmp_path / "small.html", layers[:1], sections=(0, 3), on_section=done.append
    )
    assert notes == ("The sections are shown at 1:3.",)
    text = (tmp_path / "small.html").read_text()
    assert "The sections are shown at 1:3." in text
    assert '"voxel_nm": [50.0, 12.0, 12.0]' in text.replace("50, 12, 12", "50.0, 12.0, 12.0")
    assert '"sections": [1, 4]' in text
    assert done[-1] == len(done)
