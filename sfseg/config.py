"""Every default of sfseg, in frozen dataclasses; defaults live here and only here."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args, get_origin, get_type_hints

from sfseg.errors import OptionError, UnknownNameError
from sfseg.terms import LabelKind

SHIPPED_MODEL = "sfnet-isbi2012"
DEFAULT_DATASET = "isbi2012"

Precision = Literal["auto", "float32", "bf16"]
Averaging = Literal["none", "flips", "d4"]
EngineName = Literal["torch", "compile", "openvino"]
EngineChoice = Literal["auto", "torch", "compile", "openvino"]
Augmentation = Literal["none", "eightfold", "full"]
Output = Literal["probability", "binary", "segments"]
OutputDtype = Literal["float32", "uint16", "uint8"]


def _check_choices(config: object) -> None:
    """Refuse a value that is none of its field's choices, be it a slip of one letter."""
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
        Patches in a step, and passes over the whole training set.
    loss : {'mse', 'bce'}
        Mean squared error of the probability, or binary cross entropy.
    membrane_weight : float
        Weight of a membrane pixel in the loss; an interior pixel weighs 1.
    label_smoothing : float
        The targets are kept this far away from 0 and 1.
    optimizer : {'adam', 'adamw'}
        Which optimiser.
    learning_rate, weight_decay : float
        Its rate (the peak, where there is a schedule) and its decay.
    schedule : {'constant', 'one_cycle'}
        Constant rate, or a rise over the first tenth and a cosine down to zero.
    augmentation : {'none', 'eightfold', 'full'}
        Nothing; each of the eight orientations once in eight visits; or a random orientation with
        rotation, scale, elastic warp and intensity.
    ema_decay : float
        Weights are averaged over about 1 / (1 - decay) steps; 0 = the last ones as they are.
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
    optimizer: Literal["adam", "adamw"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["constant", "one_cycle"]
    augmentation: Augmentation
    ema_decay: float
    validation_share: float

    def __post_init__(self) -> None:
        """Check the choices, and the size, which the networks halve four times.

        Raises
        ------
        OptionError
            If one is not to be had.
        """
        _check_choices(self)
        side = self.patch_px or self.input_px
        if side is None or side % 16 or side < 32:
            raise OptionError(
                f"recipe {self.name}: expected patches or sections whose side is a multiple of 16 "
                f"from 32 on, found {side}",
                hint="--patch 256",
            )


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
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    schedule="constant",
    augmentation="eightfold",
    ema_decay=0.0,
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
    epochs=24,
    loss="bce",
    membrane_weight=2.0,
    label_smoothing=0.05,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.01,
    schedule="one_cycle",
    augmentation="full",
    ema_decay=0.99,
    validation_share=0.125,
)
"""Ours: native resolution, patches, stronger augmentation, and weights that stay calibrated.

The official score sweeps thresholds in steps of 0.1, so a network that is too sure of the interior
loses faint membranes between 0.9 and 1: membrane pixels weigh more, targets are smoothed and the
weights averaged, which keeps the best threshold away from the edge.
"""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {r.name: r for r in (DEFAULT, THESIS, THESIS_PIRIFORM)}
)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if name not in RECIPES:
        raise UnknownNameError.of("recipe", name, RECIPES)
    return RECIPES[name]


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, and where to put it.

    Attributes
    ----------
    out : Path
        Folder of the run: weights, training state, history, curves, resolved configuration.
    arch : str
        Architecture.
    recipe : Recipe
        How to train.
    dataset : str or None
        Name of a dataset, used with its standard split; None = isbi2012, or the user's `images`.
    images, labels : str or None
        The user's own stack and its labels.
    labels_are : {'interior', 'membrane', 'instances'}
        What the user's labels say.
    sections : str or None
        Training sections, as in ``"1-24"``; None = the standard split, or all.
    validation : str or None
        Sections held out for validation, or ``"none"``; None = the recipe's share, the first ones.
    axes : str or None
        Axes of the user's files where their metadata are silent.
    seed : int
        Seed of the initial weights, the order and the augmentation.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : {'auto', 'float32', 'bf16'}
        Arithmetic of the convolutions; auto = bf16 where the hardware has it.
    compile : bool
        Compile the network first: faster steps after a minute's wait; needs a C++ compiler.
    half : bool
        Store the kernels as float16: half the file.
    resume : bool
        Go on from the state in `out`.
    save_every_s : float
        Seconds between durable states.
    """

    out: Path
    arch: str = "sfnet"
    recipe: Recipe = DEFAULT
    dataset: str | None = None
    images: str | None = None
    labels: str | None = None
    labels_are: LabelKind = "interior"
    sections: str | None = None
    validation: str | None = None
    axes: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    half: bool = False
    resume: bool = False
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        """Check the choices; raises OptionError."""
        _check_choices(self)

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset; None where the user's own stacks are trained on."""
        if self.dataset is None and (self.images or self.labels):
            return None
        return self.dataset or DEFAULT_DATASET


