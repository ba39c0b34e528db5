"""The cut of a graph, against all divisions of small ones."""

from itertools import combinations

import numpy as np
import pytest

from sfseg.segmentation.multicut import multicut, number_in_order


def divisions(count):
    """Yield all divisions of a few nodes, as the group of each."""

    def go_on(groups, highest):
        if len(groups) == count:
            yield groups
            return
        for group in range(highest + 2):
            yield from go_on((*groups, group), max(group, highest))

    return go_on((0,), 0)


def cost_of(labels, pairs, costs):
    labels = np.asarray(labels)
    return costs[labels[pairs[:, 0]] != labels[pairs[:, 1]]].sum()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_cut_is_the_best_of_all_or_close(share):
    rng = np.random.default_rng(3)
    gaps = []
    for _ in range(40):
        pairs = np.array([pair for pair in combinations(range(6), 2) if rng.random() < share])
        costs = rng.normal(size=len(pairs)).astype(np.float32)
        found = cost_of(multicut(6, pairs.astype(np.uint64), costs), pairs, costs)
        best = min(cost_of(one, pairs, costs) for one in divisions(6))
        assert found >= best - 1e-5
        gaps.append(found - best)
    assert np.mean(np.array(gaps) < 1e-5) >= 0.9
    assert np.mean(gaps) < 0.05


def test_nodes_without_an_edge_are_alone_and_numbers_follow_the_nodes():
    assert multicut(3, np.empty((0, 2), np.uint64), np.empty(0, np.float32)).tolist() == [0, 1, 2]
    assert number_in_order(np.array([7, 7, 2, 9, 2])).tolist() == [0, 0, 1, 2, 1]
