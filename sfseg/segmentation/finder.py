"""The superpixels of a map and their graph, of which cells are made, as often as wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from sfseg.config import SegmentConfig
from sfseg.io import Stack
from sfseg.segmentation.cells import Cells, find_cells, paint_cells
from sfseg.segmentation.costs import CellCosts
from sfseg.segmentation.edits import Edit, Point, apply_edits, require_places
from sfseg.segmentation.graph import build_graph
from sfseg.segmentation.maps import StackMaps
from sfseg.segmentation.store import Store
from sfseg.system.limits import usable_processors
from sfseg.system.threads import ordered
from sfseg.types import Progress


def node_options(config: SegmentConfig) -> dict[str, object]:
    """Return the options that the superpixels depend on."""
    options = asdict(config)
    return {name: options[name] for name in ("method", "link", "threshold", "map_max", "axes")}


class CellFinder:
    """Divides a map into superpixels once, and joins them to cells with any of the other options.

    Parameters
    ----------
    stack : Stack
        The open map; sections are read again when cells are drawn.
    maps : StackMaps
        The same, as interior probability.
    config : SegmentConfig
        How.
    store : Store
        Keeps the superpixels.
    costs : CellCosts
        What it costs to cut an edge.
    progress : callable
        Called with the number of sections divided and that of all.
    """

    def __init__(
        self,
        stack: Stack,
        maps: StackMaps,
        config: SegmentConfig,
        store: Store,
        costs: CellCosts,
        *,
        progress: Progress,
    ) -> None:
        self._stack, self._maps, self._store, self._costs = stack, maps, store, costs
        self._workers = config.workers or usable_processors()
        self.graph = build_graph(maps, config, store, workers=self._workers, progress=progress)

    def find(self, config: SegmentConfig, edits: Sequence[Edit] = ()) -> Cells:
        """Return the cell of each superpixel.

        Parameters
        ----------
        config : SegmentConfig
            How; with the `node_options` of the superpixels.
        edits : sequence of Merge or Split
            Corrections, with the ids that the cells have without them.

        Returns
        -------
        ndarray of uint32, shape (superpixels,)
            See `sfseg.segmentation.cells.find_cells`.

        Raises
        ------
        OptionError
            If a correction names what is not there, or a cell that cannot be divided.
        """
        require_places(edits, self._stack.shape, self._stack.name)
        cells = find_cells(self.graph, config, self._costs)
        return apply_edits(cells, self.graph, edits, self._costs, config.beta, self._node_at)

    def paint(self, cells: Cells, config: SegmentConfig) -> Iterator[Cells]:
        """Draw the cells of each section, several at the same time."""

        def paint(index: int) -> Cells:
            own = cells[self.graph.starts[index] : self.graph.starts[index + 1]]
            return paint_cells(self._store.load_labels(index), self._maps[index], own, config)

        return ordered(paint, range(len(self._maps)), self._workers)

    def draw(self, config: SegmentConfig, edits: Sequence[Edit] = ()) -> Cells:
        """Find the cells, and draw them in memory, shape (Z, Y, X); as `find`."""
        return np.stack(list(self.paint(self.find(config, edits), config)))

    def _node_at(self, place: Point) -> int:
        section, y, x = place
        label = int(self._store.load_labels(section - 1)[y, x])
        return int(self.graph.starts[section - 1]) + label - 1 if label else -1
