"""Tables of measures: columns with the unit in their names.

A column whose voxel length is not known is left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sfseg.segmentation.pairs import Keys
from sfseg.segmentation.profiles import (
    AREA,
    FIRST_X,
    FIRST_Y,
    LAST_X,
    LAST_Y,
    SUM_X,
    SUM_Y,
    Sums,
    perimeter,
)
from sfseg.segmentation.sums import FIRST_Z, LAST_Z, SECTIONS, SUM_Z
from sfseg.types import AnyArray, Shape, VoxelSize

Table = dict[str, AnyArray]
"""Columns of one length, by name."""

_UM = 1e-3  # a nm in um

_NEED_SIDES = ("_um3", "_um2", "_um", "_nm")
_NEED_ALL = ("volume_um3", "contact_um2", "centroid_z_nm")
"""Ends of the names of columns that need the sides of a pixel, or the thickness as well."""


def cell_table(
    ids: AnyArray,
    sums: Sums,
    contacts: tuple[Keys, Keys, Sums],
    shape: Shape,
    voxel_size_nm: VoxelSize,
) -> Table:
    """Make the table with a row for each cell, by id.

    Parameters
    ----------
    ids : ndarray, shape (N,)
        The cells, by index.
    sums : ndarray of int64, shape (N, columns)
        As in `sfseg.segmentation.sums.CellSums`.
    contacts : tuple
        As `sfseg.segmentation.sums.ContactSums.pairs` returns them.
    shape : tuple of int
        The stack.
    voxel_size_nm : tuple of float
        (z, y, x); NaN for a length that is not known.
    """
    z, y, x = voxel_size_nm
    voxels, sections = sums[:, AREA], sums[:, SECTIONS]
    around = perimeter(sums, (y * _UM, x * _UM))
    neighbours, faces, area = _sum_contacts(contacts, len(ids), voxel_size_nm)
    table = {
        "id": ids,
        "voxels": voxels,
        "volume_um3": voxels * (z * y * x * _UM**3),
        "sections": sections,
        "first_section": sums[:, FIRST_Z] + 1,
        "last_section": sums[:, LAST_Z] + 1,
        "first_y_px": sums[:, FIRST_Y],
        "last_y_px": sums[:, LAST_Y],
        "first_x_px": sums[:, FIRST_X],
        "last_x_px": sums[:, LAST_X],
        "at_edge": _touches_edge(sums, shape),
        **_centroid(sums, {"z": SUM_Z, "y": SUM_Y, "x": SUM_X}, voxel_size_nm),
        "mean_area_px": voxels / sections,
        "mean_area_um2": voxels / sections * (y * x * _UM**2),
        "mean_perimeter_px": perimeter(sums) / sections,
        "mean_perimeter_um": around / sections,
        "neighbours": neighbours,
        "contact_faces": faces,
        "contact_um2": area,
    }
    order = np.argsort(ids)
    known = _known(table, voxel_size_nm)
    return {name: column[order] for name, column in known.items()}


def section_table(ids: AnyArray, sums: Sums, section: int, voxel_size_nm: VoxelSize) -> Table:
    """Make the table with a row for each cell of one section; `section` counts from 1."""
    _, y, x = voxel_size_nm
    area = sums[:, AREA]
    return _known(
        {
            "id": ids,
            "section": np.full(len(ids), section),
            "area_px": area,
            "area_um2": area * (y * x * _UM**2),
            "perimeter_px": perimeter(sums),
            "perimeter_um": perimeter(sums, (y * _UM, x * _UM)),
            **_centroid(sums, {"y": SUM_Y, "x": SUM_X}, (y, x)),
        },
        voxel_size_nm,
    )


def contact_table(
    ids: AnyArray, contacts: tuple[Keys, Keys, Sums], voxel_size_nm: VoxelSize
) -> Table:
    """Make the table with a row for each pair of cells that touch, the smaller id first."""
    one, other, faces = contacts
    pair = np.sort(np.stack([ids[one], ids[other]], axis=1), axis=1)
    order = np.lexsort((pair[:, 1], pair[:, 0]))
    pair, faces = pair[order], faces[order]
    return _known(
        {
            "id_1": pair[:, 0],
            "id_2": pair[:, 1],
            "faces_z": faces[:, 0],
            "faces_y": faces[:, 1],
            "faces_x": faces[:, 2],
            "contact_um2": _face_area(faces, voxel_size_nm),
        },
        voxel_size_nm,
    )


def _centroid(sums: Sums, columns: Mapping[str, int], lengths_nm: Sequence[float]) -> Table:
    """Return the mean place of the pixels along some axes: in pixels, then in nm."""
    places = {axis: sums[:, column] / sums[:, AREA] for axis, column in columns.items()}
    in_px = {f"centroid_{axis}_px": place for axis, place in places.items()}
    in_nm = {
        f"centroid_{axis}_nm": place * length
        for (axis, place), length in zip(places.items(), lengths_nm, strict=True)
    }
    return in_px | in_nm


def _touches_edge(sums: Sums, shape: Shape) -> NDArray[np.int64]:
    """Return 1 for each cell that the edge of the stack may cut, else 0."""
    touches = np.zeros(len(sums), bool)
    ends = ((FIRST_Z, LAST_Z), (FIRST_Y, LAST_Y), (FIRST_X, LAST_X))
    for (first, last), length in zip(ends, shape, strict=True):
        touches |= (sums[:, first] == 0) | (sums[:, last] == length - 1)
    return touches.astype(np.int64)


def _sum_contacts(
    contacts: tuple[Keys, Keys, Sums], count: int, voxel_size_nm: VoxelSize
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return for each cell its neighbours, its faces with them, and their area in um2."""
    *ends, faces = contacts
    both = np.concatenate(ends)
    total, area = faces.sum(axis=1), _face_area(faces, voxel_size_nm)
    return (
        np.bincount(both, minlength=count),
        np.bincount(both, np.tile(total, 2), count).astype(np.int64),
        np.bincount(both, np.tile(area, 2), count),
    )


def _face_area(faces: Sums, voxel_size_nm: VoxelSize) -> NDArray[np.float64]:
    """Return the area of faces in um2; a face along z has the sides y and x, and so on."""
    z, y, x = (length * _UM for length in voxel_size_nm)
    return np.asarray(faces @ np.array([y * x, z * x, z * y]))


def _known(table: Table, voxel_size_nm: VoxelSize) -> Table:
    """Leave out the columns that need a voxel length which is not known."""
    thickness, *sides = voxel_size_nm
    left_out = _NEED_SIDES if np.isnan(sides).any() else _NEED_ALL if np.isnan(thickness) else ()
    return {name: column for name, column in table.items() if not name.endswith(left_out)}
