"""Synthetic neuropil: a stack of sections with labels, drawn from a seed.

For tests, examples and demonstrations without a connection. The sections look like the ssTEM
sections of ISBI 2012 (grey values, membrane width, cell sizes, noise), so that a network trained
on one works on the other. They do not replace real data.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.errors import OptionError
from sfseg.types import INTERIOR, Shape

Field = NDArray[np.float32]
Floats = NDArray[np.float64]

_MARGIN_PX = 48  # cells are placed this far outside, too, so the border looks like the middle
_CELL_PX = 50.0  # spacing of the cell centres; the power diagram makes them 10 to 120 px wide


def make_tissue(
    shape: Shape = (12, 256, 256), *, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a stack of synthetic neuropil and its labels.

    Parameters
    ----------
    shape : tuple of int
        Sections, rows, columns.
    seed : int
        The same seed and shape give the same stack.

    Returns
    -------
    volume : ndarray of uint8, shape (Z, Y, X)
        Grey values; membranes are dark.
    labels : ndarray of uint8, shape (Z, Y, X)
        255 inside a cell, 0 on a membrane; about 22 % are membrane. Mitochondria and vesicles
        belong to the interior.

    Raises
    ------
    OptionError
        If a side is not positive or the seed is negative.

    Notes
    -----
    The cells are a power diagram, argmin_i |x + u(x) - c_i|^2 - r_i^2, with log-normal radii r_i
    and a smooth warp u; centres and warp drift from section to section. Membranes run along the
    borders with a width and a contrast that are smooth random fields. Mitochondria, vesicles,
    shading, cytoplasm, blur and noise are added in this order.

    Examples
    --------
    >>> volume, labels = make_tissue((2, 64, 64), seed=1)
    >>> volume.shape, volume.dtype.name, sorted(set(labels.flat))
    ((2, 64, 64), 'uint8', [np.uint8(0), np.uint8(255)])
    """
    if len(shape) != 3 or min(shape) < 1 or seed < 0:
        raise OptionError(
            f"tissue: the shape {shape} or the seed {seed} is wrong",
            hint="give three positive numbers (Z, Y, X), and a seed from 0 on",
        )
    rng = np.random.default_rng(seed)
    border = _distance_to_border(_draw_cells(rng, shape))
    half_width = 1.6 + np.exp(0.6 * _smooth_field(rng, shape, (2, 24, 24)))
    depth = border - half_width  # px into the cell; negative on the membrane
    image = _cytoplasm(rng, shape)
    image -= _mitochondria(rng, depth)
    image -= _vesicles(rng, depth)
    image -= _membranes(rng, border / half_width)
    labels = np.where(_without_slivers(depth > 0), INTERIOR, 0).astype(np.uint8)
    return _photograph(rng, image), labels


def _draw_cells(rng: np.random.Generator, shape: Shape) -> NDArray[np.int32]:
    """Return the cell of each pixel, in a drifting, warped power diagram: shape (Z, Y, X)."""
    sections, rows, columns = shape
    box = np.array([rows, columns]) + 2 * _MARGIN_PX
    count = max(4, round(float(np.prod(box)) / _CELL_PX**2))
    centres = rng.uniform(size=(count, 2)) * box - _MARGIN_PX
    radii = 18.0 * np.exp(0.5 * rng.standard_normal(count))
    drift = rng.normal(scale=2.5, size=(sections, count, 2)).cumsum(axis=0)
    warps = [_warp(rng, shape) for _ in range(2)]
    grid = np.indices((rows, columns), dtype=np.float32)
    return np.stack(
        [
            _nearest_cell(grid[0] + warps[0][z], grid[1] + warps[1][z], centres + drift[z], radii)
            for z in range(sections)
        ]
    )


def _warp(rng: np.random.Generator, shape: Shape) -> Field:
    """Draw a shift in pixels along one axis: wide curves and a fine waviness."""
    return 9.0 * _smooth_field(rng, shape, (4, 28, 28)) + 0.9 * _smooth_field(rng, shape, (1, 6, 6))


