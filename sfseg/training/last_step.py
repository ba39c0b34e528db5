"""Keep a network in the state of its last finished step, while the next step runs."""

import contextlib
import threading
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class LastStep:
    """Keep a network in the state of its last finished step.

    Another thread may save the state while a step runs. Parameters, average and optimiser only
    change in `update`. But the statistics of the batch normalisation change in each forward pass,
    so a copy of them is kept.

    Parameters
    ----------
    network : torch.nn.Module
        On its device; its buffers must stay the same tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._buffers = dict(network.named_buffers())
        self._kept = {name: buffer.clone() for name, buffer in self._buffers.items()}
        self._lock = threading.RLock()
        self._whole = True

    @contextlib.contextmanager
    def update(self) -> Iterator[None]:
        """Let no other thread read the state while the block changes it."""
        with self._lock:
            self._whole = False
            yield
            _copy(self._buffers, self._kept)
            self._whole = True

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[bool]:
        """Let nothing change during the block; yields False if an `update` was interrupted."""
        with self._lock:
            yield self._whole

    def rollback(self) -> None:
        """Undo what a forward pass has changed."""
        _copy(self._kept, self._buffers)

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers after the last step; read them in `snapshot` only."""
        return self._network.state_dict() | self._kept


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy tensors by name, all of one type in one call: on a GPU each call takes time."""
    by_type: dict[torch.dtype, list[str]] = {}
    for name, tensor in source.items():
        by_type.setdefault(tensor.dtype, []).append(name)
    with torch.no_grad():
        for names in by_type.values():
            torch._foreach_copy_([target[n] for n in names], [source[n] for n in names])
