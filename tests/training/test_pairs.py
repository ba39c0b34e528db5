"""Images and labels are paired by name; what is left over is named."""

from pathlib import Path

import pytest

from sfseg.errors import OptionError, StackError
from sfseg.training.pairs import pair_files


@pytest.fixture
def folders(tmp_path):
    """Make empty files in two folders, and pair them: names alone decide what is paired."""

    def pair(images, labels, said=None):
        for folder, names in (("images", images), ("labels", labels)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        say = (lambda _: None) if said is None else said.append
        parts = pair_files(str(tmp_path / "images"), str(tmp_path / "labels"), say=say)
        return [(Path(part.images).name, Path(part.labels).name) for part in parts]

    return pair


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["a.tif", "b.tif"], ["a.png", "b.png"]),
        (["a.tif", "b.tif"], ["a_labels.tif", "b_labels.tif"]),
        (["a.tif", "b.tif"], ["a-seg.tif", "b-seg.tif"]),
        (["a.tif", "b.tif"], ["alabels.tif", "blabels.tif"]),
        (["a.tif", "b.tif"], ["gt a.tif", "gt b.tif"]),
        (["a.tif", "b.tif"], ["A_Mask.tif", "B_Mask.tif"]),
        (["a.tif", "b.tif"], ["a_by_anna.tif", "b_by_anna.tif"]),
        (["sem a x.tif", "sem b x.tif"], ["a.tif", "b.tif"]),
        (
            ["image_1.tif", "image_02.tif", "image_10.tif"],
            ["l01_gt.tif", "l2_gt.tif", "l10_gt.tif"],
        ),
        (["raw1.tif", "raw11.tif", "raw111.tif"], ["labels1.tif", "labels11.tif", "labels111.tif"]),
        (["stack1-image.tif", "stack2-image.tif"], ["stack1-label.tif", "stack2-label.tif"]),
        (["train-volume.tif"], ["train-labels.tif"]),
    ],
)
def test_names_decide_which_labels_belong_to_which_images(folders, images, labels):
    said = []
    assert folders(images, labels, said) == list(zip(images, labels, strict=True))
    assert said == []


def test_a_name_that_begins_like_another_is_not_taken_for_it(folders):
    images, labels = ["1.tif", "10.tif", "100.tif"], ["100_seg.tif", "10_seg.tif", "1_seg.tif"]
    assert folders(images, labels) == list(zip(images, reversed(labels), strict=True))


def test_where_no_name_decides_the_order_does_and_a_line_says_so(folders):
    said = []
    found = folders(["x2.tif", "x10.tif"], ["first.tif", "second.tif"], said)
    assert found == [("x2.tif", "first.tif"), ("x10.tif", "second.tif")]
    (line,) = said
    assert line.startswith("warning: the names do not match")


def test_one_file_and_one_file_belong_together_whatever_their_names(folders):
    said = []
    assert folders(["x.tif"], ["y.tif"], said) == [("x.tif", "y.tif")]
    assert said == []


def test_no_pairs_are_made_up_where_neither_names_nor_counts_agree(folders):
    with pytest.raises(OptionError, match=r"p\.tif.*q\.tif.*no labels of that name"):
        folders(["p.tif", "q.tif"], ["x.tif"])


def test_images_without_labels_are_left_out_and_named(folders):
    said = []
    found = folders(["a.tif", "b.tif", "c.tif"], ["a_gt.tif", "b_gt.tif"], said)
    assert found == [("a.tif", "a_gt.tif"), ("b.tif", "b_gt.tif")]
    (line,) = said
    assert line.startswith("left out, because they have no labels: ")
    assert "c.tif" in line
    assert "a.tif" not in line


def test_labels_without_images_are_named_the_first_of_many(folders):
    labels = [f"{letter}.tif" for letter in "abcdefghij"]
    with pytest.raises(OptionError, match=r"b\.tif.*f\.tif and 4 more: no image of that name"):
        folders(["a.tif"], labels)


def test_two_labels_for_one_image_are_refused_and_named(folders):
    with pytest.raises(OptionError, match=r"not 1 and 2: .*a\.tif, .*a_gt\.tif, .*a_seg\.tif"):
        folders(["a.tif"], ["a_gt.tif", "a_seg.tif"])


def test_two_images_for_one_file_of_labels_are_refused_and_named(folders):
    with pytest.raises(OptionError, match=r"not 2 and 1: .*a\.png, .*a\.tif, .*a_gt\.tif"):
        folders(["a.tif", "a.png"], ["a_gt.tif"])


def test_patterns_part_images_from_labels_in_one_folder(tmp_path):
    for name in ("a_em.tif", "b_em.tif", "a_seg.png", "b_seg.png"):
        (tmp_path / name).touch()
    parts = pair_files(f"{tmp_path}/*_em.tif", f"{tmp_path}/*_seg.png")
    assert [Path(part.labels).name for part in parts] == ["a_seg.png", "b_seg.png"]
    with pytest.raises(OptionError, match="images and labels at once") as caught:
        pair_files(str(tmp_path), str(tmp_path))
    assert "pattern" in caught.value.hint


def test_a_single_source_is_one_stack_whatever_the_other_is(tmp_path):
    (tmp_path / "sections").mkdir()
    for number in range(3):
        (tmp_path / "sections" / f"{number}.png").touch()
    single = str(tmp_path / "volume.tif")  # need not be there to be paired
    many = str(tmp_path / "sections")
    for images, labels in ((single, many), (many, single), ("file.h5:/raw", "file.h5:/labels")):
        (part,) = pair_files(images, labels)
        assert (part.images, part.labels, part.sections) == (images, labels, None)


def test_an_empty_folder_is_refused(folders):
    with pytest.raises(StackError, match="labels: there are no images here"):
        folders(["a.tif"], [])


def test_names_that_differ_only_in_unicode_form_are_equal(folders):
    composed, decomposed = "\u00e9chantillon", "e\u0301chantillon"
    pairs = folders([f"{composed}1.tif", "b.tif"], [f"{decomposed}1.tif", "b.tif"])
    assert (f"{composed}1.tif", f"{decomposed}1.tif") in pairs


def test_numbers_of_sections_pair_what_names_do_not(folders):
    images, labels = ["slice1.tif", "slice2.tif", "slice10.tif"], ["z_10.png", "z_2.png", "z_1.png"]
    assert folders(images, labels) == list(zip(images, reversed(labels), strict=True))


def test_sections_of_other_numbers_are_never_paired_by_position(folders):
    with pytest.raises(OptionError, match=r"z4\.tif: no image of that name"):
        folders(["slice1.tif", "slice2.tif", "slice3.tif"], ["z1.tif", "z2.tif", "z4.tif"])


def test_a_side_that_counts_from_0_is_paired_in_order(folders):
    said = []
    images, labels = ["slice0.tif", "slice1.tif"], ["z1.tif", "z2.tif"]
    assert folders(images, labels, said) == list(zip(images, labels, strict=True))
    assert "paired in order" in said[0]
