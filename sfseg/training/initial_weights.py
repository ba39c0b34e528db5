"""Where a training starts: random weights, or those of another training."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from sfseg import io, models
from sfseg.config import TrainConfig
from sfseg.errors import OptionError
from sfseg.models.weights import WEIGHTS_NAME, Header, find_weights, load_header, load_weights
from sfseg.types import VoxelSize, same_scale


def start_network(config: TrainConfig) -> tuple[nn.Module, dict[str, Any] | None]:
    """Make the network that a training begins with.

    Parameters
    ----------
    config : TrainConfig
        Architecture, seed and ``init``.

    Returns
    -------
    network : torch.nn.Module
        On the CPU, float32.
    origin : dict or None
        Name and SHA-256 of the weights that it starts from; None where they are random.

    Raises
    ------
    UnknownNameError, CheckpointError, OptionError
        As `require_origin` does.
    """
    if config.init is None:
        return models.build(config.arch, seed=config.seed), None
    require_origin(config)
    return load_weights(config.init)[0], identify_weights(config.init)


def identify_weights(spec: str) -> dict[str, str]:
    """Give the name and the SHA-256 of weights.

    Raises
    ------
    UnknownNameError
        If there are none.
    """
    path = find_weights(spec).resolve()
    # the folder tells one training's weights from another's
    name = f"{path.parent.name}/{path.name}" if path.name == WEIGHTS_NAME else path.stem
    return {"weights": name, "sha256": io.hash_input(path)}


def require_origin(config: TrainConfig) -> Header | None:
    """Refuse weights to start from that are not there, or of another architecture.

    Returns
    -------
    Header or None
        What they say of themselves; None where a training starts from random weights.

    Raises
    ------
    UnknownNameError
        If there are no such weights.
    CheckpointError
        If the file is not usable weights.
    OptionError
        If they are of another architecture than is asked for.
    """
    if config.init is None:
        return None
    header = load_header(config.init)
    if header.arch != config.arch:
        raise OptionError(
            f"{config.init}: expected weights of {config.arch}, found {header.arch}",
            hint=f"leave --arch out, or give --arch {header.arch}",
        )
    return header


def origin_warnings(
    config: TrainConfig, voxel_size_nm: VoxelSize | None, *, is_validated: bool
) -> Iterator[str]:
    """Say what does not fit between the weights that are begun with and what is trained.

    Parameters
    ----------
    config : TrainConfig
        Whose ``init``, teachers and recipe are looked at.
    voxel_size_nm : tuple of float or None
        (z, y, x) of the training data.
    is_validated : bool
        Whether sections are held out.

    Yields
    ------
    str
        A sentence each.
    """
    for spec in (*([config.init] if config.init else []), *config.teachers):
        data = load_header(spec).data
        if is_validated and config.dataset_name and data.startswith(f"{config.dataset_name}:"):
            yield (
                f"{spec} has learnt from {data}: sections held out here that are among them say "
                "nothing of new ones"
            )
    header = require_origin(config)
    if header is None:
        return
    theirs = header.voxel_size_nm
    if voxel_size_nm and theirs and not same_scale(voxel_size_nm, theirs):
        yield (
            f"pixels of {voxel_size_nm[2]:g} nm, but {config.init} was trained on {theirs[2]:g} nm:"
            " resample the images, or expect to train for longer"
        )
    if header.input_px != config.recipe.input_px:
        yield (
            f"{config.init} was trained on {_input(header.input_px)}, "
            f"the recipe {config.recipe.name} takes {_input(config.recipe.input_px)}"
        )


def _input(input_px: int | None) -> str:
    return f"sections resized to {input_px}x{input_px}" if input_px else "sections of native size"
