"""Warnings about training data: polarity, blank sections, voxel sizes."""

import numpy as np
import pytest

from sfseg.config import LabelFormat
from sfseg.training.data_checks import count_pair, data_warnings, describe_labels
from sfseg.training.section import Section


def pair(tissue, *, name="a", voxel=(50, 4, 4), image=None, marks=None):
    """Count tissue, or what is given in its place."""
    images = tissue[0] if image is None else image
    labels = tissue[1] if marks is None else marks
    sections = {
        i: Section.from_pixels(*both) for i, both in enumerate(zip(images, labels, strict=True))
    }
    return count_pair(f"{name}.tif", f"{name}_gt.tif", "described", voxel, sections)


def doubts(*pairs, kind="interior"):
    return list(data_warnings(pairs, kind))


def test_the_counts_are_those_of_all_used_sections_together(tissue):
    facts = pair(tissue)
    volume, labels = tissue
    assert facts.sections == 4
    assert facts.grey.mean == pytest.approx(volume.mean())
    assert facts.grey.deviation == pytest.approx(volume.std())
    assert (facts.grey.low, facts.grey.high) == (volume.min(), volume.max())
    assert facts.interior_share == (labels > 0).mean()
    assert facts.contrast > 20
    assert str(facts) == (
        f"pair: a.tif - a_gt.tif, described; grey values {volume.min()} to {volume.max()}, "
        f"mean {volume.mean():.4g}, deviation {volume.std():.5g}; {(labels > 0).mean():.0%} "
        "inside cells"
    )


def test_tissue_raises_no_warning(tissue):
    assert doubts(pair(tissue), pair(tissue, name="b")) == []


@pytest.mark.parametrize(("kind", "other"), [("interior", "membrane"), ("membrane", "interior")])
def test_inverted_labels_are_warned_about_with_the_option_that_turns_them(tissue, kind, other):
    (line,) = doubts(pair(tissue, marks=255 - tissue[1]), kind=kind)
    assert line.startswith("cells fill only ")
    assert "a_gt.tif" in line
    assert f"--labels-are {other}" in line


def test_bright_membranes_are_warned_about_with_the_option_that_turns_them(tissue):
    swapped = pair(tissue, image=255 - tissue[0])
    (line,) = doubts(swapped)
    assert line == "membranes are brighter than cells in a.tif: try --invert-image"
    (line,) = data_warnings([swapped], "interior", inverted=True)
    assert line == "membranes are brighter than cells in a.tif: leave --invert-image out"


def test_one_inverted_stack_of_several_is_told_apart(tissue):
    (line,) = doubts(pair(tissue), pair(tissue, name="b", image=255 - tissue[0]))
    assert line == (
        "membranes are brighter than cells in b.tif, but not in a.tif: "
        "invert the images of one of them"
    )


def test_labels_with_almost_no_membrane_are_warned_about(tissue):
    marks = np.full_like(tissue[1], 255)
    marks[:, 0, 0] = 0
    assert "are all membranes labelled?" in doubts(pair(tissue, marks=marks))[0]


def test_blank_sections_are_named(tissue):
    image = tissue[0].copy()
    image[1:3] = 7
    (line,) = doubts(pair(tissue, image=image))
    assert line.startswith("a.tif: sections 2-3 are left out: they hold no tissue")


def test_a_pair_of_which_nothing_is_used_raises_no_warning():
    facts = count_pair("a.tif", "a_gt.tif", "described", None, {})
    assert doubts(facts) == []
    assert str(facts) == "pair: a.tif - a_gt.tif, described; none of it is used"


def test_each_kind_of_labels_says_which_value_is_what():
    assert describe_labels(LabelFormat()) == "labels: 0 = membrane, other = inside a cell"
    assert "0 = inside a cell, other = membrane" in describe_labels(LabelFormat("membrane"))
    assert "numbers" in describe_labels(LabelFormat("instances"))
    assert describe_labels(LabelFormat(membrane_value=1, ignore=0)) == (
        "labels: 1 = membrane, other = inside a cell, 0 = not labelled"
    )
    assert "cut at the middle, low = inside" in describe_labels(
        LabelFormat("membrane", threshold="auto")
    )


def test_labels_of_a_part_of_a_section_are_warned_about(tissue):
    marks = tissue[1].copy()
    marks[:2, :, 60:] = 0
    (line,) = doubts(pair(tissue, marks=marks))
    assert line.startswith("a_gt.tif: sections 1-2: up to ")
    assert line.endswith("add --ignore 128")


def test_one_inverted_mask_of_several_is_named_with_what_to_do_in_fiji(tissue):
    pairs = [
        pair(tissue, name=name, marks=255 - tissue[1] if name == "b" else None) for name in "abc"
    ]
    (first,) = doubts(*pairs)
    assert "of b_gt.tif" in first
    assert "Edit > Invert" in first
