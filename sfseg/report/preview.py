"""One picture of a few sections: the image, what was made of it, and both on top of each other.

Only what is shown is read, so a stack of any size has a preview. Sections that are too large to be
seen as a whole are shown twice: one whole and small, and the middle of each pixel for pixel.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from sfseg.errors import OptionError
from sfseg.report.colours import EMPTY_COLOUR, MEMBRANE_COLOUR
from sfseg.report.layers import Layer, spread, voxel_size_of
from sfseg.report.paint import Colours, Painted, lay_over, mark_empty, paint, span_of
from sfseg.report.sections import MEMBRANE_BELOW, View, middle, whole
from sfseg.system import files
from sfseg.types import VoxelSize

PANEL_PX = 512
"""The longer side of a panel; small sections are enlarged to about that."""

MOST_REDUCED = 4
"""A membrane is 5 to 10 pixels wide: in sections that are reduced more, it cannot be seen."""

SECTIONS, MOST_SECTIONS = 3, 20
"""That are shown unless others are asked for, and that are possible."""

MARGIN_PX, GAP_PX, LINE_PX = 16, 8, 24

DPI, TEXT_POINTS, LETTER_PX = 100, 9.5, 8
"""Of the text; a letter is about so wide."""

BAR_SHARE, BAR_PX = 0.25, 4
"""Share of the width of a panel that its scale bar has at most, and the height of the bar."""

PNG_LEVEL = 9
"""The noise of images packs badly: this saves a tenth."""

TEXT, QUIET = "#1b1f24", "#57606a"
MAP_TEXT, MASK_TEXT = f"membrane: probability below {MEMBRANE_BELOW}", "membrane"
EMPTY_TEXT = "no tissue"


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


def write_preview(
    path: Path,
    layers: Sequence[Layer],
    *,
    sections: Sequence[int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG of some sections of stacks that lie on each other.

    Parameters
    ----------
    path : Path
        The file to write.
    layers : sequence of Layer
        Open stacks of the same shape, at least one.
    sections : sequence of int, optional
        Indices from 0; by default the first, the middle and the last section.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    OptionError
        If there are too many sections.
    StackError
        If a stack cannot be read.
    OutputExistsError, OutputError
        If the file exists and `overwrite` is False, or it cannot be written.
    """
    if sections and len(sections) > MOST_SECTIONS:
        raise OptionError(
            f"{path}: a picture shows up to {MOST_SECTIONS} sections, not {len(sections)}",
            hint=f"choose some of them, or write a page: {path.with_suffix('.html')}",
        )
    rows = draw_rows(layers, sections or spread(len(layers[0].stack), SECTIONS))
    data = imagecodecs.png_encode(_Page(layers, rows).draw(), level=PNG_LEVEL)
    files.write_bytes(path, bytes(data), overwrite=overwrite)


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


class _Page:
    """Puts rows of panels on a white page, with text around them.

    Parameters
    ----------
    layers : sequence of Layer
        What is shown.
    rows : sequence of Row
        At least one.
    """

    def __init__(self, layers: Sequence[Layer], rows: Sequence[Row]) -> None:
        self._layers, self._rows = layers, rows
        shapes = [row.panels[0].colours.shape for row in rows]
        self._column_px = max(width for _, width, _ in shapes) + GAP_PX
        columns = len(rows[0].panels)
        self.width = max(2 * MARGIN_PX + columns * self._column_px - GAP_PX, PANEL_PX)
        lines = len(layers) + 1 + len(rows) + 1  # names, titles, a line for each row, the legend
        panels = sum(height + GAP_PX for height, _, _ in shapes)
        self.height = 2 * MARGIN_PX + lines * LINE_PX + panels

    def draw(self) -> Colours:
        """Return the page: red, green and blue, shape (Y, X, 3)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI)
        canvas, places = FigureCanvasAgg(self._figure), self._write()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in another script
            canvas.draw()  # type: ignore[no-untyped-call]
        page = np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        for (y, x), panel in places:  # not drawn by Matplotlib: pixel for pixel
            height, width, _ = panel.colours.shape
            page[y : y + height, x : x + width] = panel.colours
        return np.ascontiguousarray(page)

    def _write(self) -> list[tuple[tuple[int, int], Panel]]:
        """Write all text; return the panels and their places, row and column."""
        y, places = MARGIN_PX, []
        for layer in self._layers:
            self._text(MARGIN_PX, y, f"{layer.kind}: {layer.name}", color=TEXT)
            y += LINE_PX
        lefts = [MARGIN_PX + i * self._column_px for i in range(len(self._rows[0].panels))]
        for left, panel in zip(lefts, self._rows[0].panels, strict=True):
            self._text(left, y, panel.title, color=TEXT, weight="bold")
        y += LINE_PX
        for row in self._rows:
            self._text(MARGIN_PX, y, row.title, color=QUIET)
            self._draw_bar(row, y)
            y += LINE_PX
            places += [((y, left), panel) for left, panel in zip(lefts, row.panels, strict=True)]
            y += row.panels[0].colours.shape[0] + GAP_PX
        self._write_legend(y)
        return places

    def _draw_bar(self, row: Row, y: int) -> None:
        """Draw the scale bar of a row at the end of its line, above the last panel."""
        right = self.width - MARGIN_PX
        self._text(right, y, row.bar.text, color=TEXT, ha="right")
        right -= LETTER_PX * (len(row.bar.text) + 1)
        self._box(
            right - row.bar.length_px, y + LINE_PX / 2 - BAR_PX, row.bar.length_px, BAR_PX, TEXT
        )

    def _write_legend(self, y: int) -> None:
        """Say what the colours are."""
        entries = []
        kinds = {layer.kind for layer in self._layers}
        if kinds & {"map", "mask"}:
            entries.append((MEMBRANE_COLOUR, MAP_TEXT if "map" in kinds else MASK_TEXT))
        if any(row.has_empty for row in self._rows):
            entries.append((EMPTY_COLOUR, EMPTY_TEXT))
        x = MARGIN_PX
        for colour, text in entries:
            side = LINE_PX // 2
            self._box(x, y + side / 4, side, side, tuple(part / 255 for part in colour))
            self._text(x + 2 * side, y, text, color=QUIET)
            x += 3 * side + LETTER_PX * len(text)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write one line, its upper left corner at a place; too long a line loses its middle."""
        from matplotlib.transforms import IdentityTransform

        self._figure.text(
            x,
            self.height - y,
            _fit(text, (self.width - 2 * MARGIN_PX) // LETTER_PX),
            **{"va": "top", "fontsize": TEXT_POINTS, **style},
            transform=IdentityTransform(),
            parse_math=False,  # a name may have dollars
        )

    def _box(self, x: float, y: float, width: float, height: float, colour: Any) -> None:
        from matplotlib.patches import Rectangle
        from matplotlib.transforms import IdentityTransform

        corner = (round(x), self.height - round(y) - height)
        box = Rectangle(corner, width, height, color=colour, lw=0, transform=IdentityTransform())
        self._figure.add_artist(box)


def _fit(text: str, letters: int) -> str:
    """Make a line printable, and short enough: its middle is left out."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    if len(plain) <= letters:
        return plain
    half = (letters - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"
