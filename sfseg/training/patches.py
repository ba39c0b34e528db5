"""The patches of an epoch.

The order of the patches and their augmentation depend on (seed, epoch, sample) only. So a resumed
run sees the same patches as an uninterrupted one, and several processes together see the same
patches as one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sfseg.recipes import Recipe
from sfseg.training.affinities import number_cells
from sfseg.training.loss import UNKNOWN
from sfseg.training.section import Section
from sfseg.transforms import augment
from sfseg.transforms.normalise import resize, standardise
from sfseg.transforms.orient import orient

CPU = torch.device("cpu")


class Patches:
    """The patches of every epoch, in the memory of the device.

    Parameters
    ----------
    sections : sequence of Section
        The sections to cut them from.
    recipe : Recipe
        Size, number and augmentation of the patches.
    seed : int
        Seed of order and augmentation.
    device : torch.device
        Where the sections are kept and the patches are made.
    rank, processes : int
        Number of this process, from 0, and how many share each step; each takes a batch.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device = CPU,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._has_unknown = any(section.known is not None for section in sections)
        self._pairs = [
            _to_pair(section, recipe, with_known=self._has_unknown).to(device)
            for section in sections
        ]
        self._recipe = recipe
        self._seed = seed
        self._rank = rank
        self._processes = processes

    @property
    def steps(self) -> int:
        """Steps in an epoch; the last one may be smaller."""
        return self._recipe.steps_of_epoch(len(self._pairs), processes=self._processes)

    @property
    def _samples(self) -> int:
        return len(self._pairs) * self._recipe.visits

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Cut the patches of one step.

        Parameters
        ----------
        epoch, step : int
            From 0.

        Returns
        -------
        images : Tensor of float32, shape (B, 1, P, P)
            Normalised grey values. B can be 0 if the last, smaller batch of an epoch has fewer
            patches than there are processes.
        targets : Tensor of float32, shape (B, 1, P, P) or (B, 2, P, P)
            Interior probability, soft at warped edges; for a recipe with affinities, then the
            numbers of the cells. `UNKNOWN` where nothing is to be learnt.
        """
        order = np.random.default_rng((self._seed, epoch, 0)).permutation(self._samples)
        size = self._recipe.batch_size * self._processes
        mine = [int(s) for s in order[step * size :][:size][self._rank :: self._processes]]
        if not mine:  # one patch is cut all the same, only for its shape
            images, targets = self.batch_of(epoch, [0])
            return images[:0], targets[:0]
        return self.batch_of(epoch, mine)

    def batch_of(self, epoch: int, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Cut the patches of some samples, at least one, as `batch` does."""
        draws = [np.random.default_rng((self._seed, epoch, 1 + sample)) for sample in samples]
        pairs = [self._pairs[sample // self._recipe.visits] for sample in samples]
        if self._recipe.augmentation == "full":
            images, targets = self._changed(pairs, draws)
            return images, self._mark_unknown(targets)
        pairs = [
            augment.plain_patch(pair, self._recipe.patch_px, rng)
            for pair, rng in zip(pairs, draws, strict=True)
        ]
        if self._recipe.augmentation == "eightfold":
            visits = self._recipe.visits
            pairs = [
                orient(pair, (epoch * visits + sample % visits) % 8)
                for pair, sample in zip(pairs, samples, strict=True)
            ]
        batch = torch.stack(pairs)
        return batch[:, :1], self._mark_unknown(batch[:, 1:])

    def _mark_unknown(self, targets: Tensor) -> Tensor:
        """Replace the channel of known pixels, the last one, by `UNKNOWN` in the others."""
        if not self._has_unknown:
            return targets
        return targets[:, :-1].masked_fill(targets[:, -1:] < 1, UNKNOWN)

    def _changed(
        self, pairs: Sequence[Tensor], draws: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Warp pairs and change the intensity of their images."""
        side_px = self._recipe.patch_px or pairs[0].shape[-1]
        changes = [
            augment.draw(side_px, rng, noisy_share=self._recipe.noisy_share) for rng in draws
        ]
        batch = augment.warp(pairs, changes, side_px)
        return augment.change_intensity(batch[:, :1], changes), batch[:, 1:]


def _to_pair(section: Section, recipe: Recipe, *, with_known: bool) -> Tensor:
    """Stack image, labels in [0, 1], cells and known pixels: float32 (2 to 4, Y, X)."""
    pair = np.stack([standardise(section.image), section.labels.astype(np.float32) / 255])
    known = np.ones(section.labels.shape, np.float32)
    if section.known is not None:
        known[~section.known] = 0
    if recipe.input_px is not None:
        side = (recipe.input_px, recipe.input_px)
        pair, (known,) = resize(pair, side), resize(known[None], side)
    channels = [*pair]
    if recipe.affinity_weight:
        channels.append(number_cells(pair[1]))
    if with_known:
        channels.append(known)  # the part of a resized pixel that is known
    return torch.from_numpy(np.stack(channels))
