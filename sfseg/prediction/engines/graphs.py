"""Record the kernels of a pass once for each shape, and replay them: a CUDA graph.

Launching the kernels of a small section from Python takes longer than running them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sfseg.system.memory import is_out_of_memory

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]

MOST_SHAPES = 4
"""Recordings that are kept: whole tiles, those at the borders, and the last batch."""

MOST_SHARE = 0.25
"""A pass that takes a larger part of the GPU's memory is not recorded, because a recording keeps
its memory. Launching its kernels costs next to nothing."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    sections: Tensor
    results: tuple[Tensor, Tensor]


class Recorder:
    """Call `forward`, or replay its recording for a shape; may be called from several threads.

    Parameters
    ----------
    forward : callable
        Maps sections, (B, Y, X), to two tensors; never waits for the GPU.
    device : torch.device
        The GPU.
    bytes_per_px : int
        Memory of a pass for each pixel.
    """

    def __init__(self, forward: Forward, device: torch.device, bytes_per_px: int) -> None:
        self._forward = forward
        self._bytes_per_px = bytes_per_px
        self._recordings: OrderedDict[torch.Size, _Recording | None] = OrderedDict()
        self._refused: set[torch.Size] = set()
        self._pool = torch.cuda.graph_pool_handle()  # one at a time runs: they share their memory
        # PyTorch's own stream for recordings belongs to the first GPU that recorded.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()

    def __call__(self, sections: Tensor) -> tuple[Tensor, Tensor]:
        """Do a pass: the first one of a shape by `forward`, the second one records."""
        with self._lock:
            shape = sections.shape
            if shape in self._refused:
                return self._forward(sections)
            if shape not in self._recordings:
                self._keep(shape, None)
                return self._forward(sections)
            recording = self._recordings[shape] or self._record(sections)
            if recording is None:
                self._refused.add(shape)
                return self._forward(sections)
            self._keep(shape, recording)
            recording.sections.copy_(sections)
            recording.graph.replay()
            one, other = recording.results
            return one.clone(), other.clone()  # the next replay writes into these

    def forget(self) -> None:
        """Free the memory of all recordings."""
        with self._lock:
            self._recordings.clear()
        torch.cuda.empty_cache()

    def _keep(self, shape: torch.Size, recording: _Recording | None) -> None:
        """Note a recording as the one that was used last; drop the one that was not for longest."""
        self._recordings[shape] = recording
        self._recordings.move_to_end(shape)
        if len(self._recordings) > MOST_SHAPES:
            self._recordings.popitem(last=False)

    def _record(self, sections: Tensor) -> _Recording | None:
        """Record a pass; None if it is too large, or cannot be recorded."""
        memory = torch.cuda.get_device_properties(sections.device).total_memory
        if sections.numel() * self._bytes_per_px > MOST_SHARE * memory:
            return None
        graph, kept = torch.cuda.CUDAGraph(), sections.clone()
        try:
            # Other threads may use the GPU meanwhile; that is not recorded.
            with torch.cuda.graph(
                graph, self._pool, self._stream, capture_error_mode="thread_local"
            ):
                results = self._forward(kept)
        except RuntimeError as error:
            if is_out_of_memory(error):
                torch.cuda.empty_cache()
            return None
        return _Recording(graph, kept, results)
