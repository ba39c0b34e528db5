"""The panels of a preview: a few sections of stacks that lie on each other, each with a scale bar.

Only what is shown is read, so a stack of any size has a preview. Sections that are too large to be
seen as a whole are shown twice: one whole and small, and the middle of each pixel for pixel.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfseg.report.layers import Layer, voxel_size_of
from sfseg.report.paint import Colours, Painted, lay_over, mark_empty, paint, span_of
from sfseg.report.sections import View, middle, whole
from sfseg.types import VoxelSize

PANEL_PX = 512
"""The longer side of a panel; small sections are enlarged to about that."""

MOST_REDUCED = 4
"""A membrane is 5 to 10 pixels wide: in sections that are reduced more, it cannot be seen."""

BAR_SHARE = 0.25
"""Share of the width of a panel that its scale bar has at most."""


@dataclass(frozen=True)
class Panel:
    """A picture and what stands above it."""

    title: str
    colours: Colours


@dataclass(frozen=True)
class Row:
    """The panels of one view of the stack, side by side."""

    title: str
    panels: tuple[Panel, ...]
    bar: "Bar"
    has_empty: bool


@dataclass(frozen=True)
class Bar:
    """A scale bar: its length in pixels of the picture, and what it stands for."""

    length_px: float
    text: str


def draw_rows(layers: Sequence[Layer], sections: Sequence[int]) -> list[Row]:
    """Read and draw all panels."""
    stack = layers[0].stack
    views = [whole(stack, index, PANEL_PX) for index in sections]
    if views[0].factor > MOST_REDUCED:
        views = [views[len(views) // 2], *(middle(stack, index, PANEL_PX) for index in sections)]
    spans = [span_of(layer, views) for layer in layers]
    return [
        _draw_row(
            [paint(layer, view, span) for layer, span in zip(layers, spans, strict=True)], view
        )
        for view in views
    ]


def _draw_row(painted: Sequence[Painted], view: View) -> Row:
    """Lay out one view of all layers."""
    layers = [one.layer for one in painted]
    panels = list(_panels(painted))
    height, width = panels[0].colours.shape[:2]
    enlarged = max(PANEL_PX // max(height, width), 1)
    return Row(
        _title(view, layers[0]),
        tuple(Panel(one.title, _enlarge(one.colours, enlarged)) for one in panels),
        _choose_bar(width * enlarged, view.factor / enlarged, voxel_size_of(layers)),
        any(one.empty is not None for one in painted),
    )


def _panels(painted: Sequence[Painted]) -> Iterator[Panel]:
    """Draw each layer by itself, then each over the image."""
    image = next((one for one in painted if one.layer.kind == "image"), None)
    empty = None if image is None else image.empty
    for one in painted:
        is_image = one.layer.kind == "image"
        yield Panel(one.layer.kind, one.colours if is_image else mark_empty(one.colours, empty))
    for one in painted:
        if image is not None and one.layer.kind != "image":
            yield Panel(f"image + {one.layer.kind}", lay_over(image, one))


def _title(view: View, layer: Layer) -> str:
    """Say which section it is, which part of it, and how large."""
    shape = layer.stack.shape
    rows, columns = view.shape
    title = f"section {view.index + 1} of {shape[0]}"
    if view.shape != shape[1:]:
        title += f", the middle {rows}x{columns} of {shape[1]}x{shape[2]} pixels"
    elif view.factor > 1:
        title += f", {rows}x{columns} pixels at 1:{view.factor}"
    return title


def _choose_bar(width_px: int, scale: float, voxel_size_nm: VoxelSize | None) -> Bar:
    """Choose the scale bar of a panel each of whose pixels is `scale` pixels of the section."""
    if voxel_size_nm is None:
        length = round_length(width_px * BAR_SHARE * scale)
        return Bar(length / scale, f"{length:g} px")
    nm_per_px = voxel_size_nm[2] * scale
    length = round_length(width_px * BAR_SHARE * nm_per_px)
    is_long = length >= 1000
    return Bar(length / nm_per_px, f"{length / 1000:g} µm" if is_long else f"{length:g} nm")


def round_length(most: float) -> float:
    """Return the largest length up to `most` that is 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> round_length(512), round_length(199)
    (500.0, 100.0)
    """
    power = 10 ** math.floor(math.log10(most))
    step = max(step for step in (1, 2, 5) if step * power <= most)
    return float(step * power)


def _enlarge(colours: Colours, times: int) -> Colours:
    """Repeat each pixel."""
    return colours.repeat(times, axis=0).repeat(times, axis=1)
