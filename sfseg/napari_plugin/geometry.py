"""Voxel sizes and the places of layers: nanometres in, nanometres out."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from sfseg.types import PixelSize, VoxelSize

UNIT = "nm"


def scale_of(voxel_size_nm: VoxelSize | None, ndim: int = 3) -> dict[str, Any]:
    """Return the arguments of a layer that give it the size of its voxels.

    Parameters
    ----------
    voxel_size_nm : tuple of float or None
        nm along (z, y, x); z may be NaN.
    ndim : int
        3 for a stack, 2 for a section.

    Returns
    -------
    dict
        ``scale`` and ``units``; empty if nothing is known. An unknown thickness of the sections is
        drawn as thick as a pixel is high: a layer needs a number.
    """
    if voxel_size_nm is None:
        return {}
    thickness, height, width = voxel_size_nm
    scale = (thickness if isfinite(thickness) else height, height, width)
    return {"scale": scale[-ndim:], "units": (UNIT,) * ndim}


def pixel_size_of(layer: Any) -> PixelSize | None:
    """Return the size of a layer's pixels, (y, x) in nm; None if its units are no lengths."""
    units = layer.units[-2:]
    if not all(unit.is_compatible_with(UNIT) for unit in units):
        return None
    height, width = (
        float((float(step) * unit).to(UNIT).magnitude)
        for step, unit in zip(layer.scale[-2:], units, strict=True)
    )
    return height, width


def place_of(layer: Any, section: int | None = None) -> dict[str, Any]:
    """Return the arguments that put a result where its source lies.

    Parameters
    ----------
    layer : napari.layers.Layer
        The source.
    section : int, optional
        The index of the only section of the result; by default it has all.

    Returns
    -------
    dict
        Scale, units, translation, rotation, shear and affine transform.
    """
    from napari.utils.transforms import Affine

    names = ("scale", "units", "translate", "rotate", "shear", "affine")
    place = {name: getattr(layer, name) for name in names}
    if section is not None and layer.ndim > 2:
        own = {name: place[name] for name in ("scale", "translate", "rotate", "shear")}
        first = [section] + [0] * (layer.ndim - 1)
        place["translate"] = Affine(**own)(first)
    return place


def current_section(layer: Any, point: Sequence[float]) -> int | None:
    """Return the index of the section of a layer at a point; None for a single section.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer.
    point : sequence of float
        Where the viewer is, in world coordinates: ``viewer.dims.point``.
    """
    if layer.ndim < 3:
        return None
    index = round(float(layer.world_to_data(point)[0]))
    last: int = layer.data.shape[0] - 1
    return min(max(index, 0), last)