def _nearest_cell(y: Field, x: Field, centres: Floats, radii: Floats) -> NDArray[np.int32]:
    """Return the index of the cell with the smallest power distance to each point."""
    nearest = np.full(y.shape, np.inf, dtype=np.float32)
    cell = np.zeros(y.shape, dtype=np.int32)
    for index, ((cy, cx), radius) in enumerate(zip(centres, radii, strict=True)):
        power = (y - np.float32(cy)) ** 2 + (x - np.float32(cx)) ** 2 - np.float32(radius**2)
        cell[power < nearest] = index
        np.minimum(nearest, power, out=nearest)
    return cell


def _distance_to_border(cells: NDArray[np.int32]) -> Field:
    """Measure the distance in its section from each pixel to the nearest border of its cell."""
    inside = np.ones(cells.shape, dtype=bool)
    inside[:, :-1] &= cells[:, :-1] == cells[:, 1:]
    inside[:, :, :-1] &= cells[:, :, :-1] == cells[:, :, 1:]
    inside[:, 0, 0] = False  # a section of one cell needs a border, too
    distances = [ndimage.distance_transform_edt(section) for section in inside]
    return np.stack(distances, dtype=np.float32)


def _without_slivers(interior: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove interior narrower than 3 px, as people do who draw labels by hand."""
    return np.stack([ndimage.binary_opening(section, np.ones((3, 3))) for section in interior])


def _cytoplasm(rng: np.random.Generator, shape: Shape) -> Field:
    """Draw the light background of all cells: shading at several scales."""
    image = np.full(shape, 156.0, dtype=np.float32)
    for scale, contrast in ((120, 12.0), (40, 8.0), (14, 6.0), (6, 6.0), (3, 9.0)):
        image += contrast * _smooth_field(rng, shape, (2, scale, scale))
    return image


def _membranes(rng: np.random.Generator, across: Field) -> Field:
    """Draw the darkness of the membranes from the distance in half widths; some are faint."""
    strength = 1 / (1 + np.exp(-2.0 - 1.3 * _smooth_field(rng, across.shape, (2, 18, 18))))
    darkness: Field = 100.0 * strength * np.exp(-0.9 * across**2)
    return darkness


def _mitochondria(rng: np.random.Generator, depth: Field) -> Field:
    """Draw the darkness of mitochondria: blobs well inside large cells, with a dark outline."""
    blobs = _smooth_field(rng, depth.shape, (4, 24, 24))
    inside = np.minimum(11.0 * (blobs - 1.3), depth - 5)  # about px from the outline
    ridges = _smooth_field(rng, depth.shape, (1, 3, 3))
    outline = 50.0 * np.exp(-((inside / 1.6) ** 2))
    darkness: Field = outline + (inside > 0) * (35.0 + 15.0 * ridges)
    return darkness


def _vesicles(rng: np.random.Generator, depth: Field) -> Field:
    """Draw the darkness of vesicles and microtubules: small rings, denser in some places."""
    density = 0.002 * np.exp(0.8 * _smooth_field(rng, depth.shape, (3, 30, 30)))
    dots = ((rng.random(depth.shape) < density) & (depth > 3)).astype(np.float32)
    outer = ndimage.gaussian_filter(dots, (0, 1.9, 1.9))
    inner = ndimage.gaussian_filter(dots, (0, 1.1, 1.1))
    rings: Field = 5000.0 * (outer - 0.42 * inner)
    return rings


def _photograph(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """Blur the image, add grain, and give each section its own brightness and contrast."""
    sections = image.shape[0]
    grain = rng.standard_normal(image.shape, dtype=np.float32) * 50.0
    image = ndimage.gaussian_filter(image + grain, (0, 0.85, 0.85))
    gain = rng.normal(1.0, 0.05, (sections, 1, 1))
    offset = rng.normal(0.0, 6.0, (sections, 1, 1))
    return np.clip(np.rint(gain * (image - 128) + 128 + offset), 0, 255).astype(np.uint8)


def _smooth_field(rng: np.random.Generator, shape: Shape, scale: Shape) -> Field:
    """Draw a smooth random field of mean 0 and variance 1 that changes over about `scale`."""
    counts = [side // step + 4 for side, step in zip(shape, scale, strict=True)]
    field = rng.standard_normal(counts, dtype=np.float32)
    for axis, (side, step, count) in enumerate(zip(shape, scale, counts, strict=True)):
        place = np.arange(side)[:, None] / step + 1.5 - np.arange(count)
        weights = np.exp(-(place**2)).astype(np.float32)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)  # keeps the variance at 1
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)
