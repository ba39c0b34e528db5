"""Synthetic neuropil: a stack of sections with labels, drawn from a seed.

For tests, examples and demonstrations without a connection. The sections look like the ssTEM
sections of ISBI 2012 (grey values, membrane width, cell sizes, noise), so that a network trained
on one works on the other. They do not replace real data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfseg.datasets.tissue import TissueOptions
from sfseg.errors import OptionError
from sfseg.types import INTERIOR, AnyArray, Shape

Cells = NDArray[np.uint32]
Field = NDArray[np.float32]
Floats = NDArray[np.float64]

_MARGIN_PX = 48  # cells are placed this far outside, too, so the border looks like the middle
_CELL_PX = 50.0  # spacing of the cell centres; the power diagram makes them 10 to 120 px wide

_SPREAD_PX = 3.0  # that the halves of a branch move away from their middle in each section
_LARGE_PX, _LONG_PX = 600, 24  # a profile that can branch, and its border with its other half


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

    See Also
    --------
    draw_tissue : The same tissue with the number of each cell, and harder on demand.

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
    tissue = draw_tissue(shape, seed=seed)
    return tissue.volume, tissue.labels


@dataclass(frozen=True, eq=False)
class Tissue:
    """Synthetic neuropil.

    Attributes
    ----------
    volume, labels : ndarray of uint8, shape (Z, Y, X)
        As `make_tissue` returns them.
    cells : ndarray of uint32, shape (Z, Y, X)
        The number of the cell of each pixel, from 1, the same in all sections; 0 where the labels
        are 0.
    """

    volume: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    cells: Cells


def draw_tissue(
    shape: Shape = (12, 256, 256),
    *,
    seed: int = 0,
    noise: float = 1.0,
    shift_px: int = 0,
    missing: int = 0,
    branches: int = 0,
) -> Tissue:
    """Draw a stack of synthetic neuropil, its labels and its cells in 3D.

    Parameters
    ----------
    shape : tuple of int
        Sections, rows, columns.
    seed : int
        The same seed and options give the same stack.
    noise : float
        Strength of the grain; 1 is that of ISBI 2012. The cells stay the same.
    shift_px : int
        Each section is displaced by up to this many whole pixels along y and x, labels and cells
        alike. The cells are others than without it.
    missing : int
        Sections that are lost: black, with labels and cells of 0. The numbers of the cells
        continue behind them. At most a quarter of the sections; the first and the last stay.
    branches : int
        Places where a cell forks into two profiles, or two of its profiles join. Above and below
        it has one number.

    Returns
    -------
    Tissue
        The images, the labels and the cells.

    Raises
    ------
    OptionError
        If an option is out of range, or too few cells have room for a branch.

    Notes
    -----
    A branch is two neighbours of the power diagram that have one number. On one side of a section
    no membrane divides them. On the other side it does, and their centres move apart.

    Examples
    --------
    >>> tissue = draw_tissue((2, 64, 64), seed=1)
    >>> tissue.cells.dtype.name, bool(((tissue.cells > 0) == (tissue.labels > 0)).all())
    ('uint32', True)
    """
    return draw(TissueOptions(shape, seed, noise, shift_px, missing, branches))


def draw(options: TissueOptions) -> Tissue:
    """Draw tissue; see `draw_tissue`."""
    rng = np.random.default_rng(options.seed)
    harder = rng.spawn(1)[0]  # a stream of its own: the plain tissue stays the same to the byte
    shape = options.drawn_shape
    profiles, owners = _draw_cells(rng, harder, options)
    border = _distance_to_border(profiles)
    half_width = 1.6 + np.exp(0.6 * _smooth_field(rng, shape, (2, 24, 24)))
    depth_px = border - half_width  # px into the cell; negative on the membrane
    image = _cytoplasm(rng, shape)
    image -= _mitochondria(rng, depth_px)
    image -= _vesicles(rng, depth_px)
    image -= _membranes(rng, border / half_width)
    inside = _without_slivers(depth_px > 0)
    stacks = (
        _photograph(rng, image, options.noise),
        np.where(inside, INTERIOR, 0).astype(np.uint8),
        np.where(inside, owners[profiles] + 1, 0),
    )
    volume, labels, cells = _displace(harder, stacks, options)
    lost = 1 + harder.permutation(max(shape[0] - 2, 0))[: options.missing]
    for stack in (volume, labels, cells):
        stack[lost] = 0
    return Tissue(volume, labels, _numbered(cells))


def _displace(
    rng: np.random.Generator, stacks: Sequence[AnyArray], options: TissueOptions
) -> tuple[AnyArray, ...]:
    """Cut each section out of a larger one, at a random place that is the same in all stacks."""
    depth, height, width = options.shape
    places = rng.integers(0, 2 * options.shift_px, (depth, 2), endpoint=True)
    return tuple(
        np.stack(
            [
                section[y : y + height, x : x + width]
                for section, (y, x) in zip(stack, places, strict=True)
            ]
        )
        for stack in stacks
    )


def _numbered(cells: NDArray[np.int32]) -> Cells:
    """Give the cells that are left numbers from 1 without gaps; 0 stays 0."""
    there = np.bincount(cells.ravel()) > 0
    there[0] = False
    return np.cumsum(there, dtype=np.uint32)[cells] * (cells > 0)


class _Diagram(NamedTuple):
    """A power diagram that drifts from section to section.

    Attributes
    ----------
    centres : ndarray of float64, shape (Z, N, 2)
        Row and column of the centre of each profile.
    radii : ndarray of float64, shape (N,)
        Its radius.
    warps : sequence of ndarray of float32, shape (Z, Y, X)
        Shift of each pixel along y and x.
    """

    centres: Floats
    radii: Floats
    warps: Sequence[Field]

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: Shape) -> "_Diagram":
        """Draw the diagram of a stack of a shape (Z, Y, X)."""
        sections, rows, columns = shape
        box = np.array([rows, columns]) + 2 * _MARGIN_PX
        count = max(4, round(float(np.prod(box)) / _CELL_PX**2))
        centres = rng.uniform(size=(count, 2)) * box - _MARGIN_PX
        radii = 18.0 * np.exp(0.5 * rng.standard_normal(count))
        drift = rng.normal(scale=2.5, size=(sections, count, 2)).cumsum(axis=0)
        return cls(centres + drift, radii, [_warp(rng, shape) for _ in range(2)])

    def section(self, index: int) -> NDArray[np.int32]:
        """Return the profile of each pixel of a section, shape (Y, X)."""
        y, x = (warp[index] for warp in self.warps)
        grid = np.indices(y.shape, dtype=np.float32)
        return _nearest_cell(grid[0] + y, grid[1] + x, self.centres[index], self.radii)


class _Fork(NamedTuple):
    """Two neighbours that are one profile on one side of a section, and two on the other.

    Attributes
    ----------
    first, second : int
        The two profiles.
    steps : ndarray of int64, shape (Z,)
        How far each section is from those where they are one; 0 in these.
    """

    first: int
    second: int
    steps: NDArray[np.int64]

    def move(self, centres: Floats) -> None:
        """Keep the two centres together where they are one profile, and move them apart beyond."""
        is_one = self.steps == 0
        at = int(np.flatnonzero(is_one)[-1 if is_one[0] else 0])
        apart = centres[at, self.second] - centres[at, self.first]
        centres[is_one, self.second] = centres[is_one, self.first] + apart
        way = _SPREAD_PX * self.steps[:, np.newaxis] * apart / np.linalg.norm(apart)
        centres[:, self.second] += way
        centres[:, self.first] -= way

    def join(self, profiles: NDArray[np.int32]) -> None:
        """Make them one profile, in the sections where they are one."""
        is_one = (self.steps == 0)[:, np.newaxis, np.newaxis]
        profiles[is_one & (profiles == self.second)] = self.first


def _draw_cells(
    rng: np.random.Generator, harder: np.random.Generator, options: TissueOptions
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Draw the profiles of cells.

    Returns
    -------
    profiles : ndarray of int32, shape (Z, Y, X)
        The profile of each pixel. A membrane divides any two of them.
    owners : ndarray of int32, shape (N,)
        The cell of each profile.
    """
    diagram = _Diagram.draw(rng, options.drawn_shape)
    owners = np.arange(len(diagram.radii), dtype=np.int32)
    forks = _find_forks(harder, diagram, options)
    for fork in forks:
        owners[fork.second] = fork.first
    profiles = np.stack([diagram.section(z) for z in range(options.shape[0])])
    for fork in forks:
        fork.join(profiles)
    return profiles, owners


