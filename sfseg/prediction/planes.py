"""The planes of a stack along y and along x, for the mean of three maps; for isotropic voxels.

A network sees one plane at a time. Where voxels are about as thick as wide, the planes along y and
x look like sections. A membrane that lies in a section, and is hardly seen there, is sharp in them.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from sfseg.config import PredictConfig
from sfseg.errors import OptionError
from sfseg.io import Stack
from sfseg.io.turned import Order, turn_stack
from sfseg.prediction.plan import slab_bytes
from sfseg.types import Say

AXES: Mapping[str, Order] = {"y": (1, 0, 2), "x": (2, 0, 1)}
"""The order of axes that makes sections of the planes along y, and along x.

In both, the rows are the sections of the stack: so little is read for a section of their maps.
"""

BACK: Mapping[str, Order] = {"y": (1, 0, 2), "x": (1, 2, 0)}
"""The order of the axes of a map of these planes that gives the map the axes of the stack."""

MOST_UNEQUAL = 1.5
"""Largest ratio of the sides of a voxel that counts as isotropic."""


def as_isotropic(stack: Stack, config: PredictConfig, say: Say = lambda _: None) -> Stack:
    """Refuse a stack without good planes along y and x; complete the size of its voxels.

    Parameters
    ----------
    stack : Stack
        The open stack, with the pixel size of `config`.
    config : PredictConfig
        A pixel size in it is the thickness of the sections as well.
    say : callable
        Called with a line about what is assumed.

    Returns
    -------
    Stack
        The same pixels. A thickness that is not known is the side of a pixel.

    Raises
    ------
    OptionError
        If it has one section, or its voxels are known not to be as thick as wide.
    """
    if len(stack) == 1:
        raise OptionError(
            f"{stack.name}: --planes: one section has no planes along y and x",
            hint="leave out --planes",
        )
    if stack.voxel_size_nm is None:
        say("the voxel size is not known: --planes assumes voxels as thick as wide")
        return stack
    found, y, x = stack.voxel_size_nm
    side, is_given = math.sqrt(y * x), config.pixel_size is not None
    thickness = side if is_given or math.isnan(found) else found
    if thickness != found:
        file = "does not say it" if math.isnan(found) else f"says {found:g} nm"
        say(f"--planes assumes sections {side:.3g} nm thick, as their pixels; the file {file}")
    if max(thickness, y, x) > MOST_UNEQUAL * min(thickness, y, x):
        raise OptionError(
            f"{stack.name}: --planes needs voxels as thick as wide, these have "
            f"{thickness:g}x{y:g}x{x:g} nm",
            hint=f"leave out --planes; or, if the file is wrong, add --pixel-size {side:.3g}",
        )
    return stack.with_voxel_size((thickness, y, x))


def planes_along(axis: str, stack: Stack, config: PredictConfig) -> Stack:
    """Make a stack of the planes along an axis, y or x; see `sfseg.io.turned`."""
    return turn_stack(stack, AXES[axis], slab_bytes(config))


def config_of_planes(config: PredictConfig) -> PredictConfig:
    """Return how the planes along y or x are predicted: to a map that is averaged afterwards."""
    return replace(
        config,
        planes=False,
        output="probability",
        dtype="float32",
        close_gaps=False,
        multiscale=False,
    )
