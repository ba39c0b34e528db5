"""Read the numbers of cells, section by section; refuse a stack of something else."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import StackError
from sfseg.io.cell_numbers import require_exact
from sfseg.io.census import Census, sample_indices
from sfseg.io.stack import Stack
from sfseg.types import AnyArray

_GIVE_CELLS = "give the cells that sfseg segment makes of a map"


def require_cells(stack: Stack) -> None:
    """Refuse a map of probabilities in 8 or 16 bits, and an image."""
    if stack.dtype not in (np.uint8, np.uint16):
        return
    samples = [stack.section(index) for index in sample_indices(len(stack))]
    census = Census.from_sections(samples, None, range(len(samples)))
    if census.is_soft or census.is_scattered:
        raise StackError(
            f"{stack.name}: its values are scattered as in a map or an image, these are not the "
            "numbers of cells",
            hint=_GIVE_CELLS,
        )


def read_cells(stack: Stack) -> Iterator[AnyArray]:
    """Read the sections as whole numbers; refuse what numbers no cell."""
    for number, section in enumerate(stack, start=1):
        where = f"{stack.name}: section {number}"
        ids = _from_floats(section, where) if section.dtype.kind == "f" else section
        if ids.dtype.kind == "i" and (lowest := ids.min()) < 0:
            raise StackError(
                f"{where}: {lowest} is no number of a cell",
                hint="number cells from 1, and write 0 where there is none",
            )
        yield ids


def _from_floats(section: AnyArray, where: str) -> NDArray[np.int64]:
    """Turn floats that are whole numbers into integers; ImageJ saves numbers of cells so."""
    broken = section[section != np.rint(section)]
    if broken.size:
        raise StackError(
            f"{where}: {broken[0]:g} is no number of a cell, this looks like a map",
            hint=_GIVE_CELLS,
        )
    require_exact(section, where)
    return section.astype(np.int64)
