"""Cells of a stack: from a membrane map to ids that continue from section to section."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfseg.config import SegmentConfig, configure
from sfseg.errors import NonFiniteError, OptionError, OutputError, ResumeError, StackError
from sfseg.io import Stack, as_path, open_array, open_stack
from sfseg.io.formats import require_writable
from sfseg.io.outputs import require_output
from sfseg.io.write import write_sections
from sfseg.segmentation.cells import Cells
from sfseg.segmentation.costs import CellCosts, load_costs
from sfseg.segmentation.edits import Edit, require_places
from sfseg.segmentation.finder import CellFinder, node_options
from sfseg.segmentation.maps import StackMaps
from sfseg.segmentation.sharing import share_sections
from sfseg.segmentation.store import FolderStore, MemoryStore
from sfseg.system.files import ensure_parent, sibling
from sfseg.system.locks import exclusive
from sfseg.system.malloc import give_back_memory, keep_freed_memory
from sfseg.system.sharing import Share
from sfseg.types import AnyArray, Progress, Say, Shape, describe_shape, format_count

SCRATCH = "part.superpixels"
"""Ending of the folder beside an output that is not complete."""

VERSION = 4
"""Of the method: the superpixels of another one are not taken over by ``--resume``."""

_ARRAYS = "sfseg.segment takes arrays"


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
        How many there are. Without corrections their ids are 1 to this.
    superpixels : int
        Of which they are made.
    """

    output: Path
    shape: Shape
    cells: int
    superpixels: int

    def describe(self) -> str:
        """Say how many cells there are, and in what."""
        return f"{format_count(self.cells, 'cell')} in {describe_shape(self.shape)}"


StageProgress = Callable[[int, int, str], None]
"""Called with the number of sections done, that of all, and the name of the stage."""


def segment(
    probability: AnyArray,
    config: SegmentConfig | None = None,
    *,
    edits: Sequence[Edit] = (),
    costs: CellCosts | None = None,
    progress: Progress = lambda *_: None,
    **options: Any,
) -> Cells:
    """Find the cells of a membrane map in memory.

    Parameters
    ----------
    probability : array_like, shape (Z, Y, X) or (Y, X)
        Interior probability, as `sfseg.predict` gives it: float from 0 to 1, or uint8 or uint16,
        which are divided by their maximum.
    config : SegmentConfig, optional
        How.
    edits : sequence of Merge or Split
        Corrections, with the ids that the result has without them; made one after the other.
    costs : CellCosts, optional
        What `learn_costs` learnt from cells that are known; default is what was learnt from drawn
        tissue.
    progress : callable
        Called with the number of sections divided and that of all, at the start and after each.
        What it raises stops the work.
    **options
        Fields of `SegmentConfig` by name, instead of `config` or on top of it.

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
    OptionError, UnknownNameError
        If an option is wrong, or a correction cannot be made.

    Examples
    --------
    >>> import numpy as np
    >>> probability = np.ones((2, 32, 32), np.float32)
    >>> probability[:, :, 15:17] = 0  # a membrane
    >>> np.unique(segment(probability)).tolist()
    [0, 1, 2]

    References
    ----------
    .. [1] T. Beier et al., 2017, doi:10.1038/nmeth.4151
    """
    config = configure(SegmentConfig, config, options)
    stack = open_array(probability, "segment", hint="use sfseg.segment_file for files")
    maps, store = StackMaps(stack, config.map_max), MemoryStore()
    require_places(edits, stack.shape, stack.name)
    finder = CellFinder(stack, maps, config, store, costs or load_costs(), progress=progress)
    return finder.draw(config, edits).reshape(np.shape(probability))


