"""The state of a training on disk, from which it resumes bit for bit."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from sfseg.errors import CheckpointError, NonFiniteError, OutputError
from sfseg.identity import differences
from sfseg.models.safetensors_file import last_line, read_tensors
from sfseg.system import files

SCHEMA = 2


@dataclasses.dataclass(frozen=True)
class State:
    """A state that was read from disk.

    Attributes
    ----------
    path : Path
        Its file.
    tensors : dict of str to Tensor
        Of the networks, as ``role.name``, and of the optimiser, as ``optimizer.index.name``.
    facts : dict
        All other values that `save_state` wrote.
    """

    path: Path
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def refuse_other(self, now: Mapping[str, Any]) -> None:
        """Refuse to continue with another configuration.

        Raises
        ------
        CheckpointError
            If they differ; the message names each value that does.
        """
        config = self.facts.get("config")
        if lines := differences(config if isinstance(config, dict) else {}, now):
            longer = any(line.startswith("  recipe.epochs:") for line in lines)
            raise CheckpointError(
                f"{self.path}: the training was started with other values (then -> now):\n"
                + "\n".join(lines),
                hint="resume with the options in config.json, or train into another --out"
                + " and start from these weights with --init" * longer
                + ": the number of epochs sets the learning rate of every step" * longer,
            )

    def restore(self, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Put the tensors in place.

        Raises
        ------
        CheckpointError
            If they belong to another network.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            role, _, rest = name.partition(".")
            parts.setdefault(role, {})[rest] = tensor
        groups = [group["params"] for group in optimizer.param_groups]
        try:
            moments = _read_moments(parts.pop("optimizer", {}), groups)
            for role, network in networks.items():
                _require_types(parts[role], network.state_dict())
                network.load_state_dict(parts[role])
            settings = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": settings})
        except (LookupError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path}: this is the state of another network: {last_line(error)}",
                hint="resume with the options that the training was started with",
            ) from error


def _read_moments(
    tensors: Mapping[str, Tensor], groups: Sequence[Sequence[Tensor]]
) -> dict[int, dict[str, Tensor]]:
    """Sort an optimiser's moments by weight; ValueError or LookupError if they do not fit."""
    weights = list(itertools.chain(*groups))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = _laid_like(weights[int(index)], tensor)
    if moments and moments.keys() != set(range(len(weights))):
        raise ValueError(f"the moments of {len(moments)} of {len(weights)} weights")
    indices = itertools.count()
    for group in groups:
        if len({frozenset(moments.get(next(indices), ())) for _ in group}) > 1:
            raise ValueError("moments of some kinds of some weights only")
    return moments


def _laid_like(weight: Tensor, moment: Tensor) -> Tensor:
    """Copy a moment into the memory layout of its weight; a fused optimiser relies on that."""
    if moment.ndim == 0:
        return moment  # a count of steps
    if moment.shape != weight.shape:
        raise ValueError(f"a moment of shape {tuple(moment.shape)}, not {tuple(weight.shape)}")
    return torch.empty_like(weight).copy_(moment)


def _require_types(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors of other types: loading would convert them silently."""
    for name, tensor in expected.items():
        if tensors[name].dtype != tensor.dtype:
            raise ValueError(f"{name} of {tensors[name].dtype}, not {tensor.dtype}")


def save_state(
    path: Path,
    networks: Mapping[str, Mapping[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
) -> None:
    """Write everything that a training needs to resume bit for bit.

    Parameters
    ----------
    path : Path
        The file. An existing state is replaced only when the new one is complete on disk.
    networks : mapping of str to mapping of str to Tensor
        Parameters and buffers of the networks, by role.
    optimizer : torch.optim.Optimizer
        Its moments are written.
    facts : mapping
        All other values, as JSON.

    Raises
    ------
    NonFiniteError
        If a tensor holds NaN or infinity.
    OutputError
        If the disk is full or fails. The state that was there stays.
    """
    tensors = {
        f"{role}.{name}": tensor for role, part in networks.items() for name, tensor in part.items()
    }
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    _require_finite(path, tensors)
    # Contiguous: safetensors writes memory as it lies, and channels_last lies otherwise.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"sfseg": json.dumps({**facts, "schema": SCHEMA}, allow_nan=False)}
    try:
        _write(path, tensors, metadata)
    except (SafetensorError, OSError) as error:
        raise _told_with_room(path, tensors.values(), error) from error


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write from where the tensors lie: a state may be a gigabyte, and `bytes` of it two more.

    In a folder of its own, for safetensors writes to a name that it makes up beside the given one.
    """
    staging = files.sibling(path, "part")
    files.remove(staging)
    staging.mkdir(parents=True)
    try:
        save_file(tensors, staging / path.name, metadata)
        files.sync(staging / path.name)
        files.publish(staging / path.name, path, overwrite=True)
    finally:
        files.remove(staging)


def _require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise NonFiniteError(
                f"{path.name}: not saved, because there is NaN or infinity in {name}",
                hint="train again with --precision float32, or a lower --learning-rate",
            )


def _told_with_room(
    path: Path, tensors: Collection[Tensor], error: SafetensorError | OSError
) -> OutputError:
    """Say of a failed write how much room it needs, and that nothing is lost."""
    needed = sum(tensor.nbytes for tensor in tensors) / 1e6
    free = shutil.disk_usage(path.parent).free / 1e6 if path.parent.is_dir() else 0
    kept = "the state before it is kept, --resume continues from there" if path.exists() else ""
    cause = error.__cause__ if isinstance(error, OutputError) else error
    return OutputError(
        f"{path}: expected to write a state of {needed:.0f} MB ({free:.0f} MB are free), found: "
        f"{last_line(cause or error)}",
        hint="make room or mend the disk" + f"; {kept}" * bool(kept),
    )


def read_state(path: Path) -> State:
    """Read what `save_state` wrote.

    Returns
    -------
    State
        Its tensors on the CPU.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged or of another version.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: nothing to resume, this file does not exist",
            hint="leave --resume out to start",
        )
    tensors, facts = read_tensors(path)
    if facts.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: the state has schema {facts.get('schema')}, this sfseg reads {SCHEMA}",
            hint="resume with the version of sfseg that the training was started with",
        )
    return State(path, tensors, facts)
