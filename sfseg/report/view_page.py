"""The page of `sfseg view`: stacks that lie on each other, in a browser of sections."""

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sfseg import __version__
from sfseg.report import browser
from sfseg.report.browser import Browser, make_browser
from sfseg.report.colours import EMPTY, MEMBRANE, stretch
from sfseg.report.layers import Layer, voxel_size_of
from sfseg.report.page import write_page
from sfseg.report.paint import CELL_OPACITY, MEMBRANE_OPACITY, number_colours, span_of
from sfseg.report.sections import MEMBRANE_BELOW, View, read_image, read_labels, read_map, whole
from sfseg.types import AnyArray

MOST_PX = 2048
"""The longer side of a section in the page: a larger one is read, and shown, smaller."""

OnSection = Callable[[int], None]
"""Called with the number of sections that were read."""


def write_view_page(
    path: Path,
    layers: Sequence[Layer],
    *,
    sections: Sequence[int] | None = None,
    overwrite: bool = False,
    on_section: OnSection = lambda _: None,
) -> tuple[str, ...]:
    """Write a page to look at stacks.

    Parameters
    ----------
    path : Path
        The file to write.
    layers : sequence of Layer
        Open stacks of the same shape, at least one; images first.
    sections : sequence of int, optional
        Indices from 0; by default all.
    overwrite : bool
        Whether an existing file is replaced.
    on_section : callable
        See `OnSection`.

    Returns
    -------
    tuple of str
        What is not shown, or shown smaller.

    Raises
    ------
    StackError
        If a stack cannot be read.
    FileExistsError, OSError
        If the page cannot be written.
    """
    chosen = sections or range(len(layers[0].stack))
    found = _make(layers, chosen, on_section)
    write_page(
        path,
        "view",
        overwrite=overwrite,
        scripts=browser.SCRIPTS,
        styles=browser.STYLES,
        version=__version__,
        date=datetime.date.today().isoformat(),
        layers=layers,
        has_membranes=any(layer.kind in ("map", "mask") for layer in layers),
        membrane_below=MEMBRANE_BELOW,
        browser=found.render(),
    )
    return found.notes


def _make(layers: Sequence[Layer], sections: Sequence[int], on_section: OnSection) -> Browser:
    """Read the sections that fit, and put them into a browser."""
    stack = layers[0].stack
    views = [whole(stack, index, MOST_PX) for index in sections]
    factor = views[0].factor
    height, width = (-(-length // factor) for length in stack.shape[1:])
    named = _named(layers, views)
    voxel = voxel_size_of(layers)
    found = make_browser(
        [picture for one in named for picture in one.pictures],
        _Reader(named, views, on_section).read,
        (height, width),
        [index + 1 for index in sections],
        voxel_size_nm=None if voxel is None else (voxel[0], voxel[1] * factor, voxel[2] * factor),
    )
    shown = len(found.data["sections"])
    return replace(found, notes=tuple(_notes(factor * found.data["shrink"], shown, len(sections))))


def _notes(reduced: int, shown: int, count: int) -> list[str]:
    """Say what is not shown, or shown smaller."""
    notes = [f"The sections are shown at 1:{reduced}."] if reduced > 1 else []
    if shown < count:
        notes.append(f"{shown} of {count} sections are shown, evenly spaced.")
    return notes


@dataclass(frozen=True)
class _Named:
    """A layer, and what it is in the page: one or two pictures of each section."""

    layer: Layer
    span: tuple[float, float]
    pictures: tuple[browser.Layer, ...]


def _named(layers: Sequence[Layer], views: list[View]) -> list[_Named]:
    """Name the pictures: by their kind, and by their file where there are several of a kind."""
    kinds = Counter(layer.kind for layer in layers)
    has_image, has_map = kinds["image"] > 0, kinds["map"] + kinds["mask"] > 0
    named = []
    for number, layer in enumerate(layers):
        of = "" if kinds[layer.kind] == 1 else f" of {layer.name}"
        if layer.kind == "image":
            pictures = [browser.Layer(f"image{of}", "grey", is_shown=number == 0)]
        elif layer.kind == "labels":
            is_shown, opacity = not has_map, CELL_OPACITY if has_image else 1.0
            pictures = [browser.Layer(f"cells{of}", "colours", None, is_shown, opacity)]
        else:
            edges = f"membranes{of}"
            pictures = [
                browser.Layer(f"{layer.kind}{of}", "grey", is_shown=not has_image),
                browser.Layer(edges, "colours", None, has_image, MEMBRANE_OPACITY),
            ]
        named.append(_Named(layer, span_of(layer, views), tuple(pictures)))
    return named


class _Reader:
    """Reads the pictures of a section; see `sfseg.report.browser.Read`."""

    def __init__(self, named: list[_Named], views: list[View], on_section: OnSection) -> None:
        self._named, self._views, self._on_section = named, views, on_section
        self._done = 0

    def read(self, index: int) -> list[AnyArray]:
        """Read all layers of a section, the lowest first."""
        view, pictures, empty = self._views[index], [], None
        for named in self._named:
            stack = named.layer.stack
            if named.layer.kind == "image":
                grey, empty = read_image(stack, view)
                pictures.append(stretch(grey, named.span))
            elif named.layer.kind == "labels":
                pictures.append(number_colours(read_labels(stack, view)))
            else:
                probability, membrane = read_map(stack, view, named.layer.largest)
                edges = np.where(membrane > 0.5, MEMBRANE, 0).astype(np.uint8)
                if empty is not None:
                    edges[empty] = EMPTY
                pictures += [stretch(probability, (0, 1)), edges]
        self._done += 1
        self._on_section(self._done)
        return pictures
