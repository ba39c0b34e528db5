"""Layers as colours: an image, a map, cells, and a map or cells drawn over the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfseg.report.colours import (
    CELLS,
    EMPTY_COLOUR,
    MEMBRANE_COLOUR,
    find_span,
    palette,
    stretch,
)
from sfseg.report.layers import Layer
from sfseg.report.sections import View, read_image, read_labels, read_map
from sfseg.transforms.empty import Mask
from sfseg.types import AnyArray

Colours = NDArray[np.uint8]
"""Red, green and blue, shape (Y, X, 3)."""

MEMBRANE_OPACITY, CELL_OPACITY = 0.75, 0.45

_SPREAD = 7
"""Cells whose numbers follow each other get colours that are so many steps apart."""


@dataclass(frozen=True)
class Painted:
    """One layer of one view.

    Attributes
    ----------
    layer : Layer
        What it shows.
    colours : ndarray of uint8, shape (Y, X, 3)
        By itself.
    cover : ndarray of float32, shape (Y, X, 1)
        How much of the image below it covers, from 0 to 1.
    ink : ndarray of uint8, shape (Y, X, 3) or (3,)
        With which colours.
    empty : ndarray of bool, shape (Y, X), or None
        Of an image, where it holds no tissue.
    """

    layer: Layer
    colours: Colours
    cover: NDArray[np.float32]
    ink: Colours
    empty: Mask | None = None


def paint(layer: Layer, view: View, span: tuple[float, float]) -> Painted:
    """Read and colour a view of a layer; an image has black and white at the ends of `span`."""
    if layer.kind == "image":
        grey, empty = read_image(layer.stack, view)
        colours = _grey(stretch(grey, span))
        return Painted(layer, colours, np.zeros((*grey.shape, 1), np.float32), colours, empty)
    if layer.kind == "labels":
        colours = palette()[number_colours(read_labels(layer.stack, view)), :3]
        cover = np.asarray(colours.any(axis=2, keepdims=True) * CELL_OPACITY, np.float32)
        return Painted(layer, colours, cover, colours)
    probability, membrane = read_map(layer.stack, view, layer.largest)
    colours = _grey(stretch(probability, (0, 1)))
    cover = (membrane[..., None] * MEMBRANE_OPACITY).astype(np.float32)
    return Painted(layer, colours, cover, np.array(MEMBRANE_COLOUR, np.uint8))


def lay_over(image: Painted, above: Painted) -> Colours:
    """Draw a map or cells over an image."""
    mixed = image.colours * (1 - above.cover) + above.ink * above.cover
    return mark_empty(mixed.round().astype(np.uint8), image.empty)


def mark_empty(colours: Colours, empty: Mask | None) -> Colours:
    """Colour what holds no tissue: a map is 0 there, which would look like membrane."""
    if empty is None:
        return colours
    return np.where(empty[..., None], np.array(EMPTY_COLOUR, np.uint8), colours)


def number_colours(labels: AnyArray) -> NDArray[np.uint8]:
    """Choose a colour of `palette` for each number of a cell, the same in all sections; 0 is 0."""
    numbers = labels.astype(np.int64, copy=False) % CELLS * _SPREAD % CELLS + 1
    return np.where(labels == 0, 0, numbers).astype(np.uint8)


def span_of(layer: Layer, views: list[View]) -> tuple[float, float]:
    """Choose the grey values that are shown as black and white, from what is shown."""
    if layer.kind != "image" or layer.stack.dtype == np.uint8:
        return 0.0, 255.0
    middle = views[len(views) // 2]
    grey, empty = read_image(layer.stack, middle)
    return find_span(grey if empty is None or empty.all() else grey[~empty])


def _grey(values: NDArray[np.uint8]) -> Colours:
    return np.repeat(values[..., None], 3, axis=2)
