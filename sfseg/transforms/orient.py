"""The eight orientations of a section: quarter turns, mirrored or not."""

import torch
from torch import Tensor


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
