"""Augmentation of training patches, each driven by one generator.

Everything works on a *pair*: float32 (2, Y, X), the normalised image stacked on its labels, so that
both are moved alike.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ELASTIC_SPACING_PX = 32
"""Distance of the points that are displaced at random; between them the warp is smooth."""


def orient(pair: Tensor, orientation: int) -> Tensor:
    """Turn and mirror the last two axes.

    Parameters
    ----------
    pair : Tensor, shape (..., Y, X)
        What to turn.
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


def plain_patch(pair: Tensor, patch_px: int | None, rng: np.random.Generator) -> Tensor:
    """Cut a square patch at a random place; None takes the whole section."""
    if patch_px is None:
        return pair
    margins = [(0, 0), *((0, max(patch_px - side, 0)) for side in pair.shape[-2:])]
    pair = torch.from_numpy(np.pad(pair.numpy(), margins, mode="reflect"))
    y, x = (int(rng.integers(0, side - patch_px + 1)) for side in pair.shape[-2:])
    return pair[:, y : y + patch_px, x : x + patch_px]


def warped_patch(pair: Tensor, patch_px: int, rng: np.random.Generator) -> Tensor:
    """Cut a patch, turned, mirrored, scaled and elastically warped at random.

    Parameters
    ----------
    pair : Tensor of float32, shape (2, Y, X)
        Image and labels; beyond their border they are reflected.
    patch_px : int
        Side of the patch.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Tensor of float32, shape (2, patch_px, patch_px)
        The image interpolated bicubically, the labels bilinearly and in [0, 1].
    """
    grid = _warp_grid(pair.shape[-2:], patch_px, rng)[None]
    image, labels = (
        functional.grid_sample(
            channel[None, None], grid, mode=mode, padding_mode="reflection", align_corners=True
        )[0]
        for channel, mode in zip(pair, ("bicubic", "bilinear"), strict=True)
    )
    return torch.cat([image, labels.clamp(0, 1)])


def _warp_grid(shape: torch.Size, patch_px: int, rng: np.random.Generator) -> Tensor:
    """Draw where each pixel of a patch comes from: (P, P, 2), (x, y) in [-1, 1]."""
    size = torch.tensor([shape[1] - 1, shape[0] - 1], dtype=torch.float32).clamp(min=1)
    margin = (torch.tensor([shape[1], shape[0]]) - patch_px).clamp(min=0) / 2
    middle = size / 2 + margin * torch.tensor(rng.uniform(-1, 1, 2), dtype=torch.float32)
    angle = rng.uniform(0, 2 * np.pi)
    scale = np.exp(rng.uniform(-0.15, 0.15, 2)) * (1, rng.choice((-1, 1)))  # (-1) mirrors
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    steps = torch.arange(patch_px, dtype=torch.float32) - (patch_px - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    offsets = offsets @ torch.tensor(turn, dtype=torch.float32).T
    offsets = offsets + _smooth_noise(2, (patch_px, patch_px), rng.uniform(0, 4), rng).movedim(
        0, -1
    )
    return (middle + offsets) / size * 2 - 1


def _smooth_noise(
    channels: int, shape: tuple[int, int], deviation: float, rng: np.random.Generator
) -> Tensor:
    """Draw noise that changes over `ELASTIC_SPACING_PX`: float32 (channels, *shape)."""
    points = tuple(side // ELASTIC_SPACING_PX + 3 for side in shape)
    coarse = torch.tensor(rng.normal(0, deviation, (1, channels, *points)))
    smooth = functional.interpolate(coarse.float(), size=shape, mode="bicubic", align_corners=True)
    return smooth[0]


def change_intensity(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Change contrast, brightness, gamma, sharpness and noise at random.

    Parameters
    ----------
    image : Tensor of float32, shape (1, Y, X)
        Normalised grey values.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Tensor of float32, shape (1, Y, X)
        The changed image.
    """
    if rng.random() < 0.5:
        image = _blur(image, sigma_px=rng.uniform(0.3, 1.2))
    image = torch.sign(image) * image.abs() ** float(np.exp(rng.uniform(-0.15, 0.25)))
    image = image * float(np.exp(rng.uniform(-0.35, 0.35))) + float(rng.normal(0, 0.25))
    image = image + _smooth_noise(1, (image.shape[1], image.shape[2]), rng.uniform(0, 0.3), rng)
    noise = torch.tensor(rng.standard_normal(image.shape, dtype=np.float32))
    return image + noise * float(rng.uniform(0, 0.25))


def _blur(image: Tensor, sigma_px: float) -> Tensor:
    """Convolve with a Gaussian, one axis after the other."""
    reach = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (reach / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None], (3, 3, 3, 3), mode="reflect")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, 7))
    return functional.conv2d(rows, kernel.view(1, 1, 7, 1))[0]
