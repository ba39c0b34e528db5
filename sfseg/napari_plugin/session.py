"""Cells that were found, and their corrections, without a window."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sfseg.config import SegmentConfig
from sfseg.segmentation.edits import Edit
from sfseg.segmentation.finder import CellFinder
from sfseg.types import AnyArray


@dataclass(frozen=True, eq=False)
class Session:
    """Cells that were found, and their corrections.

    Attributes
    ----------
    map : napari.layers.Image
        The map.
    pixels : array_like
        Its pixels.
    config : SegmentConfig
        How they were found.
    finder : CellFinder
        Finds them again.
    edits : tuple of Merge or Split
        The corrections.
    labels : napari.layers.Labels or None
        Shows the cells.
    """

    map: Any
    pixels: AnyArray
    config: SegmentConfig
    finder: CellFinder
    edits: tuple[Edit, ...] = ()
    labels: Any = None

    def draw(self) -> AnyArray:
        """Draw the cells, shape as the map."""
        return self.finder.draw(self.config, self.edits).reshape(self.pixels.shape)

    def command(self, table: Path) -> str:
        """Write the command that makes the same cells of a file."""
        changed = [
            f"--{field.name.replace('_', '-')}" + (f" {value:g}" if value is not True else "")
            for field in fields(SegmentConfig)
            if (value := getattr(self.config, field.name)) != field.default
        ]
        path = self.map.source.path or "map.tif"
        words = ["sfseg segment", shlex.quote(path), "-o corrected.tif", *changed]
        return " ".join([*words, "--edits", shlex.quote(str(table))])
