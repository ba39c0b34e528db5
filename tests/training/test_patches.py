"""Patches depend on seed, epoch and sample alone."""

import dataclasses

import numpy as np
import pytest
import torch

from sfseg.recipes import DEFAULT, THESIS
from sfseg.training.affinities import OFFSETS_PX, affinity_loss
from sfseg.training.loss import UNKNOWN, loss_of
from sfseg.training.patches import Patches
from sfseg.training.section import Section

SMALL = dataclasses.replace(DEFAULT, patch_px=32, visits=2, batch_size=3)


@pytest.fixture
def sections(tissue):
    return [Section(image, labels) for image, labels in zip(*tissue, strict=True)]


def test_a_batch_is_a_function_of_seed_epoch_and_step_alone(sections):
    one, same = (Patches(sections, SMALL, seed=4) for _ in range(2))
    one.batch(0, 0)  # what came before does not matter
    for image, again in zip(one.batch(2, 1), same.batch(2, 1), strict=True):
        assert torch.equal(image, again)
    other = Patches(sections, SMALL, seed=5)
    assert not torch.equal(one.batch(2, 1)[0], other.batch(2, 1)[0])
    assert not torch.equal(one.batch(2, 1)[0], one.batch(3, 1)[0])


def test_the_recipe_s_noise_reaches_the_images_and_nothing_else(sections):
    still, noisy = (
        Patches(sections, dataclasses.replace(SMALL, visits=24, noisy_share=share), seed=0)
        for share in (0, 1)
    )
    roughness = []
    for patches in (still, noisy):
        images = torch.cat([patches.batch(0, step)[0] for step in range(4)])
        roughness.append(images.diff(dim=-1).square().mean())
    assert roughness[1] > 2 * roughness[0]
    for step in range(4):
        assert torch.equal(still.batch(0, step)[1], noisy.batch(0, step)[1])


def test_an_epoch_visits_each_section_as_often_as_the_recipe_says(sections):
    marked = [
        Section(np.zeros_like(s.image), np.full_like(s.labels, 60 * i))
        for i, s in enumerate(sections)
    ]
    plain = dataclasses.replace(SMALL, augmentation="none")
    patches = Patches(marked, plain, seed=0)
    seen = torch.cat([patches.batch(0, step)[1][:, 0, 0, 0] for step in range(patches.steps)])
    assert sorted((seen * 255 / 60).round().tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_thesis_sees_each_section_in_each_of_its_eight_orientations(tissue):
    image = tissue[0][0]
    recipe = dataclasses.replace(THESIS, input_px=32)
    patches = Patches([Section(image, tissue[1][0])], recipe, seed=0)
    seen = [patches.batch(0, step)[0] for step in range(patches.steps)]
    views = torch.cat(seen)
    assert views.shape == (8, 1, 32, 32)
    assert len({view.numpy().tobytes() for view in views}) == 8


def test_fewer_visits_see_all_eight_orientations_in_so_many_epochs(tissue):
    image = tissue[0][0]
    recipe = dataclasses.replace(THESIS, input_px=32, visits=2)
    patches = Patches([Section(image, tissue[1][0])], recipe, seed=0)
    views = torch.cat([patches.batch(epoch, 0)[0] for epoch in range(4)])
    assert len({view.numpy().tobytes() for view in views}) == 8


def test_processes_together_see_what_one_would_see(sections):
    alone = Patches(sections, dataclasses.replace(SMALL, batch_size=6), seed=4)
    together = [Patches(sections, SMALL, seed=4, rank=rank, processes=2) for rank in range(2)]
    assert [p.steps for p in together] == [alone.steps] * 2
    for step in range(alone.steps):  # 6 patches, then 2
        expected = alone.batch(1, step)
        shares = [patches.batch(1, step) for patches in together]
        for i in range(2):
            for rank in range(2):
                torch.testing.assert_close(shares[rank][i], expected[i][rank::2], rtol=0, atol=1e-5)


def test_a_process_for_which_nothing_is_left_gets_a_batch_of_none(sections):
    patches = Patches(sections[:1], SMALL, seed=4, rank=3, processes=4)
    images, targets = patches.batch(0, 0)
    assert images.shape == (0, 1, 32, 32)
    assert targets.shape == (0, 2, 32, 32)


def test_sections_of_different_sizes_give_patches_of_one_size(sections):
    smaller = Section(sections[0].image[:50, :40], sections[0].labels[:50, :40])
    for augmentation in ("full", "eightfold", "none"):
        recipe = dataclasses.replace(SMALL, augmentation=augmentation, patch_px=64)
        images, _ = Patches([sections[1], smaller], recipe, seed=1).batch(0, 0)
        assert images.shape == (3, 1, 64, 64)


def test_pixels_without_tissue_or_label_are_unknown_in_every_augmentation(tissue):
    image, labels = np.pad(tissue[0][0], 20), np.pad(tissue[1][0], 20, constant_values=255)
    section = Section.from_pixels(image, labels)
    assert section.known_px == pytest.approx(tissue[0][0].size, rel=1e-3)
    for augmentation in ("full", "eightfold", "none"):
        recipe = dataclasses.replace(
            DEFAULT, augmentation=augmentation, patch_px=32, affinity_weight=1.0
        )
        images, targets = Patches([section] * 4, recipe, seed=0).batch(0, 0)
        unknown = targets[:, 0] == UNKNOWN
        assert targets.shape[1] == 2
        assert 0 < unknown.float().mean() < 1
        assert ((targets[:, 1] == UNKNOWN) == unknown).all()
        assert (targets[:, 0][~unknown] >= 0).all()
        if augmentation != "full":
            assert (images[:, 0][unknown] == 0).float().mean() > 0.99


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_unknown_pixels_have_no_part_in_the_loss(loss):
    recipe = dataclasses.replace(DEFAULT, loss=loss)
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 1, 8, 8, requires_grad=True), torch.rand(2, 1, 8, 8)
    targets[:, :, :3] = UNKNOWN
    value = loss_of(recipe, logits, targets)
    value.backward()
    assert not logits.grad[:, :, :3].any()
    assert logits.grad[:, :, 3:].all()
    known = loss_of(recipe, logits.detach()[:, :, 3:], targets[:, :, 3:])
    torch.testing.assert_close(value.detach(), known)


def test_pairs_with_an_unknown_pixel_have_no_part_in_the_affinities():
    torch.manual_seed(0)
    logits = torch.randn(1, len(OFFSETS_PX), 64, 64, requires_grad=True)
    cells = torch.randint(0, 3, (1, 1, 64, 64)).float()
    cells[..., :10] = UNKNOWN
    affinity_loss(logits, cells).backward()
    assert not logits.grad[..., :10].any()
    known = affinity_loss(logits.detach()[..., 10:], cells[..., 10:])
    torch.testing.assert_close(affinity_loss(logits.detach(), cells), known)
