"""Superpixels and edges, against slow definitions."""

import bioimage_cpp as bic
import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sfseg.segmentation.borders import BORDER_MEASURES, find_borders
from sfseg.segmentation.overlaps import OVERLAP_MEASURES, find_overlaps
from sfseg.segmentation.superpixels import (
    PEAK_PX,
    average_neighbours,
    find_peaks,
    find_superpixels,
)


def grid(side=60, membrane=0.0):
    """Four cells, divided by a cross of 3 px."""
    light = np.ones((side, side), np.float32)
    middle = slice(side // 2 - 1, side // 2 + 2)
    light[middle], light[:, middle] = membrane, membrane
    return light


def test_every_pixel_has_a_superpixel_and_each_is_in_one_piece():
    rng = np.random.default_rng(0)
    light = ndimage.gaussian_filter(rng.random((90, 110)).astype(np.float32), 2)
    light = (light - light.min()) / np.ptp(light)
    labels, count = find_superpixels(light, light)
    assert set(np.unique(labels)) == set(range(1, count + 1))
    assert count > 5
    pieces = [ndimage.label(labels == number)[1] for number in range(1, count + 1)]
    assert pieces == [1] * count


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.integers(0, 3),
    ),
    st.booleans(),
)
def test_peaks_are_where_a_maximum_filter_changes_nothing(heights, everywhere):
    where = np.full(heights.shape, True) if everywhere else heights > 1
    highest = ndimage.maximum_filter(heights, PEAK_PX)
    np.testing.assert_array_equal(find_peaks(heights, where), where & (heights == highest))


def test_a_faint_membrane_divides_and_so_does_one_of_the_next_section():
    faint = grid(membrane=0.8)
    assert find_superpixels(faint, faint)[1] == 4
    gone = np.ones_like(faint)
    assert find_superpixels(gone, average_neighbours(grid(), gone, grid()))[1] >= 4
    assert find_superpixels(gone, gone)[1] == 1


def test_a_cell_that_is_faint_all_over_is_a_superpixel():
    light = grid()
    light[:29, :29] *= 0.6
    labels, count = find_superpixels(light, light)
    assert count == 4
    assert len(np.unique(labels[:29, :29])) == 1


def test_sections_without_light_or_without_a_membrane_have_superpixels_or_none():
    for value in (0.0, 0.5, 0.6, 1.0):
        section = np.full((20, 30), value, np.float32)
        labels, count = find_superpixels(section, section)
        assert labels.max() == count == (value > 0.5)
    labels, count = find_superpixels(*[np.ones((1, 1), np.float32)] * 2)
    assert (labels.tolist(), count) == ([[1]], 1)


def test_the_average_has_half_of_each_neighbour():
    a, b, c = (np.full((2, 2), value, np.float32) for value in (0.0, 0.4, 0.8))
    assert np.allclose(average_neighbours(a, b, c), 0.4)
    assert np.allclose(average_neighbours(None, a, c), 0.4)  # the one neighbour stands for both
    assert average_neighbours(None, a, None) is a


def test_borders_are_those_of_pixels_that_touch():
    light = grid()
    light[:29, 29:32] = 0.6  # a faint membrane between the upper two
    labels, _ = find_superpixels(light, light)
    edges = find_borders(labels, light, light)
    assert edges.measures.shape == (len(edges.pairs), len(BORDER_MEASURES))
    upper = sorted((labels[5, 5], labels[5, 55]))
    means = {
        tuple(pair): row[0] for pair, row in zip(edges.pairs.tolist(), edges.measures, strict=True)
    }
    assert means[tuple(upper)] < 0.5 < means[tuple(sorted((labels[5, 5], labels[55, 5])))]
    touching = set()
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = one != other
        touching |= {
            tuple(sorted(p)) for p in zip(one[differ].tolist(), other[differ].tolist(), strict=True)
        }
    assert {tuple(pair) for pair in edges.pairs.tolist()} == touching


def test_the_measures_of_borders_are_those_of_bioimage_cpp():
    rng = np.random.default_rng(2)
    light = tuple(rng.random((40, 50)).astype(np.float32) for _ in range(2))
    labels, _ = find_superpixels(ndimage.gaussian_filter(light[0], 1), light[1])
    edges = find_borders(labels, *light)
    graph = bic.graph.region_adjacency_graph(labels)
    np.testing.assert_array_equal(edges.pairs, graph.uv_ids())
    names = bic.graph.features.COMPLEX_EDGE_FEATURE_NAMES
    wanted = [
        bic.graph.features.edge_map_features_complex(graph, labels, 1 - one)[:, names.index(name)]
        for one in light
        for name in ("mean", "p10", "p90")
    ]
    np.testing.assert_allclose(edges.measures[:, :6], np.stack(wanted, axis=1), atol=1e-6)


def test_overlaps_count_the_pixels_that_are_inside_in_both():
    rng = np.random.default_rng(1)
    labels = tuple(rng.integers(0, 4, (20, 30)).astype(np.uint32) for _ in range(2))
    light = tuple(rng.random((20, 30)).astype(np.float32) for _ in range(2))
    edges = find_overlaps(labels, light)
    assert edges.measures.shape == (len(edges.pairs), len(OVERLAP_MEASURES))
    assert len(edges.pairs) == 9  # 0 is no superpixel
    inside = [one > 0.5 for one in light]
    for (first, second), row, size in zip(
        edges.pairs.tolist(), edges.measures, edges.sizes, strict=True
    ):
        one, other = (labels[0] == first) & inside[0], (labels[1] == second) & inside[1]
        both = one & other
        assert size == both.sum()
        wanted = [
            both.sum() / (one | other).sum(),
            both.sum() / min(one.sum(), other.sum()),
            both.sum() / max(one.sum(), other.sum()),
            np.minimum(*light)[both].mean(),
            np.log(both.sum()),
        ]
        np.testing.assert_allclose(row, wanted, rtol=1e-5)
