"""The eight orientations of a section: quarter turns, mirrored or not."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

ORIENTATIONS: Mapping[str, Sequence[int]] = MappingProxyType(
    {"none": (0,), "flips": (0, 2, 4, 6), "d4": tuple(range(8))}
)
"""The orientations that are averaged, by the name of the option, numbered as in `orient`."""


def orient(pair: Tensor, orientation: int) -> Tensor:
    """Turn and mirror the last two axes.

    Parameters
    ----------
    pair : Tensor, shape (..., Y, X)
        The tensor to turn.
    orientation : int
        0 to 3 are quarter turns, 4 to 7 the same after mirroring X; 0 changes nothing.

    Returns
    -------
    Tensor
        Shape (..., Y, X) or (..., X, Y).
    """
    if orientation >= 4:
        pair = pair.flip(-1)
    return torch.rot90(pair, orientation % 4, (-2, -1))


def unorient(pair: Tensor, orientation: int) -> Tensor:
    """Undo `orient`."""
    pair = torch.rot90(pair, -(orientation % 4), (-2, -1))
    return pair.flip(-1) if orientation >= 4 else pair


def group_orientations(
    images: int, orientations: Sequence[int], batch: int
) -> Iterator[list[tuple[int, int]]]:
    """Group the orientations of images of one shape into batches of one shape.

    Parameters
    ----------
    images : int
        How many there are.
    orientations : sequence of int
        Those of each image; see `orient`.
    batch : int
        Most oriented images in a batch.

    Yields
    ------
    list of (int, int)
        Orientation and number of the image; those of an image come in a fixed order.
    """
    upright = [o for o in orientations if o % 2 == 0]  # shape (Y, X)
    lying = [o for o in orientations if o % 2 == 1]  # a quarter turn: shape (X, Y)
    for same_shape in (upright, lying):
        pairs = [(o, n) for o in same_shape for n in range(images)]
        for start in range(0, len(pairs), batch):
            yield pairs[start : start + batch]
