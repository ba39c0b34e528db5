"""Augmentation: image and labels move alike, and each patch has its own random numbers."""

import dataclasses

import numpy as np
import pytest
import torch

from sfseg.transforms import augment
from sfseg.transforms.normalise import standardise


@pytest.fixture
def pair(tissue):
    volume, labels = tissue
    return torch.from_numpy(np.stack([standardise(volume[0]), labels[0] / np.float32(255)]))


def draws(count, side, seed=0):
    return [augment.draw(side, np.random.default_rng((seed, i))) for i in range(count)]


def warped(pair, side, seed=0):
    return augment.warp([pair], draws(1, side, seed), side)[0]


def test_a_warped_patch_has_the_asked_size_even_where_the_section_is_smaller(pair):
    for side in (32, 128, 192):
        assert warped(pair, side).shape == (2, side, side)


def test_image_and_labels_are_moved_alike(pair):
    """Membranes stay dark after the warp: the two would lose each other if moved apart."""

    def contrast(moved):
        image, labels = moved
        return image[labels > 0.9].mean() - image[labels < 0.1].mean()

    before = contrast(pair)
    after = [contrast(warped(pair, 96, seed)) for seed in range(10)]
    assert np.mean(after) > 0.8 * before > 0


def test_warped_labels_stay_probabilities(pair):
    labels = warped(pair, 96)[1]
    assert labels.min() >= 0
    assert labels.max() <= 1


def test_the_same_generator_state_gives_the_same_patch(pair):
    def patch(seed):
        changes = draws(1, 64, seed)
        return augment.change_intensity(augment.warp([pair], changes, 64)[:, :1], changes)

    assert torch.equal(patch(1), patch(1))
    assert not torch.equal(patch(1), patch(2))


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_so_many_patches_are_very_noisy_as_asked_for(share):
    rng = np.random.default_rng(0)
    noise = np.array([augment.draw(32, rng, noisy_share=share).noise for _ in range(2000)])
    assert np.mean(noise > augment.LITTLE_NOISE) == pytest.approx(share, abs=0.04)
    assert noise.max() < (augment.MUCH_NOISE if share else augment.LITTLE_NOISE)


def test_the_noise_of_a_patch_is_that_of_its_change():
    changes = draws(4, 64)
    noisy = [dataclasses.replace(change, noise=noise) for change in changes for noise in (0, 0.8)]
    images = augment.change_intensity(torch.zeros(8, 1, 64, 64), noisy)
    for still, shaken in zip(images[::2], images[1::2], strict=True):
        assert (shaken - still).std() == pytest.approx(0.8, rel=0.05)


def test_intensity_is_changed_without_moving_anything(pair):
    image = pair[None, :1, :96, :96]
    changed = augment.change_intensity(image, draws(1, 96))
    correlation = np.corrcoef(image.flatten(), changed.flatten())[0, 1]
    assert 0.7 < correlation < 0.999


def test_a_patch_is_the_same_alone_and_in_a_batch_with_sections_of_other_sizes(pair):
    pairs, changes = [pair, pair[:, :100, :70], pair.flip(-1)], draws(3, 96)
    batch = augment.warp(pairs, changes, 96)
    images = augment.change_intensity(batch[:, :1], changes)
    for i in range(3):
        alone = augment.warp([pairs[i]], [changes[i]], 96)
        torch.testing.assert_close(batch[i : i + 1], alone, rtol=0, atol=1e-6)
        image = augment.change_intensity(alone[:, :1], [changes[i]])
        torch.testing.assert_close(images[i : i + 1], image, rtol=0, atol=1e-5)


def test_every_other_patch_is_left_as_sharp_as_it_is(pair):
    blurred = [change.blur_px > augment.NO_BLUR_PX for change in draws(200, 32)]
    assert 0.4 < np.mean(blurred) < 0.6
    image = pair[None, :1]
    assert torch.equal(augment._blur(image, torch.full((1, 1, 1, 1), augment.NO_BLUR_PX)), image)


def test_a_blur_is_that_of_scipy(pair):
    from scipy.ndimage import gaussian_filter

    for sigma in (0.4, 1.1):
        blurred = augment._blur(pair[None, :1], torch.full((1, 1, 1, 1), sigma))[0, 0]
        expected = gaussian_filter(pair[0].numpy(), sigma, mode="mirror", radius=3)
        np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_noise_is_normal_and_of_the_patch_s_own_seed():
    noise = augment._noise(torch.zeros(2, 1, 128, 128), [5, 6])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert torch.equal(augment._noise(torch.zeros(1, 1, 128, 128), [6])[0], noise[1])


@pytest.mark.gpu
def test_the_gpu_warps_as_the_cpu_does(pair):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    changes = draws(2, 96)
    on_cpu, on_gpu = (
        augment.warp([pair.to(device)] * 2, changes, 96).cpu() for device in ("cpu", "cuda")
    )
    # Where a reflected border or an edge falls between pixels, the last bit of a place matters.
    assert (on_cpu - on_gpu).abs().mean() < 1e-4


def test_a_plain_patch_is_a_piece_of_the_section(pair, rng):
    patch = augment.plain_patch(pair, 40, rng)
    windows = pair.unfold(1, 40, 1).unfold(2, 40, 1)  # (2, rows, columns, 40, 40)
    assert (windows == patch[:, None, None]).all(dim=(0, 3, 4)).any()


def test_no_patch_size_means_the_whole_section(pair, rng):
    assert augment.plain_patch(pair, None, rng) is pair
