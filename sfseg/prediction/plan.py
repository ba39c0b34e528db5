"""The plan of a prediction: how large its tiles may be, and how much memory it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import torch

from sfseg.config import PredictConfig
from sfseg.errors import DeviceError
from sfseg.io import Stack
from sfseg.prediction.engines import Engine
from sfseg.prediction.tile_writer import output_dtype
from sfseg.prediction.tiles import Tile, lengths, overhead
from sfseg.system.limits import usable_processors
from sfseg.system.memory import available_bytes, base_bytes, used_bytes
from sfseg.transforms.orient import ORIENTATIONS
from sfseg.transforms.pixel_size import UNKNOWN_PIXELS, PixelChoice
from sfseg.transforms.resample import Scaling
from sfseg.types import Shape, format_count

BUFFERS_BYTES = 448 * 2**20
"""Memory for tiles that wait between reading, computing and writing, for inputs of any size."""

SHARE = 0.75
"""Share of the available memory that is used unless ``--memory`` says how much."""

SLABS_SHARE = 0.125
"""Share of this memory for slabs of planes: the more, the fewer times a packed file is unpacked."""

SEGMENTS_BYTES = 13
"""Memory for each pixel of a section: its mask (1), its segments in int64 (8) and int32 (4)."""

GAPS_BYTES = 100
"""Memory for each pixel of a section: its probability, and the arrays of `gaps`."""

IN_FLIGHT = 2
"""Batches under way on each GPU: the copies of one run beside the computing of the other."""

MOST_WORKERS = 8
"""Threads that read, and as many that finish tiles, beside a GPU: they keep up with it."""

BATCH_PX = 2**22
"""Pixels of a batch on a GPU, such as 16 sections of 512x512: more of them are not faster."""


def limit_px(
    engine: Engine,
    stack: Stack,
    config: PredictConfig,
    halo_px: int,
    scaling: Scaling | None = None,
) -> int:
    """Compute how many pixels a tile with its halo may have.

    Parameters
    ----------
    engine : Engine
        Its device and its memory for each pixel count.
    stack : Stack
        The input.
    config : PredictConfig
        Its ``memory_gib``, ``tta``, ``close_gaps`` and ``output`` count.
    halo_px : int
        Margin of a tile.
    scaling : Scaling, optional
        How sections are resampled for the network.

    Returns
    -------
    int
        Pixels; at least those of a tile whose side is four halos. Such tiles compute each pixel
        four times; smaller ones would take too long.

    Raises
    ------
    DeviceError
        If ``close_gaps`` is set and a whole section does not fit in memory.
    """
    by_buffers = BUFFERS_BYTES // _buffer_bytes(stack, config, scaling)
    _require_section(engine, stack, config)
    memory = _engine_bytes(engine, config)
    if engine.device.type != "cuda":  # a GPU has memory of its own
        memory -= _section_bytes(stack, config) + _slabs_bytes(stack, config)
        memory -= _decoding_bytes(stack, engine)
    by_memory = memory // _bytes_per_px(engine, config)
    most = by_buffers if engine.most_px is None else min(by_buffers, engine.most_px)
    return max(min(by_memory, most), (4 * halo_px) ** 2)


def _buffer_bytes(stack: Stack, config: PredictConfig, scaling: Scaling | None) -> int:
    """Memory for each pixel of a tile that waits.

    Two windows (one is read, one waits), a float32 result, and what it is converted to. If the
    section is resampled, the windows are float32. Then there are up to four more arrays of this
    size while one is made, and six on the grid of the section.
    """
    stays = config.close_gaps or output_dtype(config) == np.float32
    converted = 0 if stays else 2  # at most: masks and uint8 need one
    if scaling is None:
        return 2 * stack.dtype.itemsize + 4 + converted
    return converted + 28 + 24 * ceil(prod(scaling.shape) / prod(scaling.network_shape))


def _section_bytes(stack: Stack, config: PredictConfig) -> int:
    """Memory for work on a whole section: closing its gaps, or numbering its segments."""
    if not config.needs_sections:
        return 0
    bytes_per_px = SEGMENTS_BYTES * (config.output == "segments")
    bytes_per_px += GAPS_BYTES * config.close_gaps
    return bytes_per_px * prod(stack.shape[1:])


def slab_bytes(config: PredictConfig) -> int:
    """Compute how much memory slabs of planes may take; see `sfseg.io.turned`."""
    if config.memory_gib is not None:
        return int(config.memory_gib * 2**30 * SLABS_SHARE)
    return int(available_bytes(torch.device("cpu")) * SHARE * SLABS_SHARE)


def _slabs_bytes(stack: Stack, config: PredictConfig) -> int:
    """Memory for slabs: of a stack of planes, or of the two maps to average with."""
    if not config.planes:
        return stack.buffer_bytes
    maps = 2 * prod(stack.shape) * np.dtype(np.float32).itemsize
    return min(maps, slab_bytes(config))


def _decoding_bytes(stack: Stack, engine: Engine) -> int:
    """Memory for files or strips that are decoded as a whole, one by each thread that reads."""
    return stack.decoding_bytes * min(workers(engine), stack.shape[0])


def _require_section(engine: Engine, stack: Stack, config: PredictConfig) -> None:
    """Refuse to close gaps if a whole section does not fit in memory."""
    if not config.close_gaps:
        return
    needed = base_bytes() + BUFFERS_BYTES + _section_bytes(stack, config)
    needed += _decoding_bytes(stack, engine)
    if engine.device.type != "cuda":
        needed += engine.fixed_bytes
    allowed = available_bytes(torch.device("cpu")) + used_bytes()
    if config.memory_gib is not None:
        allowed = int(config.memory_gib * 2**30)
    if needed > allowed:
        raise DeviceError(
            f"--close-gaps: a section of {stack.shape[1]}x{stack.shape[2]} needs "
            f"{needed / 2**30:.1f} GiB of memory, {allowed / 2**30:.1f} GiB are available",
            hint="leave out --close-gaps, or allow more memory with --memory",
        )


def memory_warning(plan: "Plan", config: PredictConfig) -> str | None:
    """Warn if less memory is available or allowed than a plan needs: Linux would kill the process.

    Tiles have a least size, so a plan may need more than there is. The warning names a remedy for
    the larger part, that of the tiles or that of decoding, which smaller tiles would not change.
    """
    allowed = available_bytes(torch.device("cpu")) + used_bytes()
    if config.memory_gib is not None:
        allowed = min(allowed, int(config.memory_gib * 2**30))
    if plan.peak_bytes <= allowed:
        return None
    remedy = "--tile 256 needs less" if config.tile_px is None else "a smaller --tile needs less"
    if plan.decoding_bytes > plan.tile_bytes:
        remedy = (
            f"decoding the input takes {plan.decoding_bytes / 2**30:.2f} GiB of it: "
            "saved as an uncompressed TIFF it needs less"
        )
    return (
        f"this needs up to {plan.peak_bytes / 2**30:.2f} GiB of memory, but only "
        f"{allowed / 2**30:.2f} GiB may be used: the system may kill it; {remedy}"
    )


def _engine_bytes(engine: Engine, config: PredictConfig) -> int:
    """Memory for the engine: what is available or allowed, less the memory for all else."""
    if engine.device.type == "cuda":
        return int(available_bytes(engine.device) * SHARE)
    beside = BUFFERS_BYTES + engine.fixed_bytes
    if config.memory_gib is None:
        left = available_bytes(engine.device) + used_bytes() - base_bytes()
        return int(left * SHARE) - beside
    return int(config.memory_gib * 2**30) - base_bytes() - beside


def _bytes_per_px(engine: Engine, config: PredictConfig) -> int:
    """Memory of a pass for each pixel; averaging adds three float32: window, turned one, sum."""
    return engine.bytes_per_px + (12 if len(ORIENTATIONS[config.tta]) > 1 else 0)


def batch_size(engine: Engine, tiles: Sequence[Tile], config: PredictConfig) -> int:
    """Compute how many tiles are in one batch; on a CPU one is enough."""
    if engine.device.type != "cuda":
        return 1
    tile_bytes = prod(lengths(tiles[0].read)) * _bytes_per_px(engine, config)
    most = BATCH_PX // prod(lengths(tiles[0].read))
    return max(min(_engine_bytes(engine, config) // tile_bytes, most), 1)


def passes(engine: Engine) -> int:
    """Compute how many batches of an engine are under way: one is copied while one is computed."""
    # The engine `compile` has no copies, and would compile the network again in a second thread.
    has_copies = engine.forward is not None
    return IN_FLIGHT if has_copies and engine.device.type == "cuda" else 1


def workers(engine: Engine) -> int:
    """Compute how many threads read, and how many finish tiles; on a CPU one is enough."""
    if engine.device.type == "cpu":
        return 1
    return max(min(usable_processors() // 2, MOST_WORKERS), 1)


@dataclass(frozen=True)
class Plan:
    """What a prediction will do, known before it starts.

    Attributes
    ----------
    shape : tuple of int
        (Z, Y, X) of the stack.
    tiles : int
        Tiles of a section.
    tile_px : tuple of int
        Rows and columns of the largest tile with its halo.
    overhead : float
        Pixels that pass the network, over those of the sections on its grid.
    peak_bytes : int
        Estimate of the memory of the whole process.
    pixels : PixelChoice
        How sections are resampled for the network.
    tile_bytes, decoding_bytes : int
        Parts of it: what is less for smaller tiles, and what decoding the input takes.
    """

    shape: Shape
    tiles: int
    tile_px: tuple[int, int]
    overhead: float
    peak_bytes: int
    pixels: PixelChoice = UNKNOWN_PIXELS
    tile_bytes: int = 0
    decoding_bytes: int = 0

    @classmethod
    def from_tiles(
        cls,
        tiles: Sequence[Tile],
        engine: Engine,
        stack: Stack,
        config: PredictConfig,
        input_px: int | None,
        pixels: PixelChoice = UNKNOWN_PIXELS,
    ) -> "Plan":
        """Add up pixels and memory of the tiles, or of sections resized to `input_px`."""
        shape = (stack.shape[1], stack.shape[2])
        scaling = pixels.scaling(shape)
        shape = shape if scaling is None else scaling.network_shape
        largest = max((lengths(tile.read) for tile in tiles), key=prod)
        window_px = prod(largest)
        on_cpu = engine.device.type != "cuda"
        network_px = window_px if input_px is None else input_px**2
        computing = network_px * _bytes_per_px(engine, config) * on_cpu
        # Resizing keeps three float32 of the full size: the window, its copy and the result.
        computing += 12 * window_px if input_px is not None else 0
        buffers = min(_buffer_bytes(stack, config, scaling) * window_px, BUFFERS_BYTES)
        decoding = _decoding_bytes(stack, engine)
        beside = _section_bytes(stack, config) + _slabs_bytes(stack, config)
        beside += engine.fixed_bytes * on_cpu
        return cls(
            stack.shape,
            len(tiles),
            largest,
            overhead(list(tiles), shape),
            base_bytes() + computing + buffers + decoding + beside,
            pixels,
            tile_bytes=computing + buffers,
            decoding_bytes=decoding,
        )

    def __str__(self) -> str:
        """Describe the plan in one line."""
        cut = (
            "whole"
            if self.tiles == 1
            else f"in {self.tiles} tiles of {self.tile_px[0]}x{self.tile_px[1]} each, "
            f"{self.overhead - 1:.0%} more pixels for the halos"
        )
        sections = format_count(self.shape[0], "section")
        if resampled := str(self.pixels):
            sections += f", {resampled},"
        return f"plan: {sections} {cut}, {self.peak_bytes / 2**30:.1f} GiB at most"
