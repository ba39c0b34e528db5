"""Work recorded once and replayed: a GPU is done before Python has told it what to do.

A training step of these networks is some two thousand kernels of a few microseconds each, and to
launch one takes longer than that. A graph of CUDA launches them all in one go.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

WARM_CALLS = 3
"""Before one is recorded: they compile, choose algorithms, and make the optimiser's state."""


@dataclass(frozen=True)
class _Recording(Generic[T]):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: T


class CudaGraph(Generic[T]):
    """Does what `work` does, with new inputs and what the other tensors that it uses hold by then.

    Parameters
    ----------
    work : callable
        Takes tensors, and gives some or None. To be recorded, it may not wait for the GPU, and has
        to change in place what outlives it and is not among the tensors that it gives.
    records : bool
        Whether to record it, which takes tensors on a GPU; else it runs eagerly each time.
    """

    def __init__(self, work: Callable[..., T], *, records: bool) -> None:
        self._work = work
        self._records = records
        self._calls: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording[T]] = {}
        self._pool = torch.cuda.graph_pool_handle() if records else None

    def __call__(self, *inputs: Tensor, mode: Hashable = None) -> T:
        """Do the work.

        Parameters
        ----------
        *inputs : Tensor
            What it takes.
        mode : hashable
            Whatever else decides what the work is: each is recorded by itself, as is each shape.

        Returns
        -------
        tensors or None
            What the work gives; where it is recorded, each call of this mode and these shapes gives
            the same tensors, filled with new values.
        """
        if not self._records:
            return self._work(*inputs)
        key = (mode, *(given.shape for given in inputs))
        if key not in self._recordings:
            self._calls[key] += 1
            if self._calls[key] <= WARM_CALLS:
                return self._work(*inputs)
            self._recordings[key] = self._record(inputs)
        recording = self._recordings[key]
        for kept, given in zip(recording.inputs, inputs, strict=True):
            kept.copy_(given)
        recording.graph.replay()
        return recording.result

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recording[T]:
        kept = tuple(given.clone() for given in inputs)
        graph = torch.cuda.CUDAGraph()
        # Another thread may save a state meanwhile, which is no part of the work.
        with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            result = self._work(*kept)
        return _Recording(graph, kept, result)
