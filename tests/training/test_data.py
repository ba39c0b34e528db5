"""Training data: pairs, held-out sections, and what looks wrong in them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sfseg import models
from sfseg.config import TrainConfig
from sfseg.datasets.fetch import fetch
from sfseg.errors import OptionError, ShapeMismatchError, StackError
from sfseg.io import write_stack
from sfseg.recipes import DEFAULT, THESIS
from sfseg.training.data import TrainingData, load_training_data
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.splits import split_sections
from sfseg.training.train import train
from sfseg.training.validation import validate

NAMES = "im/a.tif", "lab/a_labels.tif"


def config(**options):
    return TrainConfig(out=Path("unused"), **options)


def own(folder, images="volume.tif", labels="labels.tif", **options):
    """Train on files of a folder."""
    return config(images=str(folder / images), labels=str(folder / labels), **options)


def split(counts, standard=None, **options):
    return split_sections(config(**options), counts, standard or [None] * len(counts))


def indices(first, last):
    """Give the indices of sections that a person numbers from first to last."""
    return tuple(range(first - 1, last))


@pytest.fixture
def several(tmp_path, tissue):
    """Three stacks and their labels: 4 sections of 96x112, 2 of 64x96, 1 of 96x64."""
    for name, (sections, rows, columns) in {
        "a": (4, 96, 112),
        "b": (2, 64, 96),
        "c": (1, 96, 64),
    }.items():
        for folder, stack, suffix in zip(("im", "lab"), tissue, ("", "_labels"), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            cut = stack[:sections, :rows, :columns]
            path = tmp_path / folder / f"{name}{suffix}.tif"
            write_stack(path, cut, voxel_size_nm=(50, 4, 4))
    return tmp_path


def load(config):
    said = []
    return load_training_data(TrainSetup.from_config(config), None, say=said.append), said


# --- axes


def test_images_and_labels_may_have_axes_of_their_own(several):
    images, labels = (tifffile.imread(several / name) for name in NAMES)
    images = images // 2
    colours = np.stack([images, images, images + 3], axis=-1)
    tifffile.imwrite(several / "c.tif", colours[0], photometric="rgb")
    tifffile.imwrite(several / "c_labels.tif", labels[0], photometric="minisblack")
    chosen = {"axes": "YXS", "label_axes": "YX", "validation": "none"}
    data, _ = load(own(several, "c.tif", "c_labels.tif", **chosen))
    np.testing.assert_array_equal(data.training[0].image, images[0] + 1)
    np.testing.assert_array_equal(data.training[0].labels, labels[0])
    with pytest.raises(
        OptionError, match=r"do not fit an array of 96x112, whose axes are"
    ) as caught:
        load(own(several, "c.tif", "c_labels.tif", axes="YXS"))
    assert caught.value.hint == "--label-axes YX"


def test_images_of_mrc_beside_labels_of_tiff_are_warned_about(several):
    write_stack(several / "a.mrc", tifffile.imread(several / NAMES[0]).astype(np.float32))
    _, said = load(own(several, "a.mrc", NAMES[1]))
    assert any("only one is MRC" in line for line in said)
    _, said = load(own(several, *NAMES))
    assert not any("MRC" in line for line in said)


# --- what is held out


def test_the_first_eighth_is_held_out_by_default():
    assert split([30], ["1-24"]) == (indices(4, 24), indices(1, 3))


def test_the_first_eighth_of_each_stack_is_held_out():
    training, held = split([8, 16, 1])
    assert held == (0, 8, 9)
    assert training == tuple(i for i in range(25) if i not in held)


def test_of_single_images_the_first_eighth_is_held_out():
    assert split([1] * 16) == (indices(3, 16), indices(1, 2))


def test_a_single_section_is_trained_on_and_not_held_out():
    assert split([1]) == ((0,), ())


def test_named_validation_sections_are_never_trained_on():
    training, held = split([30], ["1-24"], validation="20-24")
    assert held == indices(20, 24)
    assert training == indices(1, 19)


def test_sections_of_several_stacks_are_numbered_through():
    assert split([4, 4], sections="3-6", validation="5") == ((2, 3, 5), (4,))
    assert split([4, 4], ["1-2", "3"], validation="none") == ((0, 1, 6), ())


def test_a_section_beyond_the_last_stack_is_refused():
    with pytest.raises(OptionError, match="9 is not within the stack\nhint: choose from 1 to 8"):
        split([4, 4], sections="9")


def test_validation_none_and_the_thesis_train_on_everything():
    assert split([4], validation="none") == ((0, 1, 2, 3), ())
    assert split([30], recipe=THESIS)[1] == ()


def test_holding_out_everything_is_refused():
    with pytest.raises(OptionError, match="no section is left to train on"):
        split([4], validation="1-4")


# --- one stack


def test_own_files_are_read_and_described(tissue_files, tissue):
    data, said = load(own(tissue_files, sections="2-4"))
    assert data.description == "volume.tif sections 3-4 (validation 2)"
    assert data.voxel_size_nm == (50, 4, 4)
    np.testing.assert_array_equal(data.training[0].image, tissue[0][2])
    np.testing.assert_array_equal(data.training[0].labels, tissue[1][2])
    assert data.pixels == 2 * 96 * 112
    assert data.interior_share == (tissue[1][2:] > 0).mean()
    assert said[0] == "labels: 0 = membrane, other = inside a cell"
    assert said[1].startswith(
        "pair: volume.tif - labels.tif, 4 sections of 96x112, uint8, voxel 50x4x4 nm; grey values "
    )
    assert len(said) == 2


def test_the_hash_of_the_data_changes_with_one_pixel(tissue):
    sections = tuple(Section(image, labels) for image, labels in zip(*tissue, strict=True))
    data = TrainingData(sections, (), None, "x")
    labels = sections[0].labels.copy()
    labels[5, 5] ^= 255
    changed = (Section(sections[0].image, labels), *sections[1:])
    assert data.sha256 != dataclasses.replace(data, training=changed).sha256


def test_labels_of_another_shape_are_refused(tissue_files):
    small = np.zeros((4, 10, 10), np.uint8)
    small[:, 5:] = 255
    write_stack(tissue_files / "small.tif", small)
    with pytest.raises(ShapeMismatchError, match=r"small\.tif"):
        load(own(tissue_files, labels="small.tif"))


def test_labels_with_one_value_only_are_refused(tissue_files, tissue):
    flat = np.full_like(tissue[1], 255)
    write_stack(tissue_files / "flat.tif", flat)
    with pytest.raises(StackError, match="255"):
        load(own(tissue_files, labels="flat.tif"))


def test_images_without_labels_are_refused():
    with pytest.raises(OptionError, match="--labels"):
        load(config(images="x.tif"))


# --- several


def test_the_stacks_of_a_folder_are_paired_by_name_and_listed(several):
    data, said = load(own(several, "im", "lab"))
    assert data.description == "im: 3 pairs, sections 2-4,6-7 (validation 1,5)"
    assert [section.image.shape for section in data.training] == [(96, 112)] * 3 + [
        (64, 96),
        (96, 64),
    ]
    lines = [line.split("; ")[0] for line in said if line.startswith("pair: ")]
    assert lines == [
        "pair: a.tif - a_labels.tif, 4 sections of 96x112, uint8, voxel 50x4x4 nm, numbered 1-4",
        "pair: b.tif - b_labels.tif, 2 sections of 64x96, uint8, voxel 50x4x4 nm, numbered 5-6",
        "pair: c.tif - c_labels.tif, 1 section of 96x64, uint8, voxel 50x4x4 nm, numbered 7",
    ]
    assert len(lines) == len(said) - 1


def test_only_the_named_sections_of_several_stacks_are_read(several, tissue):
    data, said = load(own(several, "im", "lab", sections="2,7", validation="none"))
    assert data.description == "im: 3 pairs, sections 2,7"
    np.testing.assert_array_equal(data.training[0].image, tissue[0][1])
    np.testing.assert_array_equal(data.training[1].labels, tissue[1][0, :96, :64])
    assert [pair.sections for pair in data.pairs] == [1, 0, 1]
    assert sum(line.endswith("none of it is used") for line in said) == 1


def test_numbered_images_are_sections_of_like_number(tmp_path, tissue):
    """With 12 of them, so that 10 has to come after 2."""
    for number in range(1, 13):
        for stem, stack in zip(("raw", "membrane"), tissue, strict=True):
            section = stack[number % 4][None]
            path = tmp_path / f"{stem}_{number}.tif"
            write_stack(path, section)
    data, _ = load(own(tmp_path, "raw_*.tif", "membrane_*.tif", validation="none"))
    assert data.description == f"{tmp_path.name}/raw_*.tif: 12 pairs, sections 1-12"
    for number, section in enumerate(data.training, start=1):
        np.testing.assert_array_equal(section.image, tissue[0][number % 4])
        np.testing.assert_array_equal(section.labels, tissue[1][number % 4])


def test_a_stack_goes_with_a_folder_of_numbered_labels(tissue_files, tissue):
    (tissue_files / "lab").mkdir()
    for number, section in enumerate(tissue[1][:, None]):
        write_stack(tissue_files / "lab" / f"{number}.tif", section)
    data, _ = load(own(tissue_files, labels="lab", validation="none"))
    assert data.description == "volume.tif sections 1-4"
    np.testing.assert_array_equal(data.training[3].labels, tissue[1][3])


def test_a_pair_of_unequal_shapes_is_named_before_any_is_read(several):
    (several / "lab" / "c_labels.tif").write_bytes((several / "im" / "b.tif").read_bytes())
    said = []
    with pytest.raises(ShapeMismatchError, match=r"c_labels\.tif: .* shape \(2, 64, 96\)"):
        load_training_data(TrainSetup.from_config(own(several, "im", "lab")), None, say=said.append)
    assert said == []


def test_what_looks_wrong_is_said(several, tissue):
    turned = 255 - tissue[1][:2, :64, :96]
    write_stack(several / "lab" / "b_labels.tif", turned, overwrite=True)
    _, said = load(own(several, "im", "lab"))
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert "b_labels.tif" in warning
    assert "choose Edit > Invert" in warning  # for the other labels are not inverted


def test_a_training_takes_stacks_of_several_sizes_and_judges_itself_by_them(several):
    recipe = dataclasses.replace(DEFAULT, epochs=1, visits=1, patch_px=32)
    options = {"recipe": recipe, "validation": "1,5,7", "precision": "float32"}
    result = train(dataclasses.replace(own(several, "im", "lab", **options), out=several / "run"))
    assert 0 < result.history[0].v_rand < 1


@pytest.mark.parametrize(
    ("options", "seen"),
    [({}, None), ({"sections": "1-12"}, "10-12"), ({"validation": "1,11"}, "11")],
)
def test_sections_of_the_test_are_never_used_in_silence(tmp_path, options, seen):
    folder = fetch("tissue", to=tmp_path)
    said = []
    setup = TrainSetup.from_config(config(dataset="tissue", **options))
    load_training_data(setup, folder, say=said.append)
    warned = [line for line in said if "are test sections of tissue" in line]
    assert warned == [line for line in warned if f"sections {seen} are" in line]
    assert len(warned) == (seen is not None)


# --- pixels without tissue


def test_a_border_is_neither_learnt_nor_counted(tmp_path, tissue):
    volume, labels = tissue
    padded = np.pad(volume, ((0, 0), (30, 30), (30, 30)))
    write_stack(tmp_path / "volume.tif", padded, voxel_size_nm=(50, 4, 4))
    write_stack(
        tmp_path / "labels.tif", np.pad(labels, ((0, 0), (30, 30), (30, 30)), constant_values=255)
    )
    data, said = load(own(tmp_path))
    (pair,) = data.pairs
    assert pair.known_share == pytest.approx(volume.size / padded.size, rel=1e-3)
    assert pair.interior_share == pytest.approx((labels > 0).mean(), rel=1e-3)
    assert pair.grey.mean == pytest.approx(volume.mean(), rel=1e-3)
    assert data.pixels == pytest.approx(labels[: len(data.training)].size, rel=1e-3)
    assert any(f"of the {pair.known_share:.0%} that are learnt inside cells" in s for s in said)


def test_a_blank_section_is_left_out_and_told(tmp_path, tissue):
    volume, labels = tissue[0].copy(), tissue[1]
    volume[1] = 7
    write_stack(tmp_path / "volume.tif", volume)
    write_stack(tmp_path / "labels.tif", labels)
    data, said = load(own(tmp_path, validation="none"))
    assert len(data.training) == len(volume) - 1
    assert any("sections 2 are left out" in line for line in said), said


def test_a_section_without_membrane_is_refused_like_one_without_cells(tmp_path, tissue):
    labels = tissue[1].copy()
    labels[2] = 255
    write_stack(tmp_path / "volume.tif", tissue[0])
    write_stack(tmp_path / "labels.tif", labels)
    with pytest.raises(StackError, match="section 3: its labels have no pixels of membrane"):
        load(own(tmp_path))


def test_a_border_does_not_change_the_scores_of_a_validation(tissue):
    setup = TrainSetup.from_config(config(precision="float32"))
    network = models.build("sfnet", seed=0)
    scores = [
        validate(network, [Section.from_pixels(*pair)], setup, lambda: False)
        for pair in (
            (tissue[0][0], tissue[1][0]),
            (np.pad(tissue[0][0], 16), np.pad(tissue[1][0], 16, constant_values=255)),
        )
    ]
    assert scores[1]["v_rand"] == pytest.approx(scores[0]["v_rand"], abs=0.02)
    assert scores[1]["dice"] == pytest.approx(scores[0]["dice"], abs=0.02)
