"""What happens to grey values and sizes between the file and the network."""

import numpy as np
import torch
from torch.nn import functional

from sfseg.terms import AnyArray, Probability


def standardise(section: AnyArray) -> Probability:
    """Shift and scale a section to mean 0 and standard deviation 1.

    The whole section is taken, never a tile or patch of it. A constant section becomes zeros.

    Parameters
    ----------
    section : ndarray, shape (Y, X)
        Grey values of any type.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Normalised grey values.
    """
    mean = section.mean(dtype=np.float64)
    deviation = section.std(dtype=np.float64)
    scale = 1 / deviation if deviation > 0 else 0.0
    return ((section.astype(np.float32) - np.float32(mean)) * np.float32(scale)).astype(np.float32)


def resize(images: AnyArray, shape: tuple[int, int]) -> Probability:
    """Resize the last two axes, bilinearly, with a filter when shrinking.

    Parameters
    ----------
    images : ndarray of float32, shape (C, Y, X)
        What to resize.
    shape : tuple of int
        The new (Y, X).

    Returns
    -------
    ndarray of float32, shape (C, *shape)
        The range of the values is kept.
    """
    resized = functional.interpolate(
        torch.from_numpy(images)[None], size=shape, mode="bilinear", antialias=True
    )
    return resized[0].numpy()
