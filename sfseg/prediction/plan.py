"""The plan of a prediction: its tiles, what they cost, and the memory that they take."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from sfseg.config import PredictConfig
from sfseg.errors import DeviceError
from sfseg.io import Stack
from sfseg.prediction.engines import Engine
from sfseg.prediction.predictor import ORIENTATIONS
from sfseg.prediction.tiles import Tile, lengths, overhead
from sfseg.system.devices import available_bytes, base_bytes, used_bytes
from sfseg.types import Shape

BUFFERS_BYTES = 448 * 2**20
"""For what waits between reading, computing and writing, whatever the size of the input."""

SHARE = 0.75
"""Of the available memory that is taken unless the person says how much."""

SEGMENTS_BYTES = 13
"""For each pixel of a section: its mask, and its segments as numbered and as written."""

GAPS_BYTES = 100
"""For each pixel of a section: its probability, and what `gaps` takes to close gaps."""

MOST_BATCH = 8
"""Tiles at once on a GPU; more of them are not faster."""


def limit_px(engine: Engine, stack: Stack, config: PredictConfig, halo_px: int) -> int:
    """Tell how many pixels a tile with its halo may have.

    Parameters
    ----------
    engine : Engine
        Whose memory counts.
    stack : Stack
        The input.
    config : PredictConfig
        Whose ``memory_gib``, ``tta``, ``close_gaps`` and ``output`` count.
    halo_px : int
        Margin of a tile.

    Returns
    -------
    int
        Pixels; at least those of a tile whose side is four halos, which computes each pixel four
        times: with less, a prediction would hardly end.

    Raises
    ------
    DeviceError
        If gaps are to be closed and a whole section does not fit.
    """
    # A window is read while another waits, and a result written while the next is computed.
    by_buffers = BUFFERS_BYTES // (2 * stack.dtype.itemsize + 4)
    _require_section(engine, stack, config)
    memory = _engine_bytes(engine, config)
    if engine.device.type != "cuda":  # which has memory of its own
        memory -= _section_bytes(stack, config)
    by_memory = memory // _bytes_per_px(engine, config)
    return max(min(by_memory, by_buffers), (4 * halo_px) ** 2)


def _section_bytes(stack: Stack, config: PredictConfig) -> int:
    """Memory for what needs a whole section: its gaps to be closed, or its segments."""
    if not config.needs_sections:
        return 0
    bytes_per_px = SEGMENTS_BYTES * (config.output == "segments")
    bytes_per_px += GAPS_BYTES * config.close_gaps
    return bytes_per_px * prod(stack.shape[1:])


def _require_section(engine: Engine, stack: Stack, config: PredictConfig) -> None:
    """Refuse to close the gaps of sections that do not fit into memory."""
    if not config.close_gaps:
        return
    needed = base_bytes() + BUFFERS_BYTES + _section_bytes(stack, config)
    if engine.device.type != "cuda":
        needed += engine.fixed_bytes
    allowed = available_bytes(torch.device("cpu")) + used_bytes()
    if config.memory_gib is not None:
        allowed = int(config.memory_gib * 2**30)
    if needed > allowed:
        raise DeviceError(
            f"--close-gaps: expected {needed / 2**30:.1f} GiB of memory for a whole section of "
            f"{stack.shape[1]}x{stack.shape[2]}, found {allowed / 2**30:.1f}",
            hint="leave --close-gaps out, name more with --memory, or cut the sections in parts",
        )


def _engine_bytes(engine: Engine, config: PredictConfig) -> int:
    """Memory for the engine: what is left, or allowed, after all the rest."""
    if engine.device.type == "cuda":
        return int(available_bytes(engine.device) * SHARE)
    beside = BUFFERS_BYTES + engine.fixed_bytes
    if config.memory_gib is None:
        left = available_bytes(engine.device) + used_bytes() - base_bytes()
        return int(left * SHARE) - beside
    return int(config.memory_gib * 2**30) - base_bytes() - beside


def _bytes_per_px(engine: Engine, config: PredictConfig) -> int:
    """Memory of a pass for each pixel; averaging keeps the window, a turned one and the sum."""
    return engine.bytes_per_px + (12 if len(ORIENTATIONS[config.tta]) > 1 else 0)


def batch_size(engine: Engine, tiles: Sequence[Tile], config: PredictConfig) -> int:
    """Tell how many tiles the engine is given at once; a CPU has enough of one."""
    if engine.device.type != "cuda":
        return 1
    tile_bytes = prod(lengths(tiles[0].read)) * _bytes_per_px(engine, config)
    return max(min(_engine_bytes(engine, config) // tile_bytes, MOST_BATCH), 1)


@dataclass(frozen=True)
class Plan:
    """What a prediction will do, told before it starts.

    Attributes
    ----------
    shape : tuple of int
        (Z, Y, X) of the stack.
    tiles : int
        Tiles of a section.
    tile_px : tuple of int
        Rows and columns of the largest tile with its halo.
    overhead : float
        Pixels that pass the network, over those of the stack.
    peak_bytes : int
        Estimate of the memory of the whole process.
    """

    shape: Shape
    tiles: int
    tile_px: tuple[int, int]
    overhead: float
    peak_bytes: int

    @classmethod
    def from_tiles(
        cls,
        tiles: Sequence[Tile],
        engine: Engine,
        stack: Stack,
        config: PredictConfig,
        input_px: int | None,
    ) -> "Plan":
        """Add up what the tiles cost; of sections resized to `input_px`, what those do."""
        shape = (stack.shape[1], stack.shape[2])
        largest = max((lengths(tile.read) for tile in tiles), key=prod)
        window_px = prod(largest)
        on_cpu = engine.device.type != "cuda"
        passing_px = window_px if input_px is None else input_px**2
        passing = (passing_px * _bytes_per_px(engine, config) + engine.fixed_bytes) * on_cpu
        passing += 12 * window_px if input_px is not None else 0
        buffers = min((2 * stack.dtype.itemsize + 4) * window_px, BUFFERS_BYTES)
        peak = base_bytes() + passing + buffers + _section_bytes(stack, config)
        return cls(stack.shape, len(tiles), largest, overhead(list(tiles), shape), peak)

    def __str__(self) -> str:
        """Say it in one line."""
        sections, tiles = self.shape[0], self.tiles
        pieces = (
            "whole"
            if tiles == 1
            else f"in {tiles} tiles of {self.tile_px[0]}x{self.tile_px[1]} each, "
            f"{self.overhead - 1:.0%} of the pixels twice"
        )
        noun = "section" if sections == 1 else "sections"
        return f"plan: {sections} {noun} {pieces}, {self.peak_bytes / 2**30:.1f} GiB at most"
