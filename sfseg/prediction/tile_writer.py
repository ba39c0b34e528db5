"""Turn the interior probability of tiles into the pixels of the output, and write them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from skimage.measure import label

from sfseg.config import PredictConfig
from sfseg.errors import NonFiniteError
from sfseg.prediction.tile_reader import StackTile
from sfseg.prediction.tiles import Rectangle
from sfseg.types import INTERIOR, AnyArray, Probability, Shape

Facts = dict[str, float]
"""Facts about a finished tile: ``interior``, the sum of its probability; ``empty``, its pixels
without tissue; ``blank``, 1 if its section has a single grey value; those of `measure_lines`, and
of some tiles those of `compare_swapped`, see `sfseg.prediction.contrast`; and for whole sections
``numbered``, the largest segment so far."""

OtherMap = Callable[[int, slice, slice], Probability]
"""Gives a window of another map of the stack, of a section, its rows and columns."""

_CACHE_PX = 2**15
"""Pixels that are converted at a time: their float64 copies stay in the cache."""

_FLOAT32 = np.dtype(np.float32)
_NOTHING: Mapping[int, Mapping[str, Any]] = MappingProxyType({})


class Target(Protocol):
    """Where the pixels go: a `sfseg.io.Canvas` on disk, or an array in memory."""

    shape: Shape

    def put(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write a rectangle of a section."""


class ArrayTarget:
    """An output in memory, shape (Z, Y, X); float32 by default."""

    def __init__(self, shape: Shape, dtype: np.dtype[Any] = _FLOAT32) -> None:
        self.shape = shape
        self.pixels: AnyArray = np.empty(shape, dtype)

    def put(self, section: int, rows: slice, columns: slice, pixels: AnyArray) -> None:
        """Write a rectangle of a section."""
        self.pixels[section, rows, columns] = pixels


def output_dtype(config: PredictConfig) -> np.dtype[Any]:
    """Return the type of the pixels that are written."""
    fixed = {"binary": "uint8", "segments": "int32"}
    return np.dtype(fixed.get(config.output, config.dtype))


