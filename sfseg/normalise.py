"""What happens to grey values and sizes between the file and the network."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sfseg.terms import AnyArray, Normalised


def standardise(section: AnyArray) -> Normalised:
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


def resize(images: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
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
        Within the range of the values that went in.
    """
    resized = functional.interpolate(
        torch.from_numpy(images)[None], size=shape, mode="bilinear", antialias=True
    )
    # The weights of the filter add up to 1 but for rounding.
    return resized[0].numpy().clip(images.min(), images.max())
