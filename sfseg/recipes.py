"""Recipes: how a network is trained. The name of its recipe is stored with the weights."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Literal, get_args, get_origin, get_type_hints

from sfseg.errors import OptionError, UnknownNameError

Augmentation = Literal["none", "eightfold", "full"]


def check_choices(config: object) -> None:
    """Refuse a value that is not one of its field's choices.

    Raises
    ------
    OptionError
        If a `Literal` field has another value.
    """
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise OptionError(
                f"{name}: {value!r} is not one of its choices",
                hint=f"choose one of: {', '.join(get_args(kind))}",
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    name : str
        The name that is stored with the weights.
    input_px : int or None
        Side of the square to which sections are resized for the network; None = native size.
    patch_px : int or None
        Side of the square patches that are cut for training; None = whole sections.
    visits : int
        How often an epoch visits each training section.
    batch_size, epochs : int
        Patches in a step of each process, and passes over the whole training set.
    loss : {'mse', 'bce'}
        Mean squared error of the probability, or binary cross entropy.
    membrane_weight : float
        Weight of a membrane pixel in the loss; an interior pixel weighs 1.
    label_smoothing : float
        Distance of the targets from 0 and 1.
    logit_adjustment : float
        Subtracted from the logits before the loss, so that trained logits are higher by this. It
        shifts the threshold that fits best, and does not change what is learnt.
    affinity_weight : float
        Weight of the loss on affinities (`sfseg.training.affinities`); 0 = without.
    optimizer : {'adam', 'adamw', 'muon'}
        The optimiser; for the last see `sfseg.training.muon`.
    learning_rate, weight_decay : float
        Its learning rate (the peak, if there is a schedule) and its weight decay.
    schedule : {'constant', 'one_cycle'}
        Constant rate; or a rise over the first tenth and half a cosine down to zero.
    augmentation : {'none', 'eightfold', 'full'}
        Nothing; each of the eight orientations once in eight visits; or a random orientation with
        rotation, scale, elastic warp and intensity.
    noisy_share : float
        Share of the patches to which the augmentation 'full' adds the noise of a fast scan.
    ema_decay : float
        Weights are averaged over about 1 / (1 - decay) steps; 0 = no average, the last weights.
    frozen_share : float
        Share of the steps, at the end, in which batch normalisation uses the averaged statistics,
        as prediction does, instead of those of the batch.
    validation_share : float
        Share of the training sections held out for validation if none are named.
    """

    name: str
    input_px: int | None
    patch_px: int | None
    visits: int
    batch_size: int
    epochs: int
    loss: Literal["mse", "bce"]
    membrane_weight: float
    label_smoothing: float
    logit_adjustment: float
    affinity_weight: float
    optimizer: Literal["adam", "adamw", "muon"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["constant", "one_cycle"]
    augmentation: Augmentation
    noisy_share: float
    ema_decay: float
    frozen_share: float
    validation_share: float

    def __post_init__(self) -> None:
        """Check the choices, the rate, and the side, which the networks halve four times.

        Raises
        ------
        OptionError
            If a choice is unknown, the learning rate is not a number above 0, or the side is below
            32 or no multiple of 16.
        """
        check_choices(self)
        if self.side_px % 16 or self.side_px < 32:
            raise OptionError(
                f"recipe {self.name}: patches of {self.side_px} px do not work: "
                "the side must be a multiple of 16, from 32 up",
                hint="use --patch 256",
            )
        if not 0 < self.learning_rate < inf:
            raise OptionError(
                f"learning rate: must be a number above 0, not {self.learning_rate:g}",
                hint="leave --learning-rate out, or give a number such as 0.001",
            )

    @property
    def side_px(self) -> int:
        """Side of a patch, or of a whole section, as the network sees it in training."""
        return self.patch_px or self.input_px or 0

    @property
    def is_endless(self) -> bool:
        """Whether no step depends on the number of epochs, so that more can follow."""
        return self.schedule == "constant" and self.frozen_share == 0

    def steps_of_epoch(self, sections: int, *, processes: int = 1) -> int:
        """Count the steps of an epoch over `sections` sections; the last step may be smaller."""
        return -(-sections * self.visits // (self.batch_size * processes))

    def changed(self, **values: object) -> "Recipe":
        """Return a copy with other values, or the recipe itself if all of them are None.

        The new name lists what is changed; it is stored with the weights.
        """
        given = {field: value for field, value in values.items() if value is not None}
        if not given:
            return self
        name = f"{self.name}, changed: {', '.join(given)}"
        return dataclasses.replace(self, name=name, **given)  # type: ignore[arg-type]

    def is_a(self, recipe: "Recipe") -> bool:
        """Tell whether this is `recipe`, changed or not."""
        return self.name.partition(",")[0] == recipe.name


THESIS = Recipe(
    name="thesis",
    input_px=640,
    patch_px=None,
    visits=8,
    batch_size=2,
    epochs=300,
    loss="mse",
    membrane_weight=1.0,
    label_smoothing=0.0,
    logit_adjustment=0.0,
    affinity_weight=0.0,
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    schedule="constant",
    augmentation="eightfold",
    noisy_share=0.0,
    ema_decay=0.0,
    frozen_share=0.0,
    validation_share=0.0,
)
"""Exactly section 4.1 of the thesis: all training sections, the weights of the last step.

The eight orientations are those of section 4.3 for ISBI 2012.
"""

THESIS_PIRIFORM = dataclasses.replace(THESIS, name="thesis-piriform", visits=1, augmentation="none")
"""The same for mouse piriform cortex, which the thesis does not augment."""

DEFAULT = Recipe(
    name="default",
    input_px=None,
    patch_px=256,
    visits=8,
    batch_size=4,
    epochs=72,
    loss="bce",
    membrane_weight=2.0,
    label_smoothing=0.05,
    logit_adjustment=0.6,
    affinity_weight=1.0,
    optimizer="muon",
    learning_rate=2e-3,
    weight_decay=0.01,
    schedule="one_cycle",
    augmentation="full",
    noisy_share=0.0,
    ema_decay=0.99,
    frozen_share=0.125,
    validation_share=0.125,
)
"""Ours: native resolution, patches, stronger augmentation, and calibrated probabilities.

The official score tries thresholds in steps of 0.1. A network that is too sure of the interior
loses faint membranes between 0.9 and 1. So membrane pixels weigh more, targets are smoothed and
weights averaged: the best threshold stays away from 1, and the logit adjustment moves it to 0.5.
The last steps use the same batch normalisation statistics as prediction. The loss on affinities
punishes gaps in membranes. Muon learns about twice as fast as AdamW, and learns more.
"""

FINETUNE = dataclasses.replace(
    DEFAULT, name="finetune", epochs=6, learning_rate=5e-4, noisy_share=0.3
)
"""For weights that are trained already: a short cycle at a quarter of the rate, with noise."""

STUDENT = dataclasses.replace(DEFAULT, name="student", visits=2, epochs=90, noisy_share=0.3)
"""For labelled sections and sections with pseudo-labels; as long as `DEFAULT`, with noise."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {r.name: r for r in (DEFAULT, FINETUNE, STUDENT, THESIS, THESIS_PIRIFORM)}
)


def find_recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises
    ------
    UnknownNameError
        If no recipe has that name.
    """
    if name not in RECIPES:
        raise UnknownNameError.from_known("recipe", name, RECIPES)
    return RECIPES[name]
