"""Decide whether sections are resampled for a network, and to which pixel size.

A network knows membranes at the size that they have in its training data. Sections whose pixels
differ by more than a fifth are resampled to the pixel size of the weights.

Weights of thick sections and isotropic voxels, as of FIB-SEM, do not fit so simply: a thick section
shows membranes wider than they are, a thin one shows them sharp. There the way is gone by half: to
the geometric mean of the two pixel sizes. ``docs/journal.md`` has the measurements.
"""

from dataclasses import dataclass
from math import isfinite, sqrt

from sfseg.errors import OptionError
from sfseg.transforms.resample import Scaling
from sfseg.types import PixelSize, Rescale, VoxelSize, format_pixel_size

_CLOSE = 1.2  # pixel sizes whose ratio is smaller are taken as equal
_FAR = 10.0  # with a larger ratio no membrane is seen, or the file is wrong
_THIN = 2.0  # sections thinner than this many pixels show membranes sharp


@dataclass(frozen=True)
class PixelChoice:
    """What is done about the pixel size of a stack.

    Attributes
    ----------
    own_nm : tuple of float or None
        (y, x) of the stack; None = unknown.
    network_nm : tuple of float or None
        (y, x) to which its sections are resampled; None = they are not.
    note : str
        What a person should know about it beside the plan, as a sentence; may be empty.
    """

    own_nm: PixelSize | None
    network_nm: PixelSize | None = None
    note: str = ""

    def __str__(self) -> str:
        """Describe the resampling, for example ``resampled from 8 nm to 4 nm for the network``."""
        if self.own_nm is None or self.network_nm is None:
            return ""
        own, network = (format_pixel_size(size) for size in (self.own_nm, self.network_nm))
        return f"resampled from {own} to {network} for the network"

    def scaling(self, shape: tuple[int, int]) -> Scaling | None:
        """Return the way of sections of a shape to the network's grid and back."""
        if self.own_nm is None or self.network_nm is None:
            return None
        height, width = (
            max(round(length * own / network), 1)
            for length, own, network in zip(shape, self.own_nm, self.network_nm, strict=True)
        )
        return Scaling.between(shape, (height, width))


UNKNOWN_PIXELS = PixelChoice(None)
"""Nothing is known, nothing is resampled."""


def choose_pixels(
    own: VoxelSize | None,
    goal: VoxelSize | None,
    rescale: Rescale,
    *,
    said: bool = False,
    goal_of: str = "the weights",
) -> PixelChoice:
    """Decide whether sections are resampled.

    Parameters
    ----------
    own : tuple of float or None
        Voxel size of the stack; None = unknown.
    goal : tuple of float or None
        Voxel size to resample to: of the training data of the weights; None = unknown.
    rescale : {'auto', 'none'}
        Whether they may be resampled.
    said : bool
        Whether the user gave the pixel size, not the file.
    goal_of : str
        Whose `goal` is, for the note.

    Returns
    -------
    PixelChoice
        The pixel sizes, and what to say.

    Raises
    ------
    OptionError
        If the user gave a pixel size that is far from `goal`.
    """
    pixels, wanted = _pixels(own), _pixels(goal)
    if goal is None or wanted is None:
        note = f"{goal_of} do not say their pixel size: nothing is resampled" if said else ""
        return PixelChoice(pixels, note=note)
    if own is None or pixels is None:
        return PixelChoice(
            None,
            note=f"the pixel size is not known: {format_pixel_size(wanted)} is assumed, that of "
            f"{goal_of}; --pixel-size gives another one",
        )
    ratios = [a / b for a, b in zip(pixels, wanted, strict=True)]
    if all(1 / _CLOSE <= ratio <= _CLOSE for ratio in ratios):
        return PixelChoice(pixels)
    described = (
        f"pixels are {format_pixel_size(pixels)}, those of {goal_of} {format_pixel_size(wanted)}"
    )
    if rescale == "none":
        return PixelChoice(pixels, note=f"warning: {described}: not resampled (--rescale none)")
    if any(ratio > _FAR or ratio < 1 / _FAR for ratio in ratios):
        if said:
            raise OptionError(
                f"--pixel-size: {described}: too far apart to resample",
                hint="give the size in nm, or add --rescale none",
            )
        return PixelChoice(
            pixels,
            note=f"warning: {described}: too far apart to be true, so nothing is resampled; "
            "--pixel-size gives the true size",
        )
    is_halfway = _is_thin(own) and not _is_thin(goal)
    return PixelChoice(pixels, _halfway(pixels, wanted) if is_halfway else wanted)


def _pixels(voxel: VoxelSize | None) -> PixelSize | None:
    if voxel is None or not all(isfinite(length) for length in voxel[1:]):
        return None
    return voxel[1], voxel[2]


def _is_thin(voxel: VoxelSize) -> bool:
    """Tell whether sections are about as thin as their pixels; not if it is unknown, NaN."""
    return voxel[0] < _THIN * max(voxel[1:])


def _halfway(pixels: PixelSize, goal: PixelSize) -> PixelSize:
    height, width = (sqrt(a * b) if a > b else b for a, b in zip(pixels, goal, strict=True))
    return height, width