@dataclass(frozen=True)
class PredictConfig:
    """How to predict and what to write.

    Attributes
    ----------
    model : str
        Name of shipped weights, or the path of a weights file or of a training's folder.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    engine : {'auto', 'torch', 'compile', 'openvino'}
        What runs the network; auto = torch.
    precision : {'auto', 'float32', 'bf16'}
        Arithmetic of the convolutions; auto = bf16 where the hardware has it and it agrees.
    tta : {'none', 'flips', 'd4'}
        One pass, or the mean over the four flips or all eight orientations.
    output : {'probability', 'binary', 'segments'}
        Interior probability; 255 where it exceeds the threshold; or numbered components of that.
    dtype : {'float32', 'uint16', 'uint8'}
        Type of written probabilities; the integers map 1.0 to their maximum.
    threshold : float
        For binary and segments.
    tile_px : int or None
        Side of the core of a tile; None = whole sections as far as memory allows.
    memory_gib : float or None
        Memory that prediction may take; None = three quarters of what is available.
    axes : str or None
        Axes of the input where its metadata are silent.
    multiscale : bool
        Write a pyramid, where the output is OME-Zarr.
    resume : bool
        Go on with what an interrupted run has done, and leave alone what is finished.
    overwrite : bool
        Replace an existing output.
    """

    model: str = SHIPPED_MODEL
    device: str = "auto"
    engine: EngineChoice = "auto"
    precision: Precision = "auto"
    tta: Averaging = "none"
    output: Output = "probability"
    dtype: OutputDtype = "float32"
    threshold: float = 0.5
    tile_px: int | None = None
    memory_gib: float | None = None
    axes: str | None = None
    multiscale: bool = False
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the choices and the tile; raises OptionError."""
        _check_choices(self)
        if self.tile_px is not None and self.tile_px < 1:
            raise OptionError(
                f"tile: expected 1 pixel or more, found {self.tile_px}", hint="--tile 512"
            )


@dataclass(frozen=True)
class BenchConfig:
    """What to measure.

    Attributes
    ----------
    archs : tuple of str
        Architectures, in the order of the result.
    engines : tuple of {'torch', 'compile', 'openvino'}
        Engines, all of which must run here; empty = torch.
    side_px : int
        Rows and columns of a section; a multiple of 16.
    repeats : int
        Passes of which the median is told; fewer where a pass takes seconds.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """

    archs: tuple[str, ...] = ("sfnet", "unet", "fusionnet")
    engines: tuple[EngineName, ...] = ()
    side_px: int = 640
    repeats: int = 3
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check the engines and the numbers.

        Raises
        ------
        OptionError
            If there is no such engine, the networks cannot take the side, or there is nothing to
            measure.
        """
        for name in set(self.engines) - set(get_args(EngineName)):
            raise OptionError(
                f"engines: expected {', '.join(get_args(EngineName))}, found {name!r}",
                hint="choose one of them",
            )
        if self.side_px < 16 or self.side_px % 16:
            raise OptionError(
                f"side: expected a multiple of {16}, found {self.side_px}",
                hint=f"--side {max(round(self.side_px / 16), 1) * 16}",
            )
        if self.repeats < 1:
            raise OptionError(
                f"repeats: expected 1 or more, found {self.repeats}", hint="--repeats 3"
            )
        if not self.archs:
            raise OptionError("archs: expected at least one, found none", hint="--arch sfnet")
