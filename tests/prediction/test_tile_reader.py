"""Pieces of a stack: the same whether sections are read whole or window by window."""

import numpy as np
import pytest

from sfseg.errors import NonFiniteError
from sfseg.io import open_stack, write_stack
from sfseg.prediction import tile_reader
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.tile_reader import read_tiles
from sfseg.prediction.windows import window_of
from sfseg.transforms import normalise

SHAPE = (3, 61, 83)


@pytest.fixture
def noise(rng):
    return rng.random(SHAPE, dtype=np.float32)


@pytest.fixture
def by_windows(monkeypatch):
    """Take every section for a large one, and measure it in bands of a few rows."""
    monkeypatch.setattr(tile_reader, "WHOLE_BYTES", 0)
    monkeypatch.setattr(normalise, "BAND_PX", 600)


def tiles_of(shape=SHAPE):
    return Predictor(lambda batch: batch, 16, tile_px=16).tiles(shape[1:])


def opened(path, stack):
    write_stack(path, stack)
    return open_stack(path)


def assert_pieces_of(stack, noise, numbers, found):
    tiles = tiles_of()
    assert [piece.number for piece in found] == list(numbers)
    for piece in found:
        assert piece.section == piece.number // len(tiles)
        assert piece.tile == tiles[piece.number % len(tiles)]
        expected = window_of(noise[piece.section], piece.tile.read, stack.shape[1:])
        np.testing.assert_array_equal(piece.window.pixels, expected)
        assert piece.window.normalisation.levels.mean == pytest.approx(
            noise[piece.section].mean(), rel=1e-6
        )
        assert piece.window.normalisation.levels.deviation == pytest.approx(
            noise[piece.section].std(), rel=1e-5
        )


def test_tiles_of_whole_sections_are_their_windows(noise, tmp_path):
    numbers = range(3 * len(tiles_of()))
    with opened(tmp_path / "a.tif", noise) as stack:
        assert_pieces_of(stack, noise, numbers, list(read_tiles(stack, tiles_of(), numbers)))


@pytest.mark.parametrize("workers", [1, 4])
def test_grey_values_are_left_as_they_are_for_the_device(workers, tmp_path):
    stack, numbers = np.zeros(SHAPE, np.uint8), range(3)
    with opened(tmp_path / "a.tif", stack) as opened_stack:
        for piece in read_tiles(opened_stack, tiles_of(), numbers, workers=workers):
            assert piece.window.pixels.dtype == np.uint8
            assert piece.window.normalised is None  # else four times the bytes go to a GPU


@pytest.mark.usefixtures("by_windows")
def test_tiles_of_large_sections_are_the_same_windows(noise, tmp_path):
    numbers = range(3 * len(tiles_of()))
    with opened(tmp_path / "a.tif", noise) as stack:
        assert_pieces_of(stack, noise, numbers, list(read_tiles(stack, tiles_of(), numbers)))


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_only_sections_with_a_wanted_tile_are_read(noise, tmp_path, monkeypatch, whole_bytes):
    monkeypatch.setattr(tile_reader, "WHOLE_BYTES", whole_bytes)
    count, seen = len(tiles_of()), []
    with opened(tmp_path / "a.tif", noise) as stack:
        real = type(stack).window

        def window(self, index, rows, columns):
            seen.append(index)
            return real(self, index, rows, columns)

        monkeypatch.setattr(type(stack), "window", window)
        numbers = [1, count - 1, 2 * count, 3 * count - 1]
        found = list(read_tiles(stack, tiles_of(), numbers))
        assert_pieces_of(stack, noise, numbers, found)
    assert set(seen) <= {0, 2}


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_nan_is_named_by_its_place_in_the_section(noise, tmp_path, monkeypatch, whole_bytes):
    monkeypatch.setattr(tile_reader, "WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr(normalise, "BAND_PX", 600)  # bands of 7 rows
    noise[1, 40, 70] = np.nan
    noise[1, 41, 2] = np.inf
    count = len(tiles_of())
    with opened(tmp_path / "a.tif", noise) as stack:
        reading = read_tiles(stack, tiles_of(), range(3 * count))
        assert [next(reading).number for _ in range(count)] == list(range(count))
        with pytest.raises(NonFiniteError, match=r"section 2: .* in row 40, column 70 is nan"):
            next(reading)


@pytest.mark.parametrize("whole_bytes", [0, 2**30])
def test_a_section_is_refused_for_nan_in_a_tile_that_is_not_wanted(
    noise, tmp_path, monkeypatch, whole_bytes
):
    monkeypatch.setattr(tile_reader, "WHOLE_BYTES", whole_bytes)
    noise[0, 60, 82] = np.nan
    with opened(tmp_path / "a.tif", noise) as stack, pytest.raises(NonFiniteError):
        list(read_tiles(stack, tiles_of(), [0]))


@pytest.mark.usefixtures("by_windows")
@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 1, 40), (1, 50, 1)])
def test_sections_of_one_pixel_or_row_have_tiles(tmp_path, rng, shape):
    stack = rng.random(shape, dtype=np.float32)
    with opened(tmp_path / "a.tif", stack) as file:
        for piece in read_tiles(file, tiles_of(shape), range(shape[0])):
            expected = window_of(stack[piece.section], piece.tile.read, shape[1:])
            np.testing.assert_array_equal(piece.window.pixels, expected)
