"""When sections are resampled for a network, to which pixel size, and what is said."""

import math

import pytest

from sfseg.errors import OptionError
from sfseg.transforms.pixel_size import choose_pixels

WEIGHTS = (50, 4, 4)


@pytest.mark.parametrize("own", [(50, 4, 4), (30, 4.7, 3.4), (math.nan, 4.8, 4)])
def test_up_to_a_fifth_nothing_is_resampled_and_nothing_said(own):
    found = choose_pixels(own, WEIGHTS, "auto")
    assert (found.network_nm, found.note, str(found)) == (None, "", "")
    assert found.scaling((100, 100)) is None


@pytest.mark.parametrize(
    ("own", "words", "shape"),
    [
        ((50, 8, 8), "from 8 nm to 4 nm", (200, 240)),
        ((50, 2, 2), "from 2 nm to 4 nm", (50, 60)),
        ((50, 8, 4), "from 8x4 nm to 4 nm", (200, 120)),
        ((math.nan, 5, 4), "from 5x4 nm to 4 nm", (125, 120)),
    ],
)
def test_beyond_a_fifth_sections_get_the_pixels_of_the_weights(own, words, shape):
    found = choose_pixels(own, WEIGHTS, "auto")
    assert (str(found), found.note) == (f"resampled {words} for the network", "")
    assert found.scaling((100, 120)).network_shape == shape


def test_isotropic_voxels_go_half_the_way_to_weights_of_thick_sections():
    found = choose_pixels((10, 10, 10), WEIGHTS, "auto")
    assert found.network_nm == pytest.approx((math.sqrt(40), math.sqrt(40)))
    assert choose_pixels((10, 10, 10), (5, 5, 5), "auto").network_nm == (5, 5)
    assert choose_pixels((2, 2, 2), WEIGHTS, "auto").network_nm == (4, 4)  # finer: the whole way
    assert choose_pixels((math.nan, 10, 10), WEIGHTS, "auto").network_nm == (4, 4)


def test_an_unknown_size_is_assumed_to_be_that_of_the_weights_and_said():
    found = choose_pixels(None, WEIGHTS, "auto")
    assert found.network_nm is None
    assert found.note.startswith(
        "the pixel size is not known: 4 nm is assumed, that of the weights"
    )
    assert "--pixel-size" in found.note
    assert choose_pixels(None, None, "auto").note == ""


def test_none_resamples_nothing_and_says_so():
    found = choose_pixels((50, 8, 8), WEIGHTS, "none")
    assert found.network_nm is None
    assert found.note == (
        "warning: pixels are 8 nm, those of the weights 4 nm: not resampled (--rescale none)"
    )


def test_a_size_that_cannot_be_true_is_not_believed_from_a_file_and_refused_from_the_user():
    found = choose_pixels((1000, 1000, 1000), WEIGHTS, "auto")
    assert found.network_nm is None
    assert "too far apart to be true" in found.note
    with pytest.raises(OptionError, match="pixels are 100 nm, those of the weights 4 nm"):
        choose_pixels((math.nan, 100, 100), WEIGHTS, "auto", said=True)