def convert(probability: Probability, config: PredictConfig) -> AnyArray:
    """Turn interior probability into pixels of the output.

    Parameters
    ----------
    probability : ndarray of float32, shape (Y, X)
        Interior probability in [0, 1].
    config : PredictConfig
        Its ``output``, ``dtype`` and ``threshold`` count.

    Returns
    -------
    ndarray, shape (Y, X)
        For a probability the same, scaled to the maximum of an integer type; else a mask: 255
        where it exceeds the threshold, 0 elsewhere.
    """
    dtype = output_dtype(config)
    if config.output != "probability":
        exceeds = probability > np.float64(config.threshold)
        return exceeds.view(np.uint8) * np.uint8(INTERIOR)
    if dtype.kind == "u":
        pixels = np.empty(probability.shape, dtype)
        rows = max(_CACHE_PX // probability.shape[1], 1)
        for start in range(0, len(pixels), rows):
            scaled = probability[start : start + rows].astype(np.float64) * np.iinfo(dtype).max
            pixels[start : start + rows] = np.rint(scaled, out=scaled)
        return pixels
    return probability


@dataclass(frozen=True)
class FinishedTile:
    """A tile that is ready to be written.

    Attributes
    ----------
    number, section : int
        Those of the `StackTile`.
    write : tuple of slice
        Rows and columns of the section.
    pixels : ndarray, shape of ``write``
        What is written; the interior probability where gaps will be closed.
    facts : dict
        Facts about it; see `Facts`.
    """

    number: int
    section: int
    write: Rectangle
    pixels: AnyArray
    facts: Facts


def finish_tile(
    tile: StackTile,
    probability: Probability,
    config: PredictConfig,
    others: Sequence[OtherMap] = (),
) -> FinishedTile:
    """Bring the result of a tile to the grid of its section, and turn it into pixels.

    Parameters
    ----------
    tile : StackTile
        The tile.
    probability : ndarray of float32, shape of ``tile.keep``
        The result of the network.
    config : PredictConfig
        What to write.
    others : sequence of callable
        Other maps of the stack, to average with.

    Returns
    -------
    FinishedTile
        What a writer takes.

    Raises
    ------
    NonFiniteError
        If the network gave NaN.
    """
    probability = _average(tile, tile.bring_back(probability), others)
    interior = float(probability.sum(dtype=np.float64))
    if not math.isfinite(interior):
        raise NonFiniteError(
            f"section {tile.section + 1}: the network gave NaN instead of probabilities",
            hint="try --precision float32, or other weights",
        )
    facts = {
        "interior": interior,
        "empty": 0 if tile.empty is None else int(np.count_nonzero(tile.empty)),
        "blank": float(tile.window.normalisation.levels.blank),
    }
    pixels = probability if config.close_gaps else convert(probability, config)
    return FinishedTile(tile.number, tile.section, tile.tile.write, pixels, facts)


def _average(tile: StackTile, probability: Probability, others: Sequence[OtherMap]) -> Probability:
    """Average with other maps: their sum in this order, in float32, then one division."""
    if not others:
        return probability
    total = probability
    for window in others:
        total = total + window(tile.section, *tile.tile.write)
    mean = total / np.float32(1 + len(others))
    if tile.empty is not None:
        mean[tile.empty] = 0
    return mean


class Writer:
    """Write each tile at once.

    Parameters
    ----------
    target : Target
        The output.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def put(self, tile: FinishedTile) -> Iterator[tuple[int, Facts]]:
        """Write a tile.

        Parameters
        ----------
        tile : FinishedTile
            The tile.

        Yields
        ------
        number : int
            A tile that is now written.
        facts : dict
            Facts about it; see `Facts`.
        """
        self._target.put(tile.section, *tile.write, tile.pixels)
        yield tile.number, tile.facts


def make_writer(
    target: Target, config: PredictConfig, finished: Mapping[int, Mapping[str, Any]] = _NOTHING
) -> "Writer | SectionWriter":
    """Make a writer of tiles, or of whole sections if the configuration needs them.

    Parameters
    ----------
    target : Target
        The output.
    config : PredictConfig
        What to write.
    finished : mapping of int to dict
        The facts of the tiles that an interrupted run finished.

    Returns
    -------
    Writer or SectionWriter
        Give it the tiles with `put`.
    """
    if config.needs_sections:
        return SectionWriter(target, config, finished)
    return Writer(target)


class SectionWriter:
    """Write each section after its last tile: with its gaps closed, or as segments.

    One whole section is in memory.

    Parameters
    ----------
    target : Target
        The output.
    config : PredictConfig
        What to write.
    finished : mapping of int to dict
        The facts of the tiles that an interrupted run finished.
    """

    def __init__(
        self, target: Target, config: PredictConfig, finished: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self._target, self._config = target, config
        self._numbered = max((int(facts["numbered"]) for facts in finished.values()), default=0)
        # Only closing gaps needs the probability; a mask needs a quarter of the memory.
        self._section = np.zeros(target.shape[1:], np.float32 if config.close_gaps else np.uint8)
        self._covered_px = 0
        self._tiles: dict[int, Facts] = {}  # of this section

    def put(self, tile: FinishedTile) -> Iterator[tuple[int, Facts]]:
        """Take a tile; see `Writer.put`. The tiles of a section come one after the other."""
        self._tiles[tile.number] = tile.facts
        self._section[tile.write] = tile.pixels
        self._covered_px += tile.pixels.size
        if self._covered_px == self._section.size:
            self._finish(tile.section)
            yield from ((n, {**f, "numbered": self._numbered}) for n, f in self._tiles.items())
            self._covered_px, self._tiles = 0, {}

    def _finish(self, section: int) -> None:
        """Write the section."""
        pixels = self._section
        if self._config.close_gaps:
            # Imported here: it loads scikit-image's watershed, which takes 0.1 s.
            from sfseg.prediction.gaps import close_gaps

            pixels = convert(close_gaps(pixels), self._config)
        if self._config.output == "segments":
            pixels = self._number(pixels)
        rows, columns = (slice(0, length) for length in pixels.shape)
        self._target.put(section, rows, columns, pixels)

    def _number(self, mask: AnyArray) -> AnyArray:
        """Give numbers to 4-connected components, on from the last section's; border is 0."""
        segments: AnyArray = label(mask, connectivity=1).astype(np.int32)
        segments[segments > 0] += self._numbered
        self._numbered = max(self._numbered, int(segments.max()))
        return segments
