"""Measure cells: volume, place, area and perimeter by section, and contacts."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from sfseg.errors import OptionError, OutputExistsError, StackError
from sfseg.io import as_path, open_array, open_stack
from sfseg.io.cell_numbers import require_exact
from sfseg.io.census import Census, sample_indices
from sfseg.io.outputs import require_output
from sfseg.io.stack import Stack
from sfseg.segmentation.profiles import (
    Profiles,
    list_contacts,
    list_contacts_between,
    measure_profiles,
)
from sfseg.segmentation.sums import CellSums, ContactSums
from sfseg.segmentation.tables import (
    Table,
    cell_table,
    contact_table,
    section_table,
    write_header,
    write_rows,
)
from sfseg.system import files
from sfseg.types import AnyArray, Progress, Shape, VoxelSize, as_voxel_size

_UNKNOWN: VoxelSize = (math.nan, math.nan, math.nan)

_SAFE_ID = 10**15
"""Spreadsheets keep 15 digits of a number."""

_GIVE_CELLS = "give the cells that sfseg segment makes of a map"
_TABLE = ".csv"


@dataclass(frozen=True, eq=False)
class CellMeasures:
    """Measures of cells: three tables, each a dict of columns of one length.

    ``pandas.DataFrame(measures.cells)`` makes a data frame of one.

    Attributes
    ----------
    cells : dict of str to ndarray
        A row for each cell, by its number.
    by_section : dict of str to ndarray
        A row for each cell in each of its sections.
    contacts : dict of str to ndarray
        A row for each pair of cells that touch.
    """

    cells: Table
    by_section: Table
    contacts: Table

    def __repr__(self) -> str:
        cells, profiles, pairs = (len(next(iter(t.values()))) for t in vars(self).values())
        return f"CellMeasures({cells} cells, {profiles} profiles in sections, {pairs} contacts)"


@dataclass(frozen=True)
class MeasureResult:
    """What `measure_file` has measured.

    Attributes
    ----------
    cells : int
        Number of cells.
    shape : tuple of int
        The stack.
    voxel_size_nm : tuple of float or None
        The voxel size that was used.
    warnings : tuple of str
        What a person should know, a sentence each.
    """

    cells: int
    shape: Shape
    voxel_size_nm: VoxelSize | None
    warnings: tuple[str, ...] = ()


def _ignore(*_: object) -> None:
    """Ignore what is said."""


def measure(cells: AnyArray, *, voxel_size_nm: VoxelSize | None = None) -> CellMeasures:
    """Measure the cells in an array of their numbers.

    Parameters
    ----------
    cells : array_like of whole numbers, shape (Z, Y, X) or (Y, X)
        The number of the cell of each pixel; 0 = membrane, or no cell.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x). Without it the tables have no columns in nm and um.

    Returns
    -------
    CellMeasures
        The tables.

    Raises
    ------
    StackError
        If it is no stack of whole numbers from 0 on, or looks like a map of probabilities.
    OptionError
        If the voxel size is not three numbers above 0.

    Notes
    -----
    Rows, columns and z count from 0, sections from 1; both ends of a bounding box belong to it. A
    perimeter is that of Crofton's formula, see `sfseg.segmentation.profiles.perimeter`. A contact
    is a face of a voxel between two cells; a staircase of faces is larger than the smooth surface.

    Examples
    --------
    >>> import numpy as np
    >>> block = np.zeros((2, 4, 4), np.uint32)
    >>> block[:, 1:3, :2], block[:, 1:3, 2:] = 7, 9
    >>> found = measure(block, voxel_size_nm=(50, 10, 10))
    >>> found.cells["id"].tolist(), found.cells["volume_um3"].tolist()
    ([7, 9], [4e-05, 4e-05])
    >>> found.contacts["contact_um2"].tolist()  # 2 rows, 2 sections, faces of 50 x 10 nm
    [0.002]
    """
    stack = open_array(cells, "measure", hint="sfseg.measure_file takes paths")
    voxel = as_voxel_size(voxel_size_nm)
    parts: list[Table] = []
    swept = _sweep(stack, voxel or _UNKNOWN, parts.append)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return CellMeasures(swept.cells, joined, swept.contacts)


def measure_file(
    source: str | Path,
    out: str | Path,
    *,
    by_section: str | Path | None = None,
    contacts: str | Path | None = None,
    voxel_size_nm: VoxelSize | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    progress: Progress = _ignore,
) -> MeasureResult:
    """Measure the cells in a file, and write the tables as CSV.

    Two sections at a time are in memory, and the sums of each cell and each contact.

    Parameters
    ----------
    source : str or Path
        The numbers of the cells; as for `sfseg.open_stack`.
    out : str or Path
        The table with a row for each cell; ends in .csv.
    by_section, contacts : str or Path, optional
        The tables with a row for each cell in each section, and for each pair of cells that touch.
    voxel_size_nm : tuple of float, optional
        nm along (z, y, x), where the file does not say it or is wrong.
    axes : str, optional
        As for `sfseg.open_stack`.
    overwrite : bool
        Whether existing tables are replaced.
    progress : callable
        Called with the sections done and the number of all.

    Returns
    -------
    MeasureResult
        The number of cells, and what a person should know.

    Raises
    ------
    StackError, OptionError
        As for `measure`, and what `sfseg.open_stack` raises.
    OutputExistsError
        If a table exists and `overwrite` is False, is the input, or two have one name.
    OutputError
        If a table cannot be written.
    """
    as_path(source, "measure_file", hint="sfseg.measure takes arrays")
    paths = [as_path(p, "measure_file") for p in (out, by_section, contacts) if p is not None]
    require_tables(paths)
    for path in paths:
        require_output(path, [source], overwrite=overwrite)
    voxel = as_voxel_size(voxel_size_nm)
    with open_stack(source, axes=axes, labels=True) as stack, contextlib.ExitStack() as created:

        def create(path: str | Path | None) -> Callable[[Table], None]:
            if path is None:
                return _ignore
            part = created.enter_context(files.atomic_path(Path(path), overwrite=overwrite))
            return _Rows(created.enter_context(part.open("w", encoding="utf-8", newline="\n")))

        write_cells, write_sections, write_contacts = map(create, (out, by_section, contacts))
        voxel = voxel or stack.voxel_size_nm
        swept = _sweep(stack, voxel or _UNKNOWN, write_sections, progress)
        write_cells(swept.cells)
        write_contacts(swept.contacts)
        notes = (*stack.notes, *_list_doubts(stack.name, swept, voxel, contacts is not None))
    return MeasureResult(len(swept.cells["id"]), stack.shape, voxel, notes)


def require_tables(paths: Sequence[Path]) -> None:
    """Refuse names of tables that do not end in .csv, and one name for two tables.

    Raises
    ------
    OptionError
        If a name ends otherwise.
    OutputExistsError
        If two are the same.
    """
    for path in paths:
        if path.suffix.lower() != _TABLE:
            raise OptionError(
                f"{path}: the name of a table ends in {_TABLE}",
                hint=f"name it {path.with_suffix(_TABLE)}",
            )
    if len({path.absolute() for path in paths}) < len(paths):
        raise OutputExistsError(
            f"{paths[0]}: two tables have one name", hint="give each table a name of its own"
        )


class _Rows:
    """Writes parts of a table to a file, the names of the columns first."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._is_new = file, True

    def __call__(self, table: Table) -> None:
        if self._is_new:
            write_header(self._file, table)
            self._is_new = False
        write_rows(self._file, table)


