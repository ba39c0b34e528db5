"""Add up what the sections show of each cell; memory holds the sums alone."""

import numpy as np

from sfseg.segmentation.pairs import Keys, split_keys
from sfseg.segmentation.profiles import (
    AREA,
    COLUMNS,
    FIRST_X,
    FIRST_Y,
    LAST_X,
    LAST_Y,
    Profiles,
    Sums,
)

SUM_Z, FIRST_Z, LAST_Z, SECTIONS = range(COLUMNS, COLUMNS + 4)
"""Columns of `CellSums.sums` behind those of `Profiles.sums`."""

_FIRSTS, _LASTS = [FIRST_Y, FIRST_X, FIRST_Z], [LAST_Y, LAST_X, LAST_Z]

_EMPTY = np.zeros((1, COLUMNS + 4), np.int64)
_EMPTY[:, _FIRSTS], _EMPTY[:, _LASTS] = np.iinfo(np.int64).max // 2, -1
"""The row of a cell without pixels."""

_BATCH = 2**16
"""Contacts that wait, at least, before they are added to the others."""


class CellSums:
    """The sums of all cells. A cell has an index, in the order in which they are found."""

    def __init__(self) -> None:
        self._index: dict[int, int] = {}
        self._sums = _EMPTY.copy()

    def add(self, profiles: Profiles, z: int) -> Keys:
        """Add a section; return the indices of its cells: int64, shape (N,)."""
        ids = profiles.ids.tolist()
        indices = np.array([self._index.setdefault(i, len(self._index)) for i in ids], np.int64)
        while len(self._sums) < len(self._index):
            self._sums = np.concatenate([self._sums, np.repeat(_EMPTY, len(self._sums), axis=0)])
        area = profiles.sums[:, AREA]
        places = np.full_like(area, z)
        new = np.column_stack([profiles.sums, z * area, places, places, np.ones_like(area)])
        old = self._sums[indices]
        both = old + new
        both[:, _FIRSTS] = np.minimum(old, new)[:, _FIRSTS]
        both[:, _LASTS] = np.maximum(old, new)[:, _LASTS]
        self._sums[indices] = both
        return indices

    @property
    def ids(self) -> list[int]:
        """The ids of the cells, by index."""
        return list(self._index)

    @property
    def sums(self) -> Sums:
        """The sums of the cells, by index: int64, shape (cells, columns)."""
        return self._sums[: len(self._index)]


class ContactSums:
    """How many faces each pair of cells has in common, along z, y and x."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.int64)
        self._faces = np.empty((0, 3), np.int64)
        self._waiting: list[tuple[Keys, Sums]] = []

    def add(self, axis: int, keys: Keys) -> None:
        """Add faces along an axis, 0 = z; see `sfseg.segmentation.profiles.list_contacts`."""
        found, counts = np.unique(keys, return_counts=True)
        faces = np.zeros((len(found), 3), np.int64)
        faces[:, axis] = counts
        self._waiting.append((found, faces))
        # each merge sorts all: wait until it doubles them, so that the work stays in proportion
        if sum(len(each) for each, _ in self._waiting) > max(len(self._keys), _BATCH):
            self._merge()

    def _merge(self) -> None:
        """Add the contacts that wait to the others."""
        parts = [(self._keys, self._faces), *self._waiting]
        keys, place = np.unique(np.concatenate([k for k, _ in parts]), return_inverse=True)
        faces = np.zeros((len(keys), 3), np.int64)
        np.add.at(faces, place, np.concatenate([f for _, f in parts]))
        self._keys, self._faces, self._waiting = keys, faces, []

    def pairs(self) -> tuple[Keys, Keys, Sums]:
        """Return the two indices of each pair, and its faces: int64, shape (pairs, 3)."""
        self._merge()
        return (*split_keys(self._keys), self._faces)
