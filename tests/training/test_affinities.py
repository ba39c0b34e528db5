"""Affinities: their loss, and that they are no part of the weights."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.config import TrainConfig
from sfseg.models import weights
from sfseg.recipes import DEFAULT, THESIS
from sfseg.training.affinities import OFFSETS_PX, WithAffinities, affinity_loss, number_cells
from sfseg.training.data import TrainingData
from sfseg.training.patches import Patches
from sfseg.training.run_folder import STATE
from sfseg.training.run_setup import TrainSetup
from sfseg.training.section import Section
from sfseg.training.trainer import Trainer


def pairs_of(cells, offset):
    """List (pixel, whether its partner is in the same cell), one by one."""
    height, width = cells.shape
    for y, x in itertools.product(range(height), range(width)):
        there = (y + offset[0], x + offset[1])
        if 0 <= there[0] < height and 0 <= there[1] < width:
            yield (y, x), bool(cells[y, x] == cells[there] and cells[y, x] > 0)


def test_the_loss_is_the_mean_over_all_pairs_of_each_offset():
    generator = torch.Generator().manual_seed(2)
    cells = torch.randint(0, 3, (2, 1, 24, 26), generator=generator).float()
    logits = torch.randn((2, len(OFFSETS_PX), 24, 26), generator=generator)
    means = []
    for k, offset in enumerate(OFFSETS_PX):
        losses = [
            np.logaddexp(0, -float(logits[b, k, y, x]) * (1 if same else -1))
            for b in range(2)
            for (y, x), same in pairs_of(cells[b, 0], offset)
        ]
        means.append(np.mean(losses) if losses else 0)  # the patch is smaller than some offsets
    assert affinity_loss(logits, cells).item() == pytest.approx(np.mean(means), rel=1e-5)


def test_the_loss_of_no_patches_is_zero_and_has_a_gradient():
    logits = torch.zeros(0, len(OFFSETS_PX), 32, 32, requires_grad=True)
    loss = affinity_loss(logits, torch.zeros(0, 1, 32, 32))
    loss.backward()
    assert loss.item() == 0


def test_cells_are_the_components_of_the_interior():
    interior = np.array([[1, 0.4, 0.9], [1, 0.2, 0.9], [0, 0.7, 0]], np.float32)
    assert number_cells(interior).tolist() == [[1, 0, 2], [1, 0, 2], [0, 3, 0]]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_the_network_gives_the_same_logits_with_and_without_affinities(arch):
    network = models.build(arch, seed=1).eval()
    x = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone, both = network(x), WithAffinities(network, seed=0)(x)
    assert both.shape == (1, 1 + len(OFFSETS_PX), 32, 48)
    torch.testing.assert_close(both[:, :1], alone)


@pytest.mark.parametrize("augmentation", ["full", "eightfold", "none"])
def test_cells_are_moved_as_their_labels_are(tissue, augmentation):
    sections = [Section(*pair) for pair in zip(*tissue, strict=True)]
    recipe = dataclasses.replace(DEFAULT, patch_px=64, augmentation=augmentation)
    _, targets = Patches(sections, recipe, seed=3).batch(1, 0)
    interior, cells = targets[:, 0], targets[:, 1]
    assert torch.equal(cells, cells.round())
    unmixed = (interior < 0.01) | (interior > 0.99)
    assert unmixed.float().mean() > 0.8
    assert torch.equal((cells > 0)[unmixed], (interior > 0.5)[unmixed])
    assert len(cells.unique()) > 8


def test_a_recipe_without_affinities_has_none(tissue):
    section = Section(tissue[0][0], tissue[1][0])
    recipe = dataclasses.replace(THESIS, input_px=32)
    assert Patches([section], recipe, seed=0).batch(0, 0)[1].shape == (2, 1, 32, 32)


def test_they_are_learnt_and_remembered_but_not_part_of_the_weights(tissue, tmp_path):
    sections = tuple(Section(*pair) for pair in zip(*tissue, strict=True))
    recipe = dataclasses.replace(DEFAULT, patch_px=64, batch_size=2, visits=1, epochs=1)
    data = TrainingData(sections[:2], (), None, "tissue")
    setup = TrainSetup.from_config(TrainConfig(tmp_path, recipe=recipe, precision="float32"))
    trainer = Trainer(setup, data)
    begin = trainer.train_step.with_heads.affinities.weight.detach().clone()
    trainer.take_step(*trainer.batch(0))
    assert not torch.equal(trainer.train_step.with_heads.affinities.weight, begin)
    trainer.finish_epoch(lambda: False)
    network, _ = weights.load_weights(str(trainer.weights))
    assert network.state_dict().keys() == models.build("sfnet").state_dict().keys()
    trainer.save_state()
    again = Trainer(setup, data)
    again.load_state()
    assert (tmp_path / STATE).exists()
    for one, other in zip(
        trainer.train_step.with_heads.parameters(),
        again.train_step.with_heads.parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)
