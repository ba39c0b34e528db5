"""Augment training patches: a whole batch at a time, on the device of the network.

A *pair* is float32 (2, Y, X): the normalised image and its labels, stacked so that both move in the
same way; or (3, Y, X), with the numbers of the cells as the third. Each patch has its own random
generator, from which its `Change` is drawn first. So it does not depend on batch or process.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

ELASTIC_SPACING_PX = 32
"""Distance of the points with random displacements; the warp is smooth between them."""

INTERPOLATION = ("bicubic", "bilinear", "nearest", "nearest")
"""For the image, its labels, and what must not be averaged: the numbers of cells, known pixels."""

LITTLE_NOISE, MUCH_NOISE = 0.25, 1.0
"""Standard deviations of noise, relative to that of the section. Normal noise is below the first;
that of a fast scan is between the two."""

NO_BLUR_PX = 1e-3
"""A Gaussian this narrow has weight 1 in the middle and 0 elsewhere: it changes nothing."""


def plain_patch(pair: Tensor, patch_px: int | None, rng: np.random.Generator) -> Tensor:
    """Cut a square patch at a random place; with None return the whole section."""
    if patch_px is None:
        return pair
    pair = _at_least(pair, patch_px)
    y, x = (int(rng.integers(0, side - patch_px + 1)) for side in pair.shape[-2:])
    return pair[:, y : y + patch_px, x : x + patch_px]


def _at_least(pair: Tensor, side_px: int) -> Tensor:
    """Reflect a pair beyond its far borders, several times if needed, up to `side_px`."""
    for axis in (-2, -1):
        side = pair.shape[axis]
        if side < side_px:
            # Indices 0 1 2 1 0 1 ...: np.pad reflects as often as needed, torch's pad only once.
            there_and_back = np.pad(np.arange(side), (0, side_px - side), mode="reflect")
            pair = pair.index_select(axis, torch.from_numpy(there_and_back).to(pair.device))
    return pair


@dataclass(frozen=True)
class Change:
    """The random change of one patch.

    Attributes
    ----------
    place : ndarray, shape (2,)
        Place of the patch in its section, (x, y): -1 at one border, 1 at the other.
    turn : ndarray, shape (2, 2)
        Matrix from offsets (x, y) in the patch to offsets in the section: rotate, scale, mirror.
    elastic : ndarray, shape (2, N, N)
        Displacement in pixels, (x, y), of points `ELASTIC_SPACING_PX` apart.
    blur_px : float
        Standard deviation of the Gaussian.
    gamma, contrast, brightness : float
        Exponent, factor and summand of the grey values.
    shade : ndarray, shape (1, N, N)
        More summands, at the same points as `elastic`.
    noise : float
        Standard deviation of the noise.
    noise_seed : int
        Seed of the noise, which is drawn on the device.
    """

    place: NDArray[np.float64]
    turn: NDArray[np.float64]
    elastic: NDArray[np.float64]
    blur_px: float
    gamma: float
    contrast: float
    brightness: float
    shade: NDArray[np.float64]
    noise: float
    noise_seed: int


def draw(patch_px: int, rng: np.random.Generator, *, noisy_share: float = 0.0) -> Change:
    """Draw the change of a patch.

    Parameters
    ----------
    patch_px : int
        Side of the patch.
    rng : numpy.random.Generator
        Source of all randomness.
    noisy_share : float
        Probability of strong noise.

    Returns
    -------
    Change
        The numbers for `warp` and `change_intensity`.
    """
    # The order of these draws is fixed: another one would change every training.
    points = patch_px // ELASTIC_SPACING_PX + 3
    place = rng.uniform(-1, 1, 2)
    angle = rng.uniform(0, 2 * np.pi)
    scale = np.exp(rng.uniform(-0.15, 0.15, 2)) * (1, rng.choice((-1, 1)))  # (-1) mirrors
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    return Change(
        place,
        turn,
        elastic=rng.normal(0, rng.uniform(0, 4), (2, points, points)),
        blur_px=rng.uniform(0.3, 1.2) if rng.random() < 0.5 else NO_BLUR_PX,
        gamma=np.exp(rng.uniform(-0.15, 0.25)),
        contrast=np.exp(rng.uniform(-0.35, 0.35)),
        brightness=rng.normal(0, 0.25),
        shade=rng.normal(0, rng.uniform(0, 0.3), (1, points, points)),
        noise=_draw_noise(rng, noisy_share),
        noise_seed=int(rng.integers(2**63)),
    )


def _draw_noise(rng: np.random.Generator, noisy_share: float) -> float:
    """Draw a standard deviation; if `noisy_share` is 0, draw only one number."""
    if noisy_share and rng.random() < noisy_share:
        return rng.uniform(LITTLE_NOISE, MUCH_NOISE)
    return rng.uniform(0, LITTLE_NOISE)


def warp(pairs: Sequence[Tensor], changes: Sequence[Change], patch_px: int) -> Tensor:
    """Cut patches, and turn, mirror, scale and warp them elastically.

    Parameters
    ----------
    pairs : sequence of Tensor of float32, shape (C, Y, X)
        Image, labels and up to two more channels, of any sizes, on one device; reflected beyond
        their borders.
    changes : sequence of Change
        One for each pair.
    patch_px : int
        Side of the patches.

    Returns
    -------
    Tensor of float32, shape (B, C, patch_px, patch_px)
        Interpolated as `INTERPOLATION` says, the labels in [0, 1].
    """
    grids = _warp_grids([pair.shape for pair in pairs], changes, patch_px, pairs[0].device)
    images, labels, *others = (
        # One pair at a time: sections may differ in size, and stacking would copy them.
        torch.cat(
            [
                functional.grid_sample(
                    pair[None, channel : channel + 1],
                    grid[None],
                    mode=mode,
                    padding_mode="reflection",
                    align_corners=True,
                )
                for pair, grid in zip(pairs, grids, strict=True)
            ]
        )
        for channel, mode in zip(range(pairs[0].shape[0]), INTERPOLATION, strict=False)
    )
    # Bilinear weights of float32 may add up to a little more than 1.
    return torch.cat([images, labels.clamp(0, 1), *others], dim=1)


def _warp_grids(
    shapes: Sequence[torch.Size], changes: Sequence[Change], patch_px: int, device: torch.device
) -> Tensor:
    """Compute the source of each pixel of the patches: (B, P, P, 2), (x, y) in [-1, 1]."""
    sides = np.array([(shape[-1], shape[-2]) for shape in shapes], dtype=np.float32)  # (B, 2)
    size = np.maximum(sides - 1, 1)  # (B, 2); between the centres of the outer pixels: -1 to 1
    margin = np.maximum(sides - patch_px, 0) / 2  # (B, 2); the middle moves so far from the centre
    middle = size / 2 + margin * np.stack([change.place for change in changes])
    steps = torch.arange(patch_px, dtype=torch.float32, device=device) - (patch_px - 1) / 2
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    # Not as a matrix product: its rounding depends on the size of the batch.
    columns = _send([change.turn.T for change in changes], device)  # (B, from, to)
    # (P, P, 1) * (B, 1, 1, 2): each pixel's offset from the middle, in pixels of the section.
    offsets = x[..., None] * columns[:, 0, None, None] + y[..., None] * columns[:, 1, None, None]
    offsets = offsets + _smooth([change.elastic for change in changes], patch_px, device).movedim(
        1, -1
    )
    # grid_sample with align_corners has -1 and 1 at the centres of the outer pixels.
    return (_send(middle, device)[:, None, None] + offsets) / _send(size, device)[
        :, None, None
    ] * 2 - 1


def _send(numbers: Sequence[object] | NDArray[np.floating], device: torch.device) -> Tensor:
    """Copy a number or an array for each patch to the device: float32 (B, ...)."""
    return torch.from_numpy(np.asarray(numbers, dtype=np.float32)).to(device, non_blocking=True)


def _smooth(points: Sequence[NDArray[np.float64]], side_px: int, device: torch.device) -> Tensor:
    """Interpolate between points `ELASTIC_SPACING_PX` apart: float32 (B, C, side_px, side_px)."""
    return functional.interpolate(
        _send(points, device), size=(side_px, side_px), mode="bicubic", align_corners=True
    )


def change_intensity(images: Tensor, changes: Sequence[Change]) -> Tensor:
    """Change contrast, brightness, gamma, sharpness and noise.

    Parameters
    ----------
    images : Tensor of float32, shape (B, 1, P, P)
        Normalised grey values.
    changes : sequence of Change
        One for each image.

    Returns
    -------
    Tensor of float32, shape (B, 1, P, P)
        The changed images.
    """
    device, side_px = images.device, images.shape[-1]
    numbers = [(c.blur_px, c.gamma, c.contrast, c.brightness, c.noise) for c in changes]
    each = _send(numbers, device)[..., None, None, None]  # (B, 5, 1, 1, 1)
    blur_px, gamma, contrast, brightness, deviation = each.unbind(1)
    images = _blur(images, blur_px)
    # Normalised values may be negative, where a power is not defined: it acts on their size.
    images = torch.sign(images) * images.abs() ** gamma * contrast + brightness
    images = images + _smooth([change.shade for change in changes], side_px, device)
    return images + deviation * _noise(images, [change.noise_seed for change in changes])


def _noise(images: Tensor, seeds: Sequence[int]) -> Tensor:
    """Draw standard normal noise for each image from its own seed."""
    noise = torch.empty_like(images)
    generator = torch.Generator(images.device)
    for image, seed in zip(noise, seeds, strict=True):
        image.normal_(generator=generator.manual_seed(seed))
    return noise


def _blur(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Convolve each image with its own Gaussian, one axis after the other."""
    # 7 weights reach 2.5 standard deviations of the widest Gaussian, 1.2 px.
    reach = torch.arange(-3, 4, dtype=torch.float32, device=images.device)
    kernels = torch.exp(-0.5 * (reach / sigma_px) ** 2)  # (B, 1, 1, 7)
    kernels = kernels / kernels.sum(-1, keepdim=True)
    for axis in (-1, -2):
        padding = (3, 3, 0, 0) if axis == -1 else (0, 0, 3, 3)
        padded = functional.pad(images, padding, mode="reflect")
        images = torch.zeros_like(images)
        # A sum of shifted images: unlike a convolution it has the same bits for every batch size.
        for i in range(7):
            images += kernels[..., i : i + 1] * padded.narrow(axis, i, images.shape[axis])
    return images
