"""Cells of a stack: from a membrane map to ids that continue from section to section."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sfseg.config import SegmentConfig
from sfseg.errors import OutputError
from sfseg.io import as_path, open_array, open_stack, write_sections
from sfseg.segmentation.cells import Cells, find_cells, paint_cells
from sfseg.segmentation.graph import Graph, build_graph
from sfseg.segmentation.maps import StackMaps
from sfseg.segmentation.store import FolderStore, MemoryStore, Store
from sfseg.system.files import check_output_path, sibling
from sfseg.system.limits import usable_processors
from sfseg.system.locks import exclusive
from sfseg.system.threads import ordered
from sfseg.types import AnyArray, Progress, Say, Shape

VERSION = 1
"""Of the method: the superpixels of another one are not taken over by ``--resume``."""


@dataclass(frozen=True)
class SegmentResult:
    """What `segment_file` has done.

    Attributes
    ----------
    output : Path
        The file.
    shape : tuple of int
        (Z, Y, X).
    cells : int
        How many there are; their ids are 1 to this.
    superpixels : int
        Of which they are made.
    """

    output: Path
    shape: Shape
    cells: int
    superpixels: int


def segment(
    probability: AnyArray,
    config: SegmentConfig = SegmentConfig(),  # noqa: B008 - frozen
) -> Cells:
    """Find the cells of a membrane map in memory.

    Parameters
    ----------
    probability : array_like, shape (Z, Y, X) or (Y, X)
        Interior probability, as `sfseg.predict` gives it: float from 0 to 1, or uint8 or uint16,
        which are divided by their maximum.
    config : SegmentConfig
        How.

    Returns
    -------
    ndarray of uint32, shape as the map
        Ids of cells, from 1, in the order in which they first appear; 0 on membranes. An id is the
        same cell in all sections.

    Raises
    ------
    StackError
        If it is no map.
    NonFiniteError
        If a pixel is NaN or infinite.

    References
    ----------
    .. [1] T. Beier et al., 2017, doi:10.1038/nmeth.4151
    """
    stack = open_array(probability, "segment", hint="use sfseg.segment_file for files")
    maps, store = StackMaps(stack), MemoryStore()
    workers = config.workers or usable_processors()
    graph = build_graph(maps, config, store, workers=workers, progress=lambda *_: None)
    found = find_cells(graph, config)
    painted = np.stack(list(_paint(maps, store, graph, found, config, workers)))
    return painted.reshape(np.shape(probability))


def segment_file(
    source: str | Path,
    output: str | Path,
    config: SegmentConfig = SegmentConfig(),  # noqa: B008 - frozen
    *,
    progress: Callable[[str], Progress] = lambda _: lambda *_: None,
    say: Say = lambda _: None,
) -> SegmentResult:
    """Find the cells of a membrane map, from file to file, in bounded memory.

    Parameters
    ----------
    source : str or Path
        The map: a stack as `sfseg.open_stack` takes it.
    output : str or Path
        The file, which ends in .tif or .zarr.
    config : SegmentConfig
        How.
    progress : callable
        Called with the name of each stage; returns what is called with the number of sections done
        and that of all.
    say : callable
        Called with a line for the user.

    Returns
    -------
    SegmentResult
        What was done.

    Raises
    ------
    StackError
        If it is no map.
    NonFiniteError
        If a pixel is NaN or infinite.
    OutputExistsError, OutputError
        If the output exists, or cannot be written.
    ResumeError
        If an unfinished run was made from something else.
    """
    source, target = (as_path(one, "segment_file") for one in (source, output))
    check_output_path(target, overwrite=config.overwrite or config.resume)
    workers = config.workers or usable_processors()
    with (
        open_stack(source, axes=config.axes) as stack,
        exclusive(sibling(target, "part.lock"), lambda: _refuse_second(target)),
    ):
        maps = StackMaps(stack)
        for line in _doubts(maps, stack.name):
            say(line)
        identity = {"version": VERSION, "input": stack.sha256, **_node_options(config)}
        folder = sibling(target, "part.superpixels")
        store = FolderStore(folder, identity, resume=config.resume)
        graph = build_graph(
            maps, config, store, workers=workers, progress=progress("dividing the sections")
        )
        say(f"{len(graph.areas):,} superpixels, {len(graph.borders.pairs):,} borders, "
            f"{len(graph.overlaps.pairs):,} overlaps")  # fmt: skip
        found = find_cells(graph, config)
        write_sections(
            target,
            _counted(_paint(maps, store, graph, found, config, workers), len(maps), progress),
            stack.shape,
            np.uint32,
            voxel_size_nm=stack.voxel_size_nm,
            overwrite=config.overwrite or config.resume,
        )
        store.remove()
    return SegmentResult(target, stack.shape, int(found.max(initial=0)), len(found))


def _refuse_second(target: Path) -> None:
    raise OutputError(
        f"{target}: another run is writing it", hint="wait for it, or give another name with -o"
    )


def _node_options(config: SegmentConfig) -> dict[str, object]:
    """Return the options that the superpixels depend on."""
    options = asdict(config)
    return {name: options[name] for name in ("method", "link", "threshold", "axes")}


def _paint(
    maps: StackMaps,
    store: Store,
    graph: Graph,
    cells: Cells,
    config: SegmentConfig,
    workers: int,
) -> Iterator[Cells]:
    """Draw the cells of each section, several at the same time."""

    def paint(index: int) -> Cells:
        own = cells[graph.starts[index] : graph.starts[index + 1]]
        return paint_cells(store.load_labels(index), maps[index], own, config)

    return ordered(paint, range(len(maps)), workers)


def _counted(
    sections: Iterator[Cells], count: int, progress: Callable[[str], Progress]
) -> Iterator[Cells]:
    update = progress("writing the cells")
    update(0, count)
    for done, section in enumerate(sections, 1):
        yield section
        update(done, count)


def _doubts(maps: StackMaps, name: str) -> Iterator[str]:
    """Say what looks odd."""
    if maps.is_mask():
        yield (
            f"warning: {name}: this is a mask, not a map of probabilities: a faint membrane cannot "
            "be told from a strong one, so cells are divided by their shape alone; predict with "
            "--output probability"
        )
