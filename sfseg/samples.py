"""The patches of an epoch.

Which patch comes when, and how it is augmented, is a function of (seed, epoch, sample) alone, so
that a resumed run sees what the uninterrupted one would have seen.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sfseg import augment
from sfseg.normalise import resize, standardise
from sfseg.recipes import Recipe
from sfseg.sections import Section


class Patches:
    """The patches of every epoch.

    Parameters
    ----------
    sections : sequence of Section
        What to cut them from.
    recipe : Recipe
        How large, how many, how augmented.
    seed : int
        Seed of order and augmentation.
    """

    def __init__(self, sections: Sequence[Section], recipe: Recipe, *, seed: int) -> None:
        self._pairs = [_to_pair(section, recipe.input_px) for section in sections]
        self._recipe = recipe
        self._seed = seed

    @property
    def steps(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-len(self._pairs) * self._recipe.visits // self._recipe.batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Cut the patches of one step.

        Parameters
        ----------
        epoch, step : int
            From 0.

        Returns
        -------
        images : Tensor of float32, shape (B, 1, P, P)
            Normalised grey values.
        targets : Tensor of float32, shape (B, 1, P, P)
            Interior probability, soft where a warped edge falls between pixels.
        """
        order = np.random.default_rng((self._seed, epoch, 0)).permutation(
            len(self._pairs) * self._recipe.visits
        )
        size = self._recipe.batch_size
        patches = [self._patch(epoch, int(sample)) for sample in order[step * size :][:size]]
        return torch.stack([p[0] for p in patches]), torch.stack([p[1] for p in patches])

    def _patch(self, epoch: int, sample: int) -> tuple[Tensor, Tensor]:
        index, visit = divmod(sample, self._recipe.visits)
        pair = self._pairs[index]  # (2, Y, X)
        rng = np.random.default_rng((self._seed, epoch, 1 + sample))
        if self._recipe.augmentation == "full":
            pair = augment.warped_patch(pair, self._recipe.patch_px or pair.shape[-1], rng)
            image = augment.change_intensity(pair[:1], rng)
        else:
            pair = augment.plain_patch(pair, self._recipe.patch_px, rng)
            if self._recipe.augmentation == "eightfold":
                pair = augment.orient(pair, visit % 8)
            image = pair[:1]
        return image, pair[1:]


def _to_pair(section: Section, input_px: int | None) -> Tensor:
    """Stack the normalised image on its labels in [0, 1]: float32 (2, Y, X)."""
    pair = np.stack([standardise(section.image), section.labels.astype(np.float32) / 255])
    if input_px is not None:
        pair = resize(pair, (input_px, input_px))
    return torch.from_numpy(pair)
