"""Divide the sections of a map elsewhere, as on a cluster: the same folder keeps what is found."""

from functools import partial

from sfseg.config import SegmentConfig
from sfseg.segmentation.graph import Maps, divide_sections
from sfseg.segmentation.store import FolderStore
from sfseg.system.sharing import Share, group_sections
from sfseg.types import Progress, Shape


def share_sections(
    maps: Maps,
    shape: Shape,
    config: SegmentConfig,
    store: FolderStore,
    share: Share,
    progress: Progress,
) -> None:
    """Divide and link all sections that are missing in a folder.

    Groups of sections in a row are divided first, and linked within. Then the groups are linked.

    Parameters
    ----------
    maps : Maps
        The map; it is pickled.
    shape : tuple of int
        Its shape, (Z, Y, X).
    config : SegmentConfig
        How.
    store : FolderStore
        Keeps what is found.
    share : Share
        What calls a function for each group.
    progress : callable
        Called with the number of sections divided and that of all, at the start and after each
        group.
    """
    groups, is_linked = group_sections(shape), config.link == "graph"
    sections, overlaps = store.sections(), store.overlaps()
    missing = [
        group
        for group in groups
        if not (sections.issuperset(group) and (not is_linked or overlaps.issuperset(group[1:])))
    ]
    done = len(maps) - sum(map(len, missing))
    progress(done, len(maps))
    with store.shared() as shared:
        divide = partial(_divide, maps, config, shared)
        for count in share(divide, missing, 1):
            done += count
            progress(done, len(maps))
        if is_linked:
            firsts = (group.start for group in groups[1:] if group.start not in overlaps)
            for _ in share(divide, (range(first - 1, first + 1) for first in firsts), 1):
                pass


def _divide(maps: Maps, config: SegmentConfig, store: FolderStore, sections: range) -> int:
    """Divide sections in a row, and link them; return how many there are."""
    store.require_visible()
    return sum(1 for _ in divide_sections(maps, config, store, sections, workers=1))
