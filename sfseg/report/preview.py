"""One picture of a few sections: the image, what was made of it, and both on top of each other."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from sfseg.errors import OptionError
from sfseg.report.colours import EMPTY_COLOUR, MEMBRANE_COLOUR
from sfseg.report.layers import Layer, spread
from sfseg.report.paint import Colours
from sfseg.report.panels import PANEL_PX, Panel, Row, draw_rows
from sfseg.report.sections import MEMBRANE_BELOW
from sfseg.system import files

SECTIONS, MOST_SECTIONS = 3, 20
"""That are shown unless others are asked for, and that are possible."""

MARGIN_PX, GAP_PX, LINE_PX = 16, 8, 24

DPI, TEXT_POINTS, LETTER_PX = 100, 9.5, 8
"""Of the text; a letter is about so wide."""

BAR_PX = 4
"""Height of a scale bar."""

PNG_LEVEL = 9
"""The noise of images packs badly: this saves a tenth."""

TEXT, QUIET = "#1b1f24", "#57606a"
MAP_TEXT, MASK_TEXT = f"membrane: probability below {MEMBRANE_BELOW}", "membrane"
EMPTY_TEXT = "no tissue"


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
