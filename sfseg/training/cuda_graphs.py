"""Record the work of a GPU once and replay it, because launching it from Python is slow.

A training step of these networks is about two thousand kernels of a few microseconds each.
Launching one takes longer than that. A CUDA graph launches all of them at once.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

WARM_CALLS = 3
"""Calls before the recording: they compile, choose algorithms, and make the optimiser's state."""


@dataclass(frozen=True)
class _Recording(Generic[T]):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: T


class CudaGraph(Generic[T]):
    """Call `work`, or replay its recording, with new inputs.

    All other tensors that `work` uses are read again at each replay.

    Parameters
    ----------
    work : callable
        Takes tensors, and returns tensors or None. Recorded work must not wait for the GPU. It
        must change in place all tensors that outlive it, except those that it returns.
    records : bool
        Whether to record it, which needs tensors on a GPU; else it is called each time.
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
            The arguments of `work`.
        mode : hashable
            All else that changes the work. Each mode and each shape has a recording of its own.

        Returns
        -------
        tensors or None
            The result of `work`. A recording returns the same tensors each time, with new values.
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
        # Another thread may save a state at the same time; that must not be recorded.
        with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            result = self._work(*kept)
        return _Recording(graph, kept, result)
