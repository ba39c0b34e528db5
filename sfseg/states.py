"""The state of a training on disk, from which it goes on bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfseg.checkpoints import SCHEMA, last_line, read_tensors, write_tensors
from sfseg.errors import CheckpointError


def save_state(
    path: Path,
    networks: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Write everything that training needs to go on bit for bit.

    Parameters
    ----------
    path : Path
        Where to; an existing state is replaced, and only when the new one is whole.
    networks : mapping of str to torch.nn.Module
        Networks by their role.
    optimizer : torch.optim.Optimizer
        With its moments.
    progress : mapping
        Whatever else is needed, as JSON.
    """
    tensors = {
        f"{role}.{name}": tensor.detach().cpu().contiguous()
        for role, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    for index, moments in optimizer.state_dict()["state"].items():
        for name, tensor in moments.items():
            tensors[f"optimizer.{index}.{name}"] = tensor.detach().cpu().contiguous()
    write_tensors(path, tensors, {**progress, "schema": SCHEMA})


def load_state(
    path: Path, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Put what `save_state` wrote back in place.

    Returns
    -------
    dict
        The progress as saved.

    Raises
    ------
    CheckpointError
        If there is no state, or it belongs to another network.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected the state of an unfinished training, found none",
            hint="leave --resume out to start from zero",
        )
    tensors, progress = read_tensors(path)
    if progress.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: expected a state of schema {SCHEMA}, found {progress.get('schema', 'none')}",
            hint="resume with the version of sfseg that the training was started with",
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        role, _, rest = name.partition(".")
        parts.setdefault(role, {})[rest] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    try:
        for name, tensor in parts.pop("optimizer", {}).items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        for role, network in networks.items():
            network.load_state_dict(parts[role])
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected the state of this network, found another: {last_line(error)}",
            hint="resume with the options that the training was started with",
        ) from error
    return progress
