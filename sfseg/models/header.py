"""The header of a weights file, and its checks: a weights file may be hostile."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sfseg import __version__, models
from sfseg.errors import CheckpointError
from sfseg.models.weights_files import WEIGHTS_NAME
from sfseg.types import VoxelSize

SCHEMA = 1
"""Version of the layout of the header; older versions stay readable."""

NORMALISATION = "section"
"""The only normalisation: `sfseg.transforms.normalise.standardise`, section by section."""

_INPUT_PX = 2**14  # largest side: such a section takes 1 GiB as float32


@dataclass(frozen=True)
class Header:
    """The header of a weights file.

    Attributes
    ----------
    arch, recipe : str
        Names of the architecture and of the recipe.
    input_px : int or None
        Side of the square to which sections are resized for the network; None = native size.
    normalisation : str
        Name of the normalisation of the input; always `NORMALISATION`.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the training data.
    data : str
        The training data, with the numbers of the sections.
    scores : mapping of str to float
        Validation scores of the float32 weights, even if the file holds float16 kernels.
    training : mapping
        Seed, epoch, and all options of the training.
    version : str
        Version of sfseg that wrote the file.
    schema : int
        Version of this layout.
    """

    arch: str
    recipe: str
    input_px: int | None = None
    normalisation: str = NORMALISATION
    voxel_size_nm: VoxelSize | None = None
    data: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)  # it fills pages
    version: str = __version__
    schema: int = SCHEMA


def parse_header(path: Path, raw: Mapping[str, Any]) -> Header:
    """Check the JSON header of a weights file, and turn it into a `Header`.

    Parameters
    ----------
    path : Path
        The file, for messages.
    raw : mapping
        The parsed JSON.

    Returns
    -------
    Header
        The header.

    Raises
    ------
    CheckpointError
        If it has another schema, or a field is missing, unknown or has an impossible value.
    """
    _require_known(path, raw)
    for name, is_sound in _SOUND.items():
        if not is_sound(raw[name]):
            raise CheckpointError(
                f"{path}: the header has an impossible {name}: {ascii(raw[name])[:60]}",
                hint="use a file that sfseg train wrote",
            )
    voxel_size = raw["voxel_size_nm"]
    if voxel_size is not None:  # JSON has no NaN: null is an unknown length
        voxel_size = tuple(nan if length is None else length for length in voxel_size)
    return Header(**{**raw, "voxel_size_nm": voxel_size})


def _require_known(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse a header of another layout, architecture or normalisation."""
    if {"progress", "circumstances"} <= raw.keys():
        raise CheckpointError(
            f"{path}: this is the state of a training run, for --resume; these are not weights",
            hint=f"use {path.with_name(WEIGHTS_NAME)}",
        )
    if raw.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: the header has schema {ascii(raw['schema'])[:60]}, this sfseg reads {SCHEMA}"
            if "schema" in raw
            else f"{path}: these are not weights: the header has no schema",
            hint="upgrade sfseg: these weights come from a newer version"
            if "schema" in raw
            else f"the weights of a training run are in its {WEIGHTS_NAME}",
        )
    known = {field.name for field in dataclasses.fields(Header)}
    if set(raw) != known:
        raise CheckpointError(
            f"{path}: the header has missing or unknown fields: "
            f"{ascii(sorted(known ^ set(raw)))[:200]}",
            hint="use a file that sfseg train wrote",
        )
    if (
        not _is_text(raw["arch"])
        or raw["arch"] not in models.ARCHITECTURES
        or raw["normalisation"] != NORMALISATION
    ):
        raise CheckpointError(
            f"{path}: unknown architecture or normalisation: "
            f"{ascii(raw['arch'])[:60]}, {ascii(raw['normalisation'])[:60]}",
            hint="upgrade sfseg: these weights come from a newer version",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    # type(), not isinstance(): True is an int in Python, but not a number in JSON.
    return type(value) is int or (isinstance(value, float) and isfinite(value))


def _is_side(value: object) -> bool:
    return value is None or (type(value) is int and 0 < value <= _INPUT_PX)


def _is_voxel(value: object) -> bool:
    if not isinstance(value, list):
        return value is None
    # In nm, (z, y, x); 1e9 nm = 1 m is beyond every microscope, and keeps products finite.
    return len(value) == 3 and all(
        length is None or (_is_number(length) and 0 < length < 1e9) for length in value
    )


def _are_scores(value: object) -> bool:
    return isinstance(value, dict) and all(_is_number(score) for score in value.values())


def _is_training(value: object) -> bool:
    """Tell whether it is an object whose values are safe for `sfseg.training.pseudo_labels`."""
    if not isinstance(value, dict) or not isinstance(recipe := value.get("recipe", {}), dict):
        return False
    # These limits keep its divisors, 1 - 2 * smoothing and weight * q + 1 - q, above 0.
    smoothing, weight = recipe.get("label_smoothing", 0), recipe.get("membrane_weight", 1)
    return _is_number(smoothing) and 0 <= smoothing < 0.5 and _is_number(weight) and weight > 0


_SOUND: Mapping[str, Callable[[object], bool]] = MappingProxyType(
    {
        "recipe": _is_text,
        "input_px": _is_side,
        "voxel_size_nm": _is_voxel,
        "data": _is_text,
        "scores": _are_scores,
        "training": _is_training,
        "version": _is_text,
    }
)
"""The check of each field; `_require_known` checks the others."""