def segment_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: SegmentConfig | None = None,
    *,
    edits: Sequence[Edit] = (),
    costs: CellCosts | None = None,
    share: Share | None = None,
    progress: StageProgress = lambda *_: None,
    say: Say = lambda _: None,
    **options: Any,
) -> SegmentResult:
    """Find the cells of a membrane map, from file to file, in bounded memory.

    ``resume=True`` continues a run that was stopped; the output has the same bytes.

    Parameters
    ----------
    source : str or Path
        The map: a file, or a folder or glob of sections.
    out : str or Path
        The file to write; ends in .tif or .zarr.
    config : SegmentConfig, optional
        How.
    edits : sequence of Merge or Split
        Corrections, with the ids that the output has without them.
    costs : CellCosts, optional
        As for `sfseg.segment`.
    share : Share, optional
        What divides the sections, as the workers of a cluster; default is threads. The output is
        the same.
    progress : callable
        See `StageProgress`.
    say : callable
        Called with lines of text for the person who waits.
    **options
        Fields of `SegmentConfig` by name, instead of `config` or on top of it.

    Returns
    -------
    SegmentResult
        What was done.

    Raises
    ------
    StackError
        If it is no map, or the format cannot hold ids.
    NonFiniteError
        If a pixel is NaN or infinite.
    OptionError, UnknownNameError
        If an option is wrong.
    OutputExistsError, OutputError
        If the output exists, is the input, or cannot be written.
    ResumeError
        If an unfinished run was made from something else.
    OSError
        If a file cannot be read or written.
    """
    config = configure(SegmentConfig, config, options)
    source, target = (as_path(one, "segment_file", hint=_ARRAYS) for one in (source, out))
    require_writable(str(target), np.uint32)
    require_output(target, [source], overwrite=config.overwrite)
    with (
        open_stack(source, axes=config.axes) as stack,
        ensure_parent(target),
        exclusive(sibling(target, "part.lock"), lambda: _refuse_second(target)),
    ):
        for line in stack.notes:
            say(f"{stack.name}: {line}")
        require_places(edits, stack.shape, stack.name)
        keep_freed_memory()  # else a quarter of the time is the system's, which gives pages
        with _kept_if_stopped(target, config, say):
            result = _segment_stack(
                stack, target, config, edits, costs or load_costs(), share, progress, say
            )
    give_back_memory()
    return result


@contextlib.contextmanager
def _kept_if_stopped(target: Path, config: SegmentConfig, say: Say) -> Iterator[None]:
    """Keep the superpixels of a run that ends early, unless the map is at fault; say so."""
    folder = sibling(target, SCRATCH)
    try:
        yield
    except (StackError, NonFiniteError):
        if not config.resume:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except ResumeError:
        raise
    except BaseException as error:
        if folder.is_dir():
            command = "corrected" if isinstance(error, OptionError) else "same"
            say(
                f"{target}: finished sections are kept; to continue, add --resume to the {command} "
                "command"
            )
        raise


def _segment_stack(
    stack: Stack,
    target: Path,
    config: SegmentConfig,
    edits: Sequence[Edit],
    costs: CellCosts,
    share: Share | None,
    progress: StageProgress,
    say: Say,
) -> SegmentResult:
    """Divide the sections, solve the graph, and write the cells."""
    maps = StackMaps(stack, config.map_max)
    for line in maps.doubts():
        say(f"warning: {line}")
    identity = {"version": VERSION, "input": stack.sha256(), **node_options(config)}
    folder = sibling(target, SCRATCH)
    store = FolderStore(folder, identity, resume=config.resume)

    def divided(done: int, total: int) -> None:
        progress(done, total, f"dividing {stack.name} into superpixels")

    def read(done: int, total: int) -> None:
        progress(done, total, f"reading the superpixels of {stack.name}")

    if share is not None:
        share_sections(maps, stack.shape, config, store, share, divided)
    found = divided if share is None else read
    finder = CellFinder(stack, maps, config, store, costs, progress=found)
    graph = finder.graph
    say(
        f"graph: {format_count(len(graph.areas), 'superpixel')}, "
        f"{format_count(len(graph.borders.pairs), 'border')}, "
        f"{format_count(len(graph.overlaps.pairs), 'overlap')}"
    )
    cells = finder.find(config, edits)
    if not cells.any():
        say(
            f"warning: {stack.name}: no pixel is above the threshold of {config.threshold:g}, so "
            "there is no cell"
        )
    for edit in edits:
        say(f"done: {edit}")

    def counted() -> Iterator[Cells]:
        for done, section in enumerate(finder.paint(cells, config)):
            progress(done, len(maps), f"writing {target}")
            yield section

    write_sections(
        target,
        counted(),
        stack.shape,
        np.uint32,
        voxel_size_nm=stack.voxel_size_nm,
        overwrite=config.overwrite,
    )
    store.remove()
    return SegmentResult(target, stack.shape, len(np.unique(cells[cells > 0])), len(cells))


def _refuse_second(target: Path) -> None:
    raise OutputError(
        f"{target}: another run is writing it", hint="wait for it, or give another name with -o"
    )
