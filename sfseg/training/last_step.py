"""A network as it was after its last finished step, while the next one is under way."""

import contextlib
import threading
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class LastStep:
    """Keeps a network that learns as it was after its last finished step.

    A state may be wanted while a step is under way, by another thread. Parameters, average and
    optimiser then still are what the last step left, for they change in `update` only. But the
    statistics of the batch normalisation move with each forward pass: of them a copy is kept.

    Parameters
    ----------
    network : torch.nn.Module
        Placed where it will learn; its buffers stay the same tensors from here on.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._buffers = dict(network.named_buffers())
        self._kept = {name: buffer.clone() for name, buffer in self._buffers.items()}
        self._lock = threading.RLock()
        self._whole = True

    @contextlib.contextmanager
    def update(self) -> Iterator[None]:
        """Let nobody look while the block changes what a state consists of."""
        with self._lock:
            self._whole = False
            yield
            _copy(self._buffers, self._kept)
            self._whole = True

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[bool]:
        """Let nothing change during the block; gives False if a change was broken off midway."""
        with self._lock:
            yield self._whole

    def rollback(self) -> None:
        """Undo what a forward pass has changed."""
        _copy(self._kept, self._buffers)

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers of that time; read them in `snapshot` only."""
        return self._network.state_dict() | self._kept


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy tensors of equal names, those of a type at once: on a GPU each call costs time."""
    by_type: dict[torch.dtype, list[str]] = {}
    for name, tensor in source.items():
        by_type.setdefault(tensor.dtype, []).append(name)
    with torch.no_grad():
        for names in by_type.values():
            torch._foreach_copy_([target[n] for n in names], [source[n] for n in names])
