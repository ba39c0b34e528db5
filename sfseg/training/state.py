"""The state of a training run on disk, from which it resumes bit for bit."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfseg.errors import CheckpointError, NonFiniteError
from sfseg.identity import differences
from sfseg.models.safetensors_file import last_line, read_tensors, write_tensors
from sfseg.recipes import Recipe

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

    def refuse_other(self, now: Mapping[str, Any], *, longer: str) -> None:
        """Refuse to continue with another configuration, but for more epochs where that is right.

        Parameters
        ----------
        now : mapping
            The configuration of this process.
        longer : str
            The command that trains for longer from the weights, for the hint.

        Raises
        ------
        CheckpointError
            If they differ; the message names each value that does.
        """
        config = self.facts.get("config")
        then = config if isinstance(config, dict) else {}
        if self.is_extended(now):
            kept = {name: then["recipe"][name] for name in ("epochs", "name")}
            now = {**now, "recipe": {**now["recipe"], **kept}}
        if lines := differences(then, now):
            hint = "resume with the options in config.json, or train into another --out"
            if any(line.startswith("  recipe.epochs:") for line in lines):
                hint = (
                    "the number of epochs sets the learning rate of every step; for more epochs, "
                    f"start a new cycle from these weights: {longer}"
                )
            raise CheckpointError(
                f"{self.path}: the training run was started with other values (then -> now):\n"
                + "\n".join(lines),
                hint=hint,
            )

    def is_extended(self, now: Mapping[str, Any]) -> bool:
        """Tell whether `now` has more epochs, and its other epochs are as they would have been."""
        config = self.facts.get("config")
        then = config.get("recipe") if isinstance(config, dict) else None
        recipe = Recipe(**now["recipe"])
        return isinstance(then, dict) and recipe.is_endless and then["epochs"] < recipe.epochs

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
                hint="resume with the options that the training run was started with",
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
    """Write everything that a training run needs to resume bit for bit.

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
    write_tensors(path, tensors, {**facts, "schema": SCHEMA})


def _require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise NonFiniteError(
                f"{path.name}: not saved, because there is NaN or infinity in {name}",
                hint="train again with --precision float32, or a lower --learning-rate",
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
            hint="resume with the version of sfseg that the training run was started with",
        )
    return State(path, tensors, facts)
