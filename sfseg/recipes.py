"""How networks are trained: the recipes, each under the name that weights remember."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args, get_origin, get_type_hints

from sfseg.errors import OptionError, UnknownNameError

Augmentation = Literal["none", "eightfold", "full"]


def check_choices(config: object) -> None:
    """Refuse a value that is none of its field's choices; raises OptionError."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise OptionError(
                f"{name}: expected {', '.join(get_args(kind))}, found {value!r}",
                hint="choose one of them",
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: everything that the weights remember by one name.

    Attributes
    ----------
    name : str
        The name that is stored with the weights.
    input_px : int or None
        Side of the square to which sections are resized for the network; None = native size.
    patch_px : int or None
        Side of the square patches cut for training; None = whole sections.
    visits : int
        How often an epoch visits each training section.
    batch_size, epochs : int
        Patches in a step of each process, and passes over the whole training set.
    loss : {'mse', 'bce'}
        Mean squared error of the probability, or binary cross entropy.
    membrane_weight : float
        Weight of a membrane pixel in the loss; an interior pixel weighs 1.
    label_smoothing : float
        The targets are kept this far away from 0 and 1.
    logit_adjustment : float
        The loss sees logits lower by this than they are, so they come to stand higher by this: it
        moves what the network says at 0.5 and leaves alone what it learns.
    affinity_weight : float
        Weight of the loss on affinities (`sfseg.training.affinities`); 0 = without.
    optimizer : {'adam', 'adamw', 'muon'}
        Which optimiser; see `sfseg.training.muon` for the last.
    learning_rate, weight_decay : float
        Its rate (the peak, where there is a schedule) and its decay.
    schedule : {'constant', 'one_cycle'}
        Constant rate; or a rise over the first tenth and half a cosine down to zero.
    augmentation : {'none', 'eightfold', 'full'}
        Nothing; each of the eight orientations once in eight visits; or a random orientation with
        rotation, scale, elastic warp and intensity.
    noisy_share : float
        Share of the patches to which the augmentation 'full' adds the noise of a fast scan.
    ema_decay : float
        Weights are averaged over about 1 / (1 - decay) steps; 0 = the last ones as they are.
    frozen_share : float
        Share of the steps, the last ones, in which batch normalisation no longer takes the
        statistics of the batch but the averaged ones, as prediction does.
    validation_share : float
        Share of the training sections held out for validation where none are named.
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
        """Check the choices, and the size, which the networks halve four times.

        Raises
        ------
        OptionError
            If one is not to be had.
        """
        check_choices(self)
        if self.side_px % 16 or self.side_px < 32:
            raise OptionError(
                f"recipe {self.name}: expected patches or sections whose side is a multiple of 16 "
                f"from 32 on, found {self.patch_px or self.input_px}",
                hint="--patch 256",
            )

    @property
    def side_px(self) -> int:
        """Side of what the network sees in a step: of a patch, or of a whole section."""
        return self.patch_px or self.input_px or 0

    def steps_of_epoch(self, sections: int, *, processes: int = 1) -> int:
        """Count the steps of an epoch over so many sections; the last one may be smaller."""
        return -(-sections * self.visits // (self.batch_size * processes))

    def changed(self, **values: object) -> "Recipe":
        """Return the recipe with other values, or itself where all of them are None.

        Its name, which the weights keep, tells what is changed.
        """
        given = {field: value for field, value in values.items() if value is not None}
        if not given:
            return self
        name = f"{self.name}, changed: {', '.join(given)}"
        return dataclasses.replace(self, name=name, **given)  # type: ignore[arg-type]

    def is_a(self, recipe: "Recipe") -> bool:
        """Whether this is that recipe, or it with some changes."""
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
"""Section 4.1 of the thesis to the letter: all training sections, the weights of the last step.

The eight orientations are those of section 4.3 for ISBI 2012.
"""

THESIS_PIRIFORM = dataclasses.replace(THESIS, name="thesis-piriform", visits=1, augmentation="none")
"""The same for mouse piriform cortex, where the thesis augments nothing."""

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
"""Ours: native resolution, patches, stronger augmentation, and weights that stay calibrated.

The official score sweeps thresholds in steps of 0.1, so a network that is too sure of the interior
loses faint membranes between 0.9 and 1: membrane pixels weigh more, targets are smoothed and the
weights averaged, which keeps the best threshold away from the edge. The adjustment then has
interior and membranes part at 0.5. The last steps learn with the statistics that prediction uses.
Affinities make gaps in membranes count; Muon learns about twice as fast as AdamW, and further.
"""

FINETUNE = dataclasses.replace(
    DEFAULT, name="finetune", epochs=6, learning_rate=5e-4, noisy_share=0.3
)
"""For weights that know membranes already: a short cycle to a quarter of the rate, with noise."""

STUDENT = dataclasses.replace(DEFAULT, name="student", visits=2, epochs=90, noisy_share=0.3)
"""For sections with labels and others marked by teachers; as long as `DEFAULT`, with noise."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {r.name: r for r in (DEFAULT, FINETUNE, STUDENT, THESIS, THESIS_PIRIFORM)}
)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if name not in RECIPES:
        raise UnknownNameError.from_known("recipe", name, RECIPES)
    return RECIPES[name]