def _find_forks(rng: np.random.Generator, diagram: _Diagram, options: TissueOptions) -> list[_Fork]:
    """Choose pairs of large neighbours, and the sections where they become one; move them."""
    sections = np.arange(len(diagram.centres))
    forks: list[_Fork] = []
    for _ in range(options.branches):
        forward = bool(rng.integers(2))
        at = int(rng.integers(len(sections) - 1)) + (not forward)
        used = [profile for fork in forks for profile in (fork.first, fork.second)]
        pairs = _large_neighbours(diagram.section(at), options.shift_px)
        pairs = pairs[~np.isin(pairs, used).any(axis=1)]
        if not len(pairs):
            raise OptionError(
                f"tissue: {options.branches} branches do not fit, only {len(forks)}",
                hint="draw larger sections, or fewer branches",
            )
        first, second = pairs[rng.integers(len(pairs))].tolist()
        away = sections - at if forward else at - sections
        forks.append(_Fork(first, second, np.maximum(away, 0)))
        forks[-1].move(diagram.centres)
    return forks


def _large_neighbours(section: NDArray[np.int32], edge_px: int) -> NDArray[np.int32]:
    """List the pairs of large profiles with a long common border: int32, shape (pairs, 2).

    What may be cut off at the edges does not count.
    """
    height, width = section.shape
    inner = section[2 * edge_px : height - 2 * edge_px, 2 * edge_px : width - 2 * edge_px]
    is_large = np.bincount(inner.ravel(), minlength=int(section.max()) + 1) >= _LARGE_PX
    sides = ((inner[1:], inner[:-1]), (inner[:, 1:], inner[:, :-1]))
    faces = np.concatenate([np.stack([a[a != b], b[a != b]], axis=1) for a, b in sides])
    pairs, length = np.unique(np.sort(faces, axis=1), axis=0, return_counts=True)
    chosen: NDArray[np.int32] = pairs[(length >= _LONG_PX) & is_large[pairs].all(axis=1)]
    return chosen


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


def _photograph(rng: np.random.Generator, image: Field, noise: float) -> NDArray[np.uint8]:
    """Blur the image, add grain, and give each section its own brightness and contrast."""
    sections = image.shape[0]
    grain = rng.standard_normal(image.shape, dtype=np.float32) * (50.0 * noise)
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
