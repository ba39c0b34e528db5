"""The graph of the superpixels of a stack, made section by section.

Each section is divided by itself. It needs the map of the sections beside it, and its overlaps
with the section before it. So three sections of the map are in memory for each thread, and the
graph. What was found in a section is kept in a folder, so that a stopped run goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sfseg.config import SegmentConfig
from sfseg.segmentation.edges import Edges, no_edges
from sfseg.segmentation.overlaps import OVERLAP_MEASURES, find_overlaps
from sfseg.segmentation.section import Section, divide_section
from sfseg.segmentation.store import Store
from sfseg.system.threads import ordered
from sfseg.types import Probability, Progress


class Maps(Protocol):
    """The sections of a map: interior probability from 0 to 1, float32, shape (Y, X)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Probability: ...


@dataclass(frozen=True)
class Graph:
    """The superpixels of a stack as nodes, from 0, and their edges.

    Attributes
    ----------
    starts : ndarray of int64, shape (Z + 1,)
        The node of the first superpixel of each section; last, the number of all.
    areas : ndarray of int64, shape (nodes,)
        Pixels of each that belong to a cell.
    borders, overlaps : Edges
        In the sections, and between them.
    """

    starts: NDArray[np.int64]
    areas: NDArray[np.int64]
    borders: Edges
    overlaps: Edges


def build_graph(
    maps: Maps, config: SegmentConfig, store: Store, *, workers: int, progress: Progress
) -> Graph:
    """Divide all sections of a map, and find the edges.

    Parameters
    ----------
    maps : Maps
        The map.
    config : SegmentConfig
        How.
    store : Store
        Keeps what is found in each section.
    workers : int
        Sections that are divided at the same time.
    progress : callable
        Called with the number of sections done and that of all, at the start and after each.

    Returns
    -------
    Graph
        The same for any number of workers.
    """
    counts, areas, borders, overlaps = [], [], [], []
    start, before = 0, 0
    progress(0, len(maps))
    for section, links in divide_sections(maps, config, store, range(len(maps)), workers):
        counts.append(len(section.areas))
        areas.append(section.areas)
        borders.append(_shifted(section.borders, start, start))
        overlaps.append(_shifted(links, before, start))
        before, start = start, start + counts[-1]
        progress(len(counts), len(maps))
    return Graph(
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate(areas),
        _joined(borders),
        _joined(overlaps),
    )


def divide_sections(
    maps: Maps, config: SegmentConfig, store: Store, sections: range, workers: int
) -> Iterator[tuple[Section, Edges]]:
    """Divide sections in a row, and link each of them with the one before; keep what is found.

    Parameters
    ----------
    maps, config, store, workers
        As for `build_graph`. What is in the store is not found again.
    sections : range
        Their indices. The first of them is linked with none.

    Yields
    ------
    section : Section
        What is found in each.
    overlaps : Edges
        Its overlaps with the one before.
    """
    recent = _Recent(maps, 2 * workers + 2)  # as many as both kinds of calls use at a time

    def divide(index: int) -> tuple[int, Section]:
        section = store.load_section(index)
        if section is None:
            before, middle = recent.get(index - 1), recent[index]
            section = divide_section(before, middle, recent.get(index + 1), config)
            store.save_section(index, section)
        return index, section

    def link(pair: tuple[Section | None, tuple[int, Section]]) -> tuple[Section, Edges]:
        before, (index, section) = pair
        if before is None or config.link == "none":
            return section, no_edges(OVERLAP_MEASURES)
        overlaps = store.load_overlaps(index)
        if overlaps is None:
            labels = before.labels, section.labels
            overlaps = find_overlaps(labels, (recent[index - 1], recent[index]))
            store.save_overlaps(index, overlaps)
        return section, overlaps

    divided = ordered(divide, sections, workers)
    yield from ordered(link, _with_the_one_before(divided), workers)


def _with_the_one_before(
    items: Iterator[tuple[int, Section]],
) -> Iterator[tuple[Section | None, tuple[int, Section]]]:
    before = None
    for item in items:
        yield before, item
        before = item[1]


class _Recent:
    """Reads each section of a map once, whichever thread asks, and keeps the last ones."""

    def __init__(self, maps: Maps, count: int) -> None:
        self._depth, self._lock = len(maps), Lock()
        self._read = lru_cache(count)(maps.__getitem__)

    def __getitem__(self, index: int) -> Probability:
        with self._lock:
            return self._read(index)

    def get(self, index: int) -> Probability | None:
        """Return a section; None before the first and after the last one."""
        return self[index] if 0 <= index < self._depth else None


def _shifted(edges: Edges, first: int, second: int) -> Edges:
    """Turn numbers of superpixels in their sections into nodes."""
    starts = np.array([first - 1, second - 1], np.int64)
    return Edges(
        (edges.pairs.astype(np.int64) + starts).astype(np.uint64), edges.measures, edges.sizes
    )


def _joined(edges: Sequence[Edges]) -> Edges:
    return Edges(
        np.concatenate([one.pairs for one in edges]),
        np.concatenate([one.measures for one in edges]),
        np.concatenate([one.sizes for one in edges]),
    )