@dataclass(frozen=True, eq=False)
class _Swept:
    """The tables of a stack, and whether cells touch within a section."""

    cells: Table
    contacts: Table

    @property
    def touch(self) -> bool:
        """Whether two cells touch in a section."""
        return bool(self.contacts["faces_y"].any() or self.contacts["faces_x"].any())


def _sweep(
    stack: Stack,
    voxel: VoxelSize,
    each: Callable[[Table], None],
    progress: Progress = _ignore,
) -> _Swept:
    """Go through the sections; call `each` with the table of every section."""
    _require_ids(stack)
    sums, contacts = CellSums(), ContactSums()
    last: tuple[Profiles, AnyArray] | None = None
    progress(0, len(stack))
    for z, section in enumerate(_whole_numbers(stack)):
        profiles = measure_profiles(section)
        each(section_table(profiles.ids, profiles.sums, z + 1, voxel))
        indices = sums.add(profiles, z)
        for axis, keys in enumerate(list_contacts(profiles, indices), start=1):
            contacts.add(axis, keys)
        if last is not None:
            keys = list_contacts_between(last[0], profiles, (last[1], indices))
            contacts.add(0, keys)
        last = profiles, indices
        progress(z + 1, len(stack))
    dtype = np.int64 if stack.dtype.kind == "f" else stack.dtype
    ids, pairs = np.array(sums.ids, dtype), contacts.pairs()
    return _Swept(
        cell_table(ids, sums.sums, pairs, stack.shape, voxel), contact_table(ids, pairs, voxel)
    )


def _require_ids(stack: Stack) -> None:
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


def _whole_numbers(stack: Stack) -> Iterator[AnyArray]:
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


def _list_doubts(
    name: str, swept: _Swept, voxel: VoxelSize | None, contacts: bool
) -> Iterator[str]:
    """Say what a person may not expect of the tables."""
    ids = swept.cells["id"]
    if not len(ids):
        yield f"{name}: there is no cell in it, all pixels are 0"
    if len(ids) == 1:
        yield (
            f"{name}: all cells have the number {ids[0]}, as in a mask: they are measured as one"
        )
    if voxel is None:
        yield (
            f"{name}: the voxel size is not known, so all measures are in pixels: add "
            "--voxel-size Z,Y,X (nm) for um"
        )
    elif math.isnan(voxel[0]):
        yield (
            f"{name}: the section thickness is not known, so there are no volumes: add "
            "--voxel-size Z,Y,X (nm)"
        )
    if len(ids) and int(ids[-1]) >= _SAFE_ID:
        yield f"{name}: spreadsheets keep 15 digits of a number, and {ids[-1]} has more"
    if contacts and len(ids) > 1 and not swept.touch:
        yield (
            f"{name}: no two cells touch within a section, as membranes lie between them: the "
            "contacts are only those with the sections above and below. segment --fill closes "
            "the gaps"
        )
