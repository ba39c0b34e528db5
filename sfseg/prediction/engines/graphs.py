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

_ONE_AT_A_TIME = threading.Lock()
"""For recording: PyTorch waits for all GPUs and frees memory before, which could end another one.
"""


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
        # PyTorch's own stream for recordings belongs to the first GPU that recorded.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()

    def __call__(self, sections: Tensor) -> tuple[Tensor, Tensor]:
        """Do a pass: by `forward` until its shape is recorded, which is after the second one."""
        with self._lock:
            recording = self._recordings.get(sections.shape)
            if recording is None:
                results = self._forward(sections)
                self._note(sections)
                return results
            self._recordings.move_to_end(sections.shape)
            recording.sections.copy_(sections)
            recording.graph.replay()
            one, other = recording.results
            return one.clone(), other.clone()  # the next replay writes into these

    def forget(self) -> None:
        """Free the memory of all recordings."""
        with self._lock:
            self._recordings.clear()
        torch.cuda.empty_cache()

    def _note(self, sections: Tensor) -> None:
        """Remember a first pass of a shape; record the next one, after a second one.

        That was in this thread: cuDNN makes a handle and plans for each thread, at its first pass,
        and while a pass is recorded it may not.
        """
        shape = sections.shape
        if shape in self._refused:
            return
        if shape not in self._recordings:
            self._keep(shape, None)
        elif (recording := self._record(sections)) is not None:
            self._keep(shape, recording)
        else:
            self._refused.add(shape)
            del self._recordings[shape]

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
        # One at a time runs, so they share their memory; PyTorch refuses that of one that is gone.
        kept = (one.graph.pool() for one in self._recordings.values() if one is not None)
        pool = next(kept, None)
        graph = torch.cuda.CUDAGraph()
        try:
            given = sections.clone()
            # Other threads may use the GPU meanwhile; that is not recorded. PyTorch leaves its
            # stream current if a recording fails: so it is chosen, and left, here as well.
            with (
                _ONE_AT_A_TIME,
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"),
            ):
                results = self._forward(given)
        except RuntimeError as error:
            if is_out_of_memory(error):
                torch.cuda.empty_cache()
            return None
        return _Recording(graph, given, results)
