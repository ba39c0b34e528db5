"""The watershed, against slow definitions."""

import heapq

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg.segmentation.watershed import watershed

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)
compiles = settings(deadline=None)  # the first call does


def some_seeds(data, shape):
    return data.draw(arrays.arrays(np.uint32, shape, elements=st.integers(0, 3), fill=st.just(0)))


def beside(y, x, shape):
    """The places of the up to four neighbours."""
    around = ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
    return [(r, c) for r, c in around if 0 <= r < shape[0] and 0 <= c < shape[1]]


def join_by_cheapest_faces(heights, seeds):
    """The minimum spanning forest of the algorithm of Kruskal, seeds as roots."""
    shape, places = heights.shape, list(np.ndindex(heights.shape))
    pairs = [(a, b) for a in places for b in beside(*a, shape) if a < b]
    faces = [(*sorted((heights[a], heights[b]), reverse=True), a, b) for a, b in pairs]
    parts = {place: {place} for place in places}
    labels = {id(part): int(seeds[place]) for place, part in parts.items()}
    for *_, a, b in sorted(faces):
        one, two = parts[a], parts[b]
        if one is two or (labels[id(one)] and labels[id(two)]):
            continue
        labels[id(one)] = labels[id(one)] or labels[id(two)]
        one |= two
        parts |= dict.fromkeys(two, one)
    return np.array([labels[id(parts[place])] for place in places], np.uint32).reshape(shape)


def lowest_ways(heights, seeds, labels=None):
    """The highest pixel of the lowest path to any seed; with labels, to the own one inside them."""
    ways = np.full(heights.shape, np.inf)
    waiting = [(heights[y, x], y, x) for y, x in np.argwhere(seeds).tolist()]
    heapq.heapify(waiting)
    while waiting:
        way, y, x = heapq.heappop(waiting)
        if way >= ways[y, x]:
            continue
        ways[y, x] = way
        for place in beside(y, x, heights.shape):
            if labels is None or labels[place] == labels[y, x]:
                heapq.heappush(waiting, (max(way, heights[place]), *place))
    return ways


@compiles
@given(st.data())
def test_it_is_a_minimum_spanning_forest_where_no_two_pixels_are_equally_high(data):
    shape = data.draw(SHAPES)
    order = data.draw(st.permutations(range(shape[0] * shape[1])))
    heights, seeds = np.array(order, np.float32).reshape(shape), some_seeds(data, shape)
    np.testing.assert_array_equal(watershed(heights, seeds), join_by_cheapest_faces(heights, seeds))


@compiles
@given(st.data())
def test_each_pixel_reaches_its_seed_over_the_lowest_way_also_on_plains(data):
    shape = data.draw(SHAPES)
    heights = data.draw(arrays.arrays(np.float32, shape, elements=st.integers(0, 4)))
    seeds = some_seeds(data, shape)
    labels = watershed(heights, seeds)
    np.testing.assert_array_equal(labels[seeds > 0], seeds[seeds > 0])
    np.testing.assert_array_equal(lowest_ways(heights, seeds, labels), lowest_ways(heights, seeds))


def test_a_plain_belongs_to_its_seed_and_to_none_without():
    seeds = np.zeros((30, 40), np.uint32)
    plain = np.ones_like(seeds, np.float32)
    assert not watershed(plain, seeds).any()
    seeds[29, 39] = 7
    assert (watershed(plain, seeds) == 7).all()


def test_seeds_stay_as_they_are():
    seeds = np.zeros((5, 5), np.uint32)
    seeds[2, 2] = 1
    watershed(np.random.default_rng(0).random((5, 5)).astype(np.float32), seeds)
    assert seeds.sum() == 1
