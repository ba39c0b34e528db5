"""Empty areas: found whatever their value and type, and nothing else."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage

import sfseg
from sfseg.transforms import normalise
from sfseg.transforms.normalise import GreyLevels, bands, measure, measure_section, standardise

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
TYPES = {
    "uint8": lambda section: section,
    "uint16": lambda section: section.astype(np.uint16) * 20 + 30000,
    "float32": lambda section: (section.astype(np.float32) - 126) / 40,
}


@pytest.fixture(scope="module")
def section():
    with sfseg.open_stack(SAMPLE / "volume.tif") as stack:
        return stack.section(0)


def empty_of(section):
    mask = measure_section(section).mask(section)
    return np.zeros(section.shape, bool) if mask is None else mask


def ring(shape, width):
    outside = np.ones(shape, bool)
    outside[width:-width, width:-width] = False
    return outside


@pytest.mark.parametrize("width", [1, 3, 7, 8, 38, 128])
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_border_is_empty_and_the_field_is_measured_alone(section, dtype, value, width):
    field = TYPES[dtype](section)
    padded = np.pad(field, width, constant_values=value)
    outside = ring(padded.shape, width)
    found = empty_of(padded)
    assert found[outside].all()
    # A few of the darkest or brightest pixels beside the border look like it.
    assert found[~outside].mean() < 2e-3
    inside = standardise(padded)[width:-width, width:-width]
    np.testing.assert_allclose(inside[~found[~outside].reshape(inside.shape)].mean(), 0, atol=1e-3)
    assert not standardise(padded)[found].any()


@pytest.mark.parametrize("angle", [1, 7, 45])
@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_corners_of_a_rotated_frame_are_empty(section, dtype, order, angle):
    field = TYPES[dtype](section)
    turn = {"angle": angle, "reshape": False, "order": order}
    rotated = ndimage.rotate(field, **turn)
    outside = ndimage.rotate(np.ones(section.shape, np.uint8), **{**turn, "order": 0}) == 0
    found = empty_of(rotated)
    # Between the frame and the corners lie pixels that are interpolated between the two.
    assert found[ndimage.binary_erosion(outside, iterations=2, border_value=1)].all()
    assert found[ndimage.binary_erosion(~outside, iterations=2, border_value=1)].mean() < 2e-3


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("width", [3, 7, 38])
@pytest.mark.parametrize("value", [0, 255])
def test_jpeg_leaves_the_border_empty(section, value, width, quality):
    padded = np.pad(section, width, constant_values=value)
    coded = iio.imwrite("<bytes>", padded, extension=".jpg", quality=quality)
    found, outside = empty_of(iio.imread(coded)), ring(padded.shape, width)
    assert found[outside].mean() > 0.97
    assert found[~outside].mean() < 5e-3


@pytest.mark.parametrize("side", [40, 100])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_missing_tile_inside_is_empty(section, value, side):
    hole = np.zeros(section.shape, bool)
    hole[51 : 51 + side, 77 : 77 + side] = True
    found = empty_of(np.where(hole, np.uint8(value), section))
    assert found[hole].all()
    assert found[~hole].mean() < 1e-3


@pytest.mark.parametrize(("ground", "ink"), [(0, 255), (255, 0), (128, 255)])
def test_a_bar_is_empty_with_its_letters(section, ground, ink):
    field = np.tile(section, (2, 2))
    bar = np.full((70, field.shape[1]), ground, np.uint8)
    letters = np.random.default_rng(0).random((4, 50)) < 0.5  # strokes of 5 px
    bar[20:40, 20:270] = np.where(np.kron(letters, np.ones((5, 5), bool)), ink, ground)
    bar[50:55, 300:480] = ink  # the scale bar
    picture = np.vstack([field, bar])
    found = empty_of(picture)
    assert found[field.shape[0] :].all()
    assert found[: field.shape[0]].mean() < 1e-3


@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize("rows", [256, 250])
@pytest.mark.parametrize(("ground", "ink"), [(0, 255), (255, 0)])
def test_a_line_and_letters_beside_the_tissue_are_part_of_the_bar(
    section, ground, ink, rows, quality
):
    picture = np.vstack([section[:rows], np.full((60, 256), ground, np.uint8)])
    picture[rows] = ink  # a line between them
    letters = np.random.default_rng(0).random((10, 125)) < 0.3  # strokes of 2 px
    picture[rows + 4 : rows + 24, 3:253] = np.where(
        np.kron(letters, np.ones((2, 2), bool)), ink, ground
    )
    if quality:
        coded = iio.imwrite("<bytes>", picture, extension=".jpg", quality=quality)
        picture = iio.imread(coded)
    found = empty_of(picture)
    assert found[rows:].mean() > 0.99
    assert found[:rows].mean() < 2e-3


def test_thin_corners_of_a_rotated_frame_are_empty_in_jpeg(section):
    turn = {"angle": 3, "reshape": True, "order": 3}
    coded = iio.imwrite("<bytes>", ndimage.rotate(section, **turn), extension=".jpg", quality=75)
    outside = ndimage.rotate(np.ones(section.shape, np.uint8), **{**turn, "order": 0}) == 0
    found = empty_of(iio.imread(coded))
    assert found[ndimage.binary_erosion(outside, iterations=2, border_value=1)].mean() > 0.99
    assert found[ndimage.binary_erosion(~outside, iterations=2, border_value=1)].mean() < 2e-3


@pytest.mark.parametrize("gain", [1, 2, 4])
@pytest.mark.parametrize("centre", [90, 125, 160])
def test_saturated_tissue_is_not_empty(section, gain, centre):
    stretched = ((section.astype(np.float32) - centre) * gain + centre).clip(0, 255)
    assert not empty_of(stretched.astype(np.uint8)).any()


def test_the_real_stack_is_tissue_without_outliers(isbi):
    stacks = sorted(isbi.glob("*-volume.tif"))
    assert len(stacks) == 2
    for stack in stacks:
        with sfseg.open_stack(stack) as opened:
            sections = opened.read()
        for section in sections:
            found = measure_section(section)
            assert found == normalise.Normalisation(GreyLevels.of_section(section))


def test_a_drawing_without_noise_has_no_empty_areas(section):
    cells = ndimage.gaussian_filter(section.astype(np.float32), 4)
    drawing = (cells // 32 * 32).astype(np.uint8)
    assert (drawing[:, 0] == drawing[1, 0]).any()
    assert not empty_of(drawing).any()


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_blank_section_is_empty_everywhere(value):
    blank = np.full((40, 50), value, np.uint8)
    assert empty_of(blank).all()
    assert measure_section(blank).empty_px == blank.size


def test_hot_pixels_on_a_blank_section_are_no_tissue():
    blank = np.zeros((256, 256), np.uint16)
    blank.ravel()[np.random.default_rng(0).integers(0, blank.size, 20)] = 65535
    assert empty_of(blank).all()


def test_hot_pixels_do_not_change_the_levels(section):
    hot = section.astype(np.uint16) * 10
    hot.flat[np.random.default_rng(0).integers(0, hot.size, 20)] = 65535
    found, clean = measure_section(hot), GreyLevels.of_section(section.astype(np.uint16) * 10)
    assert found.levels.mean == pytest.approx(clean.mean, rel=1e-3)
    assert found.levels.deviation == pytest.approx(clean.deviation, rel=1e-3)
    assert standardise(hot).max() < 10


@pytest.mark.parametrize("shape", [(64, 64), (200, 37)])
def test_bands_find_what_the_whole_section_does(section, monkeypatch, shape):
    padded = np.pad(section[: shape[0], : shape[1]], ((3, 20), (9, 0)))
    whole = measure_section(padded)
    monkeypatch.setattr(normalise, "BAND_PX", 1000)
    rows = list(bands(padded.shape))
    assert len(rows) > 2
    found = measure(lambda: ((span, padded[span]) for span in rows), padded.shape)
    np.testing.assert_array_equal(found.mask(padded), whole.mask(padded))
    assert found.levels.mean == pytest.approx(whole.levels.mean, rel=1e-12)
    part = (slice(5, 40), slice(2, 30))
    np.testing.assert_array_equal(found.mask(padded[part], (5, 2)), whole.mask(padded)[part])
