"""The graph of the superpixels of a stack, made section by section.

Each section is divided by itself. It needs the map of the sections beside it, and its overlaps
with the section before it. So three sections of the map are in memory for each thread, and the
graph. What was found in a section is kept in a folder, so that a stopped run goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sfseg.config import SegmentConfig
from sfseg.segmentation.edges import OVERLAP_MEASURES, Edges, find_overlaps, no_edges
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


@dataclass(frozen=True)
class _Triple:
    """A section of a map, and those beside it."""

    index: int
    before: Probability | None
    section: Probability
    after: Probability | None


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

    def divide(triple: _Triple) -> tuple[_Triple, Section]:
        section = store.load_section(triple.index)
        if section is None:
            section = divide_section(triple.before, triple.section, triple.after, config)
            store.save_section(triple.index, section)
        return triple, section

    def link(
        pair: tuple[tuple[_Triple, Section] | None, tuple[_Triple, Section]],
    ) -> tuple[Section, Edges]:
        before, (triple, section) = pair
        if before is None or config.link == "none":
            return section, no_edges(OVERLAP_MEASURES)
        overlaps = store.load_overlaps(triple.index)
        if overlaps is None:
            labels = before[1].labels, section.labels
            interior = before[0].section, triple.section
            overlaps = find_overlaps(labels, interior)
            store.save_overlaps(triple.index, overlaps)
        return section, overlaps

    counts, areas, borders, overlaps = [], [], [], []
    start, before = 0, 0
    progress(0, len(maps))
    divided = ordered(divide, _triples(maps), workers)
    for section, links in ordered(link, _with_the_one_before(divided), workers):
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


def _triples(maps: Maps) -> Iterator[_Triple]:
    """Read each section once."""
    before, section = None, maps[0]
    for index in range(len(maps)):
        after = maps[index + 1] if index + 1 < len(maps) else None
        yield _Triple(index, before, section, after)
        if after is not None:
            before, section = section, after


def _with_the_one_before(
    items: Iterator[tuple[_Triple, Section]],
) -> Iterator[tuple[tuple[_Triple, Section] | None, tuple[_Triple, Section]]]:
    before = None
    for item in items:
        yield before, item
        before = item


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
