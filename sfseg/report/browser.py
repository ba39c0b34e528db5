"""A browser of sections in a page: pictures in layers, with errors drawn where they are.

The pictures stand in the page itself. So there is a budget: a stack that is too large is shown
smaller, and then only some of its sections.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from sfseg.io.pictures import encode_grey, encode_indices
from sfseg.report.colours import palette
from sfseg.report.page import render
from sfseg.types import AnyArray, VoxelSize, voxel_as_json

MOST_BYTES = 14_000_000
"""Of all pictures of a page, as text."""

SMALLEST_PX = 512
"""The longer side of a section is not shown smaller than this; rather fewer sections are."""

SCRIPTS, STYLES = ["panes.js", "viewer.js"], ["viewer.css"]
"""What a page with a browser needs."""


@dataclass(frozen=True)
class Layer:
    """Pictures of the same kind, one for each section, that lie on top of each other.

    Attributes
    ----------
    name : str
        What the page calls it.
    kind : {"grey", "colours"}
        Grey values of uint8; or numbers of colours, see `sfseg.report.colours`.
    prediction : int, optional
        To which of the predictions it belongs; None = to the stack.
    is_shown : bool
        Whether it is shown at first.
    opacity : float
        At first, from 0 to 1.
    """

    name: str
    kind: Literal["grey", "colours"]
    prediction: int | None = None
    is_shown: bool = True
    opacity: float = 1.0


@dataclass(frozen=True)
class Fault:
    """An error of a prediction, as the page draws and lists it.

    Attributes
    ----------
    id : int
        Its number, within its prediction.
    kind : str
        "merge" or "split".
    section : int
        Number of the section.
    cost : float
        What it costs.
    place : tuple of int
        Row and column, from 0.
    box : tuple of int
        First row and column of what is shown when the error is chosen, and those after the last
        ones.
    prediction : int
        Of which prediction, from 0.
    """

    id: int
    kind: str
    section: int
    cost: float
    place: tuple[int, int]
    box: tuple[int, int, int, int]
    prediction: int = 0


@dataclass(frozen=True)
class Browser:
    """The pictures and their places, ready for a page.

    Attributes
    ----------
    data : dict
        What the script reads.
    notes : tuple of str
        What is not shown, or shown smaller.
    """

    data: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    def render(self) -> Markup:
        """Return the part of a page; it needs `SCRIPTS` and `STYLES`."""
        return Markup(render("browser", data=self.data, notes=self.notes))


@dataclass(frozen=True)
class Words:
    """What a page calls things.

    Attributes
    ----------
    prediction : str
        One of the predictions.
    cost : str
        In what the cost of an error is given.
    unit : str
        What stands behind the number; may be empty.
    """

    prediction: str = "map"
    cost: str = "V_Rand"
    unit: str = ""


Read = Callable[[int], Sequence[AnyArray]]
"""Called with the index of a section, from 0; returns an image of uint8 for each layer."""


def make_browser(
    layers: Sequence[Layer],
    read: Read,
    shape: tuple[int, int],
    numbers: Sequence[int],
    *,
    voxel_size_nm: VoxelSize | None = None,
    ranking: Sequence[int] | None = None,
    faults: Sequence[Fault] = (),
    predictions: Sequence[str] = (),
    words: Words = Words(),
    most_bytes: int = MOST_BYTES,
) -> Browser:
    """Encode the pictures of a browser, section by section.

    Parameters
    ----------
    layers : sequence of Layer
        The lowest first.
    read : callable
        See `Read`.
    shape : tuple of int
        Rows and columns of a section.
    numbers : sequence of int
        The numbers of the sections.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x), for the scale bar.
    ranking : sequence of int, optional
        Indices of all sections, the most important first, where not all fit. By default, those that
        are shown are evenly spaced.
    faults : sequence of Fault
        The errors to draw and to list, largest cost first.
    predictions : sequence of str
        The names of the predictions.
    words : Words
        What the page calls them, and the cost of their errors.
    most_bytes : int
        Most bytes of all pictures.

    Returns
    -------
    Browser
        The part of a page.
    """
    shrink, fitting = _plan(layers, read, shape, len(numbers), most_bytes)
    shown = _choose(len(numbers), fitting, ranking)
    pictures: list[list[str]] = [[] for _ in layers]
    for index in shown:
        for row, encoded in zip(pictures, _encode(layers, read(index), shrink), strict=True):
            row.append(encoded)
    data = {
        "shape": list(shape),
        "shrink": shrink,
        "voxel_nm": voxel_as_json(voxel_size_nm),
        "sections": [numbers[index] for index in shown],
        "predictions": list(predictions),
        "words": vars(words),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "prediction": layer.prediction,
                "shown": layer.is_shown,
                "opacity": layer.opacity,
                "pictures": row,
            }
            for layer, row in zip(layers, pictures, strict=True)
        ],
        "errors": [vars(fault) for fault in faults],
    }
    return Browser(data, tuple(_describe(shrink, len(shown), len(numbers), ranking is not None)))


def _plan(
    layers: Sequence[Layer], read: Read, shape: tuple[int, int], count: int, most_bytes: int
) -> tuple[int, int]:
    """Find how much smaller the sections are shown, and how many of them fit."""
    sample = read(count // 2)
    shrink = 1
    while True:
        each = sum(map(len, _encode(layers, sample, shrink)))
        if each * count <= most_bytes or max(shape) < 2 * shrink * SMALLEST_PX:
            return shrink, min(count, max(1, most_bytes // each))
        shrink *= 2


def _choose(count: int, fitting: int, ranking: Sequence[int] | None) -> list[int]:
    """Choose the sections that are shown."""
    if ranking is not None:
        return sorted(ranking[:fitting])
    chosen: list[int] = np.unique(np.linspace(0, count - 1, fitting).round().astype(int)).tolist()
    return chosen


def _encode(layers: Sequence[Layer], images: Sequence[AnyArray], shrink: int) -> list[str]:
    """Turn the images of a section into addresses that hold them."""
    encoded = []
    for layer, image in zip(layers, images, strict=True):
        if layer.kind == "grey":
            encoded.append(_address("jpeg", encode_grey(_average(image, shrink))))
        else:
            encoded.append(_address("png", encode_indices(image[::shrink, ::shrink], palette())))
    return encoded


def _average(image: AnyArray, shrink: int) -> AnyArray:
    """Make an image smaller by whole numbers; a part of a block at the end is a block."""
    if shrink == 1:
        return np.ascontiguousarray(image)
    rows, columns = (-(-side // shrink) for side in image.shape)
    ends = (0, rows * shrink - image.shape[0]), (0, columns * shrink - image.shape[1])
    blocks = np.pad(image, ends, mode="edge").reshape(rows, shrink, columns, shrink)
    return np.asarray(blocks.mean((1, 3)).round().astype(np.uint8))


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _describe(shrink: int, shown: int, count: int, is_ranked: bool) -> list[str]:
    """Say what is left out, so that the page has a size that can be sent."""
    notes = []
    if shrink > 1:
        notes.append(f"The pictures are shown at 1:{shrink}.")
    if shown < count:
        which = "the worst ones" if is_ranked else "evenly spaced"
        notes.append(f"{shown} of {count} sections are shown, {which}.")
    return notes
