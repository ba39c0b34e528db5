"""What is written: interior probability turned into the pixels of the output, piece by piece."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from skimage.measure import label

from sfseg.config import PredictConfig
from sfseg.errors import NonFiniteError
from sfseg.io import Canvas
from sfseg.prediction.tile_reader import Piece
from sfseg.prediction.tiles import lengths
from sfseg.transforms.normalise import bands
from sfseg.types import INTERIOR, AnyArray, Probability

Facts = dict[str, float]
"""What is remembered of a finished piece: ``interior``, the sum of its probability; ``blank``, 1
where its section has one grey value only; and for segments ``numbered``, the largest so far."""


def output_dtype(config: PredictConfig) -> np.dtype[Any]:
    """Return the type of the pixels that a configuration writes."""
    fixed = {"binary": "uint8", "segments": "int32"}
    return np.dtype(fixed.get(config.output, config.dtype))


def convert(probability: Probability, config: PredictConfig) -> AnyArray:
    """Turn interior probability into what is written.

    Parameters
    ----------
    probability : ndarray of float32, shape (Y, X)
        Interior probability in [0, 1].
    config : PredictConfig
        Whose ``output``, ``dtype`` and ``threshold`` say what.

    Returns
    -------
    ndarray, shape (Y, X)
        Probability, scaled to the maximum of an integer type; or 255 where it exceeds the
        threshold, else 0.
    """
    dtype = output_dtype(config)
    if config.output != "probability":
        exceeds = probability > np.float64(config.threshold)
        return np.where(exceeds, INTERIOR, 0).astype(np.uint8)
    if dtype.kind == "u":
        top = 255.0 if dtype == np.uint8 else 65535.0
        return np.rint(probability.astype(np.float64) * top).astype(dtype)
    return probability


class Writer:
    """Puts pieces on a canvas as they come.

    Parameters
    ----------
    canvas : Canvas
        Of the output.
    config : PredictConfig
        What to write.
    """

    def __init__(self, canvas: Canvas, config: PredictConfig) -> None:
        self._canvas, self._config = canvas, config

    def put(self, piece: Piece, probability: Probability) -> Iterator[tuple[int, Facts]]:
        """Write a piece.

        Parameters
        ----------
        piece : Piece
            Where it lies.
        probability : ndarray of float32
            Interior probability of its kept part.

        Yields
        ------
        number : int
            A piece that is on the canvas now.
        facts : dict
            What is to be remembered of it.

        Raises
        ------
        NonFiniteError
            If the network has said NaN.
        """
        facts = _facts(piece, probability)
        rows, columns = piece.tile.write
        # In bands: a tile is large, and its pixels pass through float64.
        for part in bands(lengths(piece.tile.write)):
            there = slice(rows.start + part.start, rows.start + part.stop)
            self._canvas.put(
                piece.section, there, columns, convert(probability[part], self._config)
            )
        yield piece.number, facts


class SectionWriter:
    """Puts a section on a canvas when its last piece has come: gaps closed, or as segments.

    Takes memory for one whole section.

    Parameters
    ----------
    canvas : Canvas
        Of the output.
    config : PredictConfig
        What to write.
    finished : mapping of int to dict
        The facts of pieces that an interrupted run has finished.
    """

    def __init__(
        self, canvas: Canvas, config: PredictConfig, finished: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self._canvas, self._config = canvas, config
        self._numbered = max((int(facts["numbered"]) for facts in finished.values()), default=0)
        # Only closing gaps needs the probability; a mask takes a quarter of the memory.
        self._section = np.zeros(canvas.shape[1:], np.float32 if config.close_gaps else np.uint8)
        self._covered_px = 0
        self._pieces: dict[int, Facts] = {}

    def put(self, piece: Piece, probability: Probability) -> Iterator[tuple[int, Facts]]:
        """Take a piece; see `Writer.put`. The pieces of a section come one after the other."""
        self._pieces[piece.number] = _facts(piece, probability)
        kept = probability if self._config.close_gaps else convert(probability, self._config)
        self._section[piece.tile.write] = kept
        self._covered_px += probability.size
        if self._covered_px == self._section.size:
            self._finish(piece.section)
            yield from ((n, {**f, "numbered": self._numbered}) for n, f in self._pieces.items())
            self._covered_px, self._pieces = 0, {}

    def _finish(self, section: int) -> None:
        """Write the section."""
        pixels = self._section
        if self._config.close_gaps:
            # Not above: what it imports takes a tenth of a second, which others need not wait.
            from sfseg.prediction.gaps import close_gaps

            pixels = convert(close_gaps(pixels), self._config)
        if self._config.output == "segments":
            pixels = self._number(pixels)
        rows, columns = (slice(0, length) for length in pixels.shape)
        self._canvas.put(section, rows, columns, pixels)

    def _number(self, mask: AnyArray) -> AnyArray:
        """Give 4-connected components numbers, on from the section before; border is 0."""
        segments: AnyArray = label(mask, connectivity=1).astype(np.int32)
        segments[segments > 0] += self._numbered
        self._numbered = max(self._numbered, int(segments.max()))
        return segments


def _facts(piece: Piece, probability: Probability) -> Facts:
    interior = float(probability.sum(dtype=np.float64))
    if not math.isfinite(interior):
        raise NonFiniteError(
            f"section {piece.section + 1}: expected probabilities from the network, found NaN",
            hint="predict with --precision float32, or with other weights",
        )
    return {"interior": interior, "blank": float(piece.levels.blank)}
