"""Costs that are learnt from known cells."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.metrics import variation_of_information

import sfseg
from sfseg.errors import ShapeMismatchError, StackError
from sfseg.segmentation.costs import load_costs
from sfseg.segmentation.learn import fit
from tests.cli import commands

SHAPE = (5, 192, 192)


def draw(seed):
    """Draw cells, and a map of faint membranes, unlike those that the costs of sfseg know."""
    tissue = sfseg.draw_tissue(SHAPE, seed=seed)
    blurred = ndimage.gaussian_filter(tissue.labels / np.float32(255), (0, 1.5, 1.5))
    return 1 - (1 - blurred) * np.float32(0.35), tissue.cells


def variation(found, truth):
    inside = truth > 0
    return sum(variation_of_information(found[inside], truth[inside]))


@pytest.fixture(scope="module")
def known():
    return draw(31)


@pytest.fixture(scope="module")
def unseen():
    return draw(32)


def test_learnt_costs_divide_other_tissue_better(known, unseen):
    lines = []
    costs = sfseg.learn_costs(*known, say=lines.append)
    assert ["learnt from" in line for line in lines] == [True, True]
    before, after = (
        variation(sfseg.segment(unseen[0], costs=each), unseen[1]) for each in (None, costs)
    )
    assert after < before / 2


def test_ids_of_one_section_each_and_masks_tell_of_borders_only(known):
    probability, cells = known
    shipped = load_costs()
    shuffled = np.stack([np.where(s > 0, s * 7 % 1009 + 1000 * z, 0) for z, s in enumerate(cells)])
    for truth in (shuffled, (cells > 0).astype(np.uint8)):
        lines = []
        costs = sfseg.learn_costs(probability, truth, say=lines.append)
        assert costs.overlap is shipped.overlap
        assert costs.border is not shipped.border
        assert "too little is known of overlaps" in lines[1]


def test_sections_without_labels_do_not_count(known):
    probability, cells = known
    some = cells.copy()
    some[[0, 1, 4]] = 0
    costs, others = (sfseg.learn_costs(probability, each) for each in (some, cells))
    assert not np.array_equal(costs.border.weights, others.border.weights)
    assert costs.overlap is not load_costs().overlap


def test_what_tells_nothing_is_refused(known):
    probability, cells = known
    with pytest.raises(ShapeMismatchError, match="cells of 4 sections of"):
        sfseg.learn_costs(probability, cells[:-1])
    with pytest.raises(StackError, match="nothing can be learnt from so few cells"):
        sfseg.learn_costs(probability[:2, :40, :40], np.ones((2, 40, 40), np.uint8))


def test_a_fit_is_that_of_scikit_learn_and_the_fewer_edges_the_less_it_moves():
    rng = np.random.default_rng(0)
    measures = rng.normal(5, 3, (300, 8))
    divides = measures @ np.arange(8) + rng.normal(0, 20, 300) > np.arange(8).sum() * 5
    found = fit(measures, divides)
    # LogisticRegression(C=1) of scikit-learn 1.7 on the standardised measures
    margin = measures @ found.weights + found.intercept
    chance = 1 / (1 + np.exp(-margin))
    standard = (measures - measures.mean(axis=0)) / measures.std(axis=0)
    gradient = standard.T @ (chance - divides) + found.weights * measures.std(axis=0)
    np.testing.assert_allclose([*gradient, (chance - divides).sum()], 0, atol=0.05)
    prior = load_costs().border
    few, many = (fit(measures[:n], divides[:n], prior).weights for n in (4, 300))
    assert np.abs(few - prior.weights).max() < np.abs(many - prior.weights).max()


def test_the_command_learns_and_says_so(tmp_path, known, unseen):
    paths = [tmp_path / f"{name}.tif" for name in ("unseen", "out", "known", "cells")]
    for path, stack in zip((paths[0], *paths[2:]), (unseen[0], *known), strict=True):
        sfseg.write_stack(path, stack)
    result = commands.sfseg("segment", paths[0], "-o", paths[1], "--learn-from", *paths[2:])
    assert result.exit_code == 0, result.output
    assert "cells.tif: learnt from" in result.stderr
    expected = sfseg.segment(unseen[0], costs=sfseg.learn_costs(*known))
    np.testing.assert_array_equal(tifffile.imread(paths[1]), expected)
    commands.fails("segment", paths[0], "-o", "a.tif", "--learn-from", "no.tif", paths[3])
