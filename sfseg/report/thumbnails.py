"""Small pictures that stand in a page."""

import base64

import numpy as np

from sfseg.io import pictures
from sfseg.types import AnyArray, Probability

CLIPPED_PERCENT = 1
"""Share of the grey values at either end that becomes black or white."""


def encode_image(image: AnyArray) -> str:
    """Encode grey values of any type as a picture, from its darkest to its brightest tissue.

    Parameters
    ----------
    image : ndarray, shape (Y, X)
        Finite grey values.

    Returns
    -------
    str
        JPEG, as base64.
    """
    ends = [CLIPPED_PERCENT, 100 - CLIPPED_PERCENT]
    low, high = (float(end) for end in np.percentile(image, ends))
    share = (image.astype(np.float32) - low) / max(high - low, 1e-6)
    return encode_probability(share.clip(0, 1))


def encode_probability(probability: Probability) -> str:
    """Encode values from 0 to 1, shape (Y, X), as a picture from black to white."""
    pixels = np.rint(probability * 255).astype(np.uint8)
    return base64.b64encode(pictures.encode_grey(pixels)).decode("ascii")
