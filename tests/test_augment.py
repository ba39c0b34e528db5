import numpy as np
import pytest
import torch

from sfseg import augment
from sfseg.normalise import standardise


@pytest.fixture
def pair(tissue):
    volume, labels = tissue
    return torch.from_numpy(np.stack([standardise(volume[0]), labels[0] / np.float32(255)]))


def test_a_warped_patch_has_the_asked_size_even_where_the_section_is_smaller(pair, rng):
    for side in (32, 128, 200):
        assert augment.warped_patch(pair, side, rng).shape == (2, side, side)


def test_image_and_labels_are_moved_alike(pair, rng):
    """Membranes stay dark after the warp: the two would lose each other if moved apart."""

    def contrast(moved):
        image, labels = moved
        return image[labels > 0.9].mean() - image[labels < 0.1].mean()

    before = contrast(pair)
    after = [contrast(augment.warped_patch(pair, 96, rng)) for _ in range(10)]
    assert np.mean(after) > 0.8 * before > 0


def test_warped_labels_stay_probabilities(pair, rng):
    labels = augment.warped_patch(pair, 96, rng)[1]
    assert labels.min() >= 0
    assert labels.max() <= 1


def test_the_same_generator_state_gives_the_same_patch(pair):
    one, same, other = (
        augment.change_intensity(
            augment.warped_patch(pair, 64, np.random.default_rng(seed))[:1],
            np.random.default_rng(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_intensity_is_changed_without_moving_anything(pair, rng):
    changed = augment.change_intensity(pair[:1], rng)
    correlation = np.corrcoef(pair[0].flatten(), changed[0].flatten())[0, 1]
    assert 0.7 < correlation < 0.999


def test_a_plain_patch_is_a_piece_of_the_section(pair, rng):
    patch = augment.plain_patch(pair, 40, rng)
    windows = pair.unfold(1, 40, 1).unfold(2, 40, 1)  # (2, rows, columns, 40, 40)
    assert (windows == patch[:, None, None]).all(dim=(0, 3, 4)).any()


def test_no_patch_size_means_the_whole_section(pair, rng):
    assert augment.plain_patch(pair, None, rng) is pair
