"""Probabilities become the pixels of the output: floats, integers, masks, segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from sfseg.config import PredictConfig
from sfseg.errors import NonFiniteError
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tile_reader import StackTile
from sfseg.prediction.tile_writer import (
    SectionWriter,
    Writer,
    convert,
    finish_tile,
    output_dtype,
)
from sfseg.prediction.windows import Window
from sfseg.transforms import normalise
from sfseg.transforms.normalise import GreyLevels, Normalisation

probabilities = arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32))


class Memory:
    """A canvas in memory."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.pixels = shape, dtype, np.full(shape, 99, dtype)

    def put(self, section, rows, columns, pixels):
        assert pixels.dtype == self.dtype
        self.pixels[section, rows, columns] = pixels


def pieces_of(shape, *, blank=False):
    """Give the pieces of all sections, and how each is cut out."""
    tiles = Predictor(lambda batch: batch, 16, tile_px=16).tiles(shape[1:])
    levels = GreyLevels(1, 0, 0, 0, 0 if blank else 1)
    window = Window(np.zeros(shape[1:]), None, Normalisation(levels))
    for number in range(shape[0] * len(tiles)):
        section, tile = number // len(tiles), tiles[number % len(tiles)]
        yield StackTile(number, section, tile, window)


def put(writer, piece, probability, config):
    """Finish the part of a section that is the piece's, and put it."""
    part = probability[piece.section][piece.tile.write]
    return list(writer.put(finish_tile(piece, part, config)))


def put_all(writer, probability, pieces, config):
    return [told for piece in pieces for told in put(writer, piece, probability, config)]


@settings(max_examples=50, deadline=None)
@given(probability=probabilities, dtype=st.sampled_from(["uint8", "uint16"]))
def test_integers_are_the_nearest_to_the_scaled_probability(probability, dtype):
    top = np.iinfo(dtype).max
    found = convert(probability, PredictConfig(dtype=dtype))
    assert found.dtype == dtype
    assert np.abs(found - probability.astype(np.float64) * top).max() <= 0.5
    assert (found[probability == 1] == top).all()
    assert (found[probability == 0] == 0).all()


@settings(max_examples=50, deadline=None)
@given(probability=probabilities, threshold=st.floats(0, 1))
def test_interior_is_what_exceeds_the_threshold(probability, threshold):
    found = convert(probability, PredictConfig(output="binary", threshold=threshold))
    np.testing.assert_array_equal(found == 255, probability.astype(np.float64) > threshold)
    assert set(np.unique(found)) <= {0, 255}


def test_float32_is_written_as_it_is(rng):
    probability = rng.random((3, 5), dtype=np.float32)
    np.testing.assert_array_equal(convert(probability, PredictConfig()), probability)


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, "float32"),
        ({"dtype": "uint16"}, "uint16"),
        ({"output": "binary"}, "uint8"),
        ({"output": "segments"}, "int32"),
    ],
)
def test_the_type_of_the_output_follows_from_what_is_written(options, dtype):
    assert output_dtype(PredictConfig(**options)) == dtype


@pytest.mark.parametrize("options", [{}, {"dtype": "uint8"}, {"output": "binary"}], ids=str)
def test_tiles_in_any_order_make_the_converted_sections(rng, monkeypatch, options):
    monkeypatch.setattr(normalise, "BAND_PX", 50)
    config, shape = PredictConfig(**options), (2, 61, 70)
    probability = rng.random(shape, dtype=np.float32)
    canvas = Memory(shape, output_dtype(config))
    pieces = list(pieces_of(shape))
    told = put_all(Writer(canvas), probability, rng.permutation(pieces), config)
    np.testing.assert_array_equal(canvas.pixels, convert(probability, config))
    assert sorted(number for number, _ in told) == [piece.number for piece in pieces]
    total = sum(facts["interior"] for _, facts in told)
    assert total == pytest.approx(probability.sum(dtype=np.float64))
    assert {facts["blank"] for _, facts in told} == {0}


def test_a_tile_of_a_blank_section_is_reported():
    shape = (1, 20, 20)
    (piece,) = pieces_of(shape, blank=True)
    writer = Writer(Memory(shape, np.dtype("float32")))
    ((_, facts),) = put(writer, piece, np.ones(shape, np.float32), PredictConfig())
    assert facts == {"interior": 400.0, "empty": 0, "blank": 1.0}


def expected_segments(probability):
    segments, numbered = np.zeros(probability.shape, np.int32), 0
    for section, out in zip(probability, segments, strict=True):
        found = label(section > 0.5, connectivity=1)
        out[...] = np.where(found > 0, found + numbered, 0)
        numbered += found.max()
    return segments


def test_segments_are_put_when_the_section_is_whole_and_not_before(rng):
    config, shape = PredictConfig(output="segments"), (3, 61, 70)
    probability = rng.random(shape, dtype=np.float32)
    probability[1] = 0  # a section without any
    canvas, pieces = Memory(shape, np.dtype("int32")), list(pieces_of(shape))
    writer, count = SectionWriter(canvas, config, {}), len(pieces) // 3
    for piece in pieces:
        told = put(writer, piece, probability, config)
        is_last = (piece.number + 1) % count == 0
        assert len(told) == (count if is_last else 0)
        assert (canvas.pixels[piece.section] == 99).all() == (not is_last)
    np.testing.assert_array_equal(canvas.pixels, expected_segments(probability))


def test_segments_go_on_where_the_finished_sections_ended(rng):
    config, shape = PredictConfig(output="segments"), (3, 61, 70)
    probability, pieces = rng.random(shape, dtype=np.float32), list(pieces_of(shape))
    canvas, done = Memory(shape, np.dtype("int32")), 2 * len(pieces) // 3
    finished = dict(put_all(SectionWriter(canvas, config, {}), probability, pieces[:done], config))
    put_all(SectionWriter(canvas, config, finished), probability, pieces[done:], config)
    np.testing.assert_array_equal(canvas.pixels, expected_segments(probability))


@pytest.mark.parametrize("output", ["probability", "binary", "segments"])
def test_a_network_that_says_nan_is_refused(output):
    (piece,) = pieces_of((1, 16, 16))
    said = np.full((16, 16), 0.5, np.float32)
    said[3, 4] = np.nan
    with pytest.raises(NonFiniteError, match="section 1: the network gave NaN"):
        finish_tile(piece, said, PredictConfig(output=output))
