"""Synthetic tissue: the same from a seed, and like the stack of the challenge."""

import numpy as np
import pytest
from scipy import ndimage

from sfseg.datasets.synthetic import draw_tissue, make_tissue
from sfseg.errors import OptionError


@pytest.fixture(scope="module")
def stack():
    return make_tissue(seed=0)


def test_a_seed_gives_the_same_stack_each_time_and_another_seed_another():
    first, again, other = (make_tissue((2, 64, 64), seed=seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_volume_and_labels_have_the_shape_and_values_of_the_challenge(stack):
    volume, labels = stack
    assert volume.shape == labels.shape == (12, 256, 256)
    assert volume.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 255}


def test_about_22_percent_is_membrane_whatever_the_seed():
    shares = [np.mean(make_tissue((4, 256, 256), seed=seed)[1] == 0) for seed in range(6)]
    assert np.mean(shares) == pytest.approx(0.22, abs=0.03)
    assert min(shares) > 0.15
    assert max(shares) < 0.30


def test_grey_values_are_those_of_isbi_2012_within_fifteen(stack):
    volume, labels = stack
    inside, membrane = volume[labels > 0], volume[labels == 0]  # isbi2012: 138 +- 40, 85 +- 33
    assert inside.mean() == pytest.approx(138, abs=15)
    assert membrane.mean() == pytest.approx(85, abs=15)
    assert inside.std() == pytest.approx(40, abs=15)
    assert membrane.std() == pytest.approx(33, abs=15)


def test_cells_differ_widely_in_size_and_none_is_a_sliver(stack):
    _, labels = stack
    cells, count = ndimage.label(labels[0])
    sizes = np.sqrt(ndimage.sum_labels(labels[0] > 0, cells, np.arange(1, count + 1)))
    assert 20 <= count <= 80
    assert sizes.min() >= 3
    assert np.percentile(sizes, 95) > 2 * np.median(sizes) or sizes.max() > 60


def test_neighbouring_sections_are_alike_and_distant_ones_are_not(stack):
    _, labels = stack
    near = np.mean(labels[:-1] == labels[1:])
    far = np.mean(labels[0] == labels[-1])
    assert near > 0.75 > far


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 300), (3, 33, 17)])
def test_odd_and_small_shapes_are_drawn(shape):
    volume, labels = make_tissue(shape)
    assert volume.shape == labels.shape == shape


def test_an_empty_shape_or_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="the shape"):
        make_tissue((0, 64, 64))
    with pytest.raises(OptionError, match="the shape"):
        make_tissue(seed=-1)


# --- cells, and what makes it harder


def parts(cells, number):
    """Count the connected parts of a cell: in the whole stack, and in each section."""
    return [ndimage.label(cells == number)[1], *(ndimage.label(z == number)[1] for z in cells)]


@pytest.fixture(scope="module")
def plain():
    return draw_tissue((6, 128, 128), seed=4)


def test_cells_have_numbers_without_gaps_that_continue_through_the_sections(plain):
    cells = plain.cells
    assert cells.dtype == np.uint32
    np.testing.assert_array_equal(cells > 0, plain.labels > 0)
    assert np.unique(cells).tolist() == list(range(cells.max() + 1))
    both = (cells[:-1] > 0) & (cells[1:] > 0)
    assert np.mean(cells[:-1][both] == cells[1:][both]) > 0.95
    for section in cells:  # in a section, membrane lies between any two
        for a, b in ((section[1:], section[:-1]), (section[:, 1:], section[:, :-1])):
            assert ((a == b) | (a == 0) | (b == 0)).all()


def test_plain_tissue_is_what_it_was_before_there_were_options(plain):
    tissue = make_tissue((6, 128, 128), seed=4)
    np.testing.assert_array_equal(tissue, (plain.volume, plain.labels))
    volume, labels = make_tissue((3, 48, 40), seed=5)  # no hash: the last bit may differ elsewhere
    assert (volume.mean(), np.mean(labels == 0)) == pytest.approx((132.445, 0.25191), rel=1e-4)


def test_noise_changes_the_images_alone(plain):
    noisy = draw_tissue((6, 128, 128), seed=4, noise=2.0)
    np.testing.assert_array_equal(noisy.cells, plain.cells)
    grain = [np.abs(np.diff(t.volume.astype(float), axis=2)).mean() for t in (noisy, plain)]
    assert grain[0] > 1.5 * grain[1]


def test_a_shift_displaces_images_labels_and_cells_alike():
    shifted = draw_tissue((6, 128, 128), seed=4, shift_px=20)
    assert shifted.volume.shape == shifted.cells.shape == (6, 128, 128)
    np.testing.assert_array_equal(shifted.cells > 0, shifted.labels > 0)
    inside = shifted.labels > 0
    assert all(v[i].mean() > v[~i].mean() + 20 for v, i in zip(shifted.volume, inside, strict=True))
    both = inside[:-1] & inside[1:]
    assert np.mean((shifted.cells[:-1] == shifted.cells[1:])[both]) < 0.9


def test_missing_sections_are_black_and_the_numbers_continue_behind_them():
    tissue = draw_tissue((8, 128, 128), seed=4, missing=2)
    whole = draw_tissue((8, 128, 128), seed=4)
    lost = [z for z, section in enumerate(tissue.volume) if not section.any()]
    assert len(lost) == 2
    assert not {0, 7} & set(lost)
    assert not tissue.labels[lost].any()
    kept = np.delete(np.arange(8), lost)
    np.testing.assert_array_equal(tissue.volume[kept], whole.volume[kept])
    np.testing.assert_array_equal(tissue.cells[kept] > 0, whole.cells[kept] > 0)
    both = tissue.cells[kept].astype(np.int64) * 1000 + whole.cells[kept]
    assert len(np.unique(both)) == len(np.unique(whole.cells[kept]))


def test_a_branch_is_one_profile_on_one_side_and_two_on_the_other_with_one_number():
    tissue = draw_tissue((8, 192, 192), seed=22, branches=2)
    found = [parts(tissue.cells, number) for number in range(1, tissue.cells.max() + 1)]
    branched = [sections for whole, *sections in found if whole == 1 and {1, 2} <= set(sections)]
    assert len(branched) >= 2
    np.testing.assert_array_equal(tissue.cells > 0, tissue.labels > 0)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"missing": 2}, "draw at least 8 sections"),
        ({"branches": -1}, "give 0"),
        ({"noise": np.nan}, "give 0"),
        ({"shift_px": 10**5}, "shift them less"),
        ({"shape": (2, 64, 64), "branches": 30}, "fewer branches"),
        ({"shape": (1, 64, 64), "branches": 1}, "at least 2 sections"),
    ],
)
def test_options_out_of_range_are_refused_with_what_helps(options, hint):
    with pytest.raises(OptionError) as caught:
        draw_tissue(**{"shape": (4, 64, 64)} | options)
    assert hint in caught.value.hint
