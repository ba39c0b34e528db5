"""Every default of sfseg, in frozen dataclasses; those of the recipes are in `recipes`."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from sfseg.errors import OptionError, UnknownNameError
from sfseg.recipes import DEFAULT, RECIPES, STUDENT, Recipe, check_choices, find_recipe
from sfseg.types import LabelKind, Number, PixelSize, Rescale, as_pixel_size, kind_of

SHIPPED_MODEL = "sfnet-isbi2012"
DEFAULT_DATASET = "isbi2012"
CONFIG_NAME = "config.json"
"""The file in the folder of a training run that holds its `TrainConfig`."""

COMPARISON_NAME = "compare.json"
"""The file in the folder of a comparison that holds its `CompareConfig`."""

Precision = Literal["auto", "float32", "bf16"]
PredictPrecision = Literal["auto", "float32", "bf16", "fp16", "int8"]
"""A network is not trained in fp16 or int8."""

TestTimeAugmentation = Literal["none", "flips", "d4"]
EngineName = Literal["torch", "compile", "openvino"]
EngineChoice = Literal["auto", "torch", "compile", "openvino"]
LinkMethod = Literal["graph", "none"]
SegmentMethod = Literal["multicut", "components"]
OutputKind = Literal["probability", "binary", "segments", "cells"]
OutputDtype = Literal["float32", "uint16", "uint8"]


@dataclass(frozen=True)
class LabelFormat:
    """What the values of labels mean.

    Attributes
    ----------
    kind : {'interior', 'membrane', 'instances'}
        What a value other than 0 is: the inside of a cell, membrane, or the number of a cell.
    membrane_value : int, float or None
        The value of membrane; all others are the inside of cells. It replaces the 0 of `kind`.
    threshold : int, float, 'auto' or None
        Values above it count as one value, the others as 0; auto = the middle between the two
        values that are most frequent, one in each half of the range.
    ignore : int, float or None
        The value of pixels that are not labelled.
    """

    kind: LabelKind = "interior"
    membrane_value: Number | None = None
    threshold: Number | Literal["auto"] | None = None
    ignore: Number | None = None

    def __post_init__(self) -> None:
        """Check the choices; raises UnknownNameError or OptionError."""
        if self.kind not in get_args(LabelKind):
            raise UnknownNameError.from_known("kind of labels", self.kind, get_args(LabelKind))
        beside = self.kind == "instances" or self.membrane_value is not None
        if self.threshold is not None and beside:
            other = "--labels-are instances" if self.kind == "instances" else "--membrane-value"
            raise OptionError(
                f"--threshold-labels: it does not work with {other}",
                hint="say with --labels-are interior or membrane what the high values are",
            )
        if self.ignore is not None and self.ignore == self.membrane_value:
            raise OptionError(
                f"--ignore {self.ignore}: this is also the value of --membrane-value",
                hint="name another value, or leave --ignore out",
            )

    @property
    def is_plain(self) -> bool:
        """Whether the labels have two values, one of them 0."""
        return self.kind != "instances" and self.membrane_value is None and self.threshold is None


LABEL_OPTIONS = {
    "kind": "--labels-are",
    "membrane_value": "--membrane-value",
    "threshold": "--threshold-labels",
    "ignore": "--ignore",
}
"""The option of the command line for each field of `LabelFormat`."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, and where to put it.

    Attributes
    ----------
    out : Path
        Folder of the run: weights, training state, page, history, curves, resolved configuration.
    arch : str
        Architecture.
    recipe : Recipe
        How to train.
    dataset : str or None
        Name of a dataset, used with its standard split; None = isbi2012, or the user's `images`.
    data_dir : Path or None
        Folder of fetched datasets; None = that of `sfseg.system.files.cache_folder`.
    images, labels : str or None
        The user's own stack and its labels; or folders or patterns of them, matched by name as
        `sfseg.training.pairs.pair_files` does.
    labels_are : {'interior', 'membrane', 'instances'}
        Meaning of the user's labels.
    membrane_value, threshold_labels, ignore
        More about the user's labels: see `LabelFormat`.
    sections : str or None
        Training sections, as in ``"1-24"``; None = the standard split, or all. The numbers of
        several stacks continue from one stack to the next.
    validation : str or None
        Sections held out for validation, or ``"none"``; None = the recipe's share, the first ones
        of each stack.
    axes : str or None
        Order of the axes, for files of the user that do not say it.
    label_axes : str or None
        Order of the axes of the user's labels; None = `axes`.
    invert_image : bool
        Swap dark and bright in the images, so that bright membranes become dark.
    pixel_size_nm : float or tuple of float or None
        Size of the pixels of the images, or (y, x); None = what the files say.
    rescale : {'auto', 'none'}
        Whether sections and labels are resampled to one pixel size: that of the weights to start
        from, else that of the first stack.
    init : str or None
        Weights to start from, of the same architecture: a shipped name, or the path of a weights
        file or of the folder of a training run; None = random ones.
    teachers : tuple of str
        Weights, named like `init`, whose mean marks the sections without labels.
    unlabelled : str or None
        A stack of such sections; None = the dataset's, where there are teachers.
    seed : int
        Seed of the initial weights, the order and the augmentation.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : {'auto', 'float32', 'bf16'}
        Arithmetic of the convolutions; auto = bf16 where the hardware has it.
    compile : bool
        Compile the network: steps are faster after a minute. Needs a C++ compiler.
    half : bool
        Store the kernels as float16, for a file of half the size.
    resume : bool
        Continue from the state in `out`.
    save_every_s : float
        Seconds between two saves of the state; it is also saved after each epoch.
    """

    out: Path
    arch: str = "sfnet"
    recipe: Recipe = DEFAULT
    dataset: str | None = None
    data_dir: Path | None = None
    images: str | None = None
    labels: str | None = None
    labels_are: LabelKind = "interior"
    membrane_value: Number | None = None
    threshold_labels: Number | Literal["auto"] | None = None
    ignore: Number | None = None
    sections: str | None = None
    validation: str | None = None
    axes: str | None = None
    label_axes: str | None = None
    invert_image: bool = False
    pixel_size_nm: float | PixelSize | None = None
    rescale: Rescale = "auto"
    init: str | None = None
    teachers: tuple[str, ...] = ()
    unlabelled: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    half: bool = False
    resume: bool = False
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        """Check the choices; raises OptionError."""
        check_choices(self)
        _ = self.label_format, self.pixel_size  # both check their options

    @property
    def label_format(self) -> LabelFormat:
        """What the values of the user's labels mean."""
        return LabelFormat(self.labels_are, self.membrane_value, self.threshold_labels, self.ignore)

    @property
    def pixel_size(self) -> PixelSize | None:
        """The given size of the pixels, (y, x) in nm; None if none is given."""
        return as_pixel_size(self.pixel_size_nm)

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
        Name of shipped weights, or the path of a weights file or of the folder of a training run.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    engine : {'auto', 'torch', 'compile', 'openvino'}
        What runs the network; auto = torch.
    precision : {'auto', 'float32', 'bf16', 'fp16', 'int8'}
        Arithmetic of the convolutions; auto = fp16 on CUDA and bf16 on a CPU, where the hardware
        has it and it agrees with float32; int8 is calibrated on the first sections.
    tta : {'none', 'flips', 'd4'}
        One pass, or the mean over the 4 flips or all 8 orientations.
    planes : bool
        For isotropic voxels: the mean of three maps, of the planes along z, y and x.
    close_gaps : bool
        Close gaps in membranes, see `sfseg.prediction.gaps`, before anything is written.
    output : {'probability', 'binary', 'segments'}
        Interior probability; 255 where it exceeds the threshold; or numbered components of that.
    dtype : {'float32', 'uint16', 'uint8'}
        Type of written probabilities; the integers map 1.0 to their maximum.
    threshold : float
        For binary and segments.
    tile_px : int or None
        Side of the core of a tile, in pixels; None = whole sections if memory allows.
    memory_gib : float or None
        Memory that prediction may use; None = three quarters of the free memory.
    axes : str or None
        Order of the axes, for an input that does not say it.
    invert_image : bool
        Swap dark and bright in the input, so that bright membranes become dark.
    pixel_size_nm : float or tuple of float or None
        Size of the pixels, or (y, x); None = what the input says, else that of the weights.
    rescale : {'auto', 'none'}
        Whether sections are resampled to the pixel size of the weights, where it differs; see
        `sfseg.transforms.pixel_size`.
    multiscale : bool
        Write a pyramid; for OME-Zarr only.
    sections : str or None
        Make only these sections of an OME-Zarr, as in ``"1-500"``, beside processes that make the
        others; None = the whole output.
    finish : bool
        Make the output of such parts.
    resume : bool
        Continue an interrupted run; keep finished outputs.
    overwrite : bool
        Replace an existing output.
    """

    model: str = SHIPPED_MODEL
    device: str = "auto"
    engine: EngineChoice = "auto"
    precision: PredictPrecision = "auto"
    tta: TestTimeAugmentation = "none"
    planes: bool = False
    close_gaps: bool = False
    output: OutputKind = "probability"
    dtype: OutputDtype = "float32"
    threshold: float = 0.5
    tile_px: int | None = None
    memory_gib: float | None = None
    axes: str | None = None
    invert_image: bool = False
    pixel_size_nm: float | PixelSize | None = None
    rescale: Rescale = "auto"
    multiscale: bool = False
    sections: str | None = None
    finish: bool = False
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the choices and the numbers; raises OptionError."""
        check_choices(self)
        as_pixel_size(self.pixel_size_nm)
        if not 0 <= self.threshold <= 1:
            raise OptionError(
                f"threshold: must be a number from 0 to 1, not {self.threshold:g}",
                hint="--threshold 0.5",
            )
        if self.memory_gib is not None and not 0 < self.memory_gib < inf:
            raise OptionError(
                f"memory: must be a number of GiB above 0, not {self.memory_gib:g}",
                hint="--memory 4, or leave it out",
            )
        if self.tile_px is not None and self.tile_px < 1:
            raise OptionError(
                f"tile: must be 1 pixel or more, not {self.tile_px}", hint="--tile 512"
            )

    @property
    def pixel_size(self) -> PixelSize | None:
        """The given size of the pixels, (y, x) in nm; None if none is given."""
        return as_pixel_size(self.pixel_size_nm)

    @property
    def is_in_parts(self) -> bool:
        """Whether several processes make the output."""
        return self.finish or self.sections is not None

    @property
    def needs_sections(self) -> bool:
        """Whether a whole section must be in memory before it is written."""
        return self.close_gaps or self.output == "segments"


def require_map_max(full: Number) -> None:
    """Refuse a value of a map that cannot mean 1; raises OptionError."""
    if not full > 0:
        raise OptionError(
            f"--map-max: must be a number above 0, not {full:g}", hint="--map-max 100"
        )


@dataclass(frozen=True)
class SegmentConfig:
    """How cells are made of a membrane map.

    Attributes
    ----------
    method : {'multicut', 'components'}
        multicut: superpixels, joined where the membrane between them is weak. components: the
        connected parts above the threshold.
    link : {'graph', 'none'}
        Whether cells go on from section to section, or each section has its own.
    threshold : float
        Interior probability above which a pixel belongs to a cell.
    beta : float
        For multicut: above 0.5 there are more and smaller cells, below fewer and larger ones.
    min_size : int
        Cells of fewer voxels are joined with the neighbour that they touch most; 0 = none are.
    fill : bool
        Whether cells grow over the membranes between them.
    map_max : int or float or None
        The value of the map that means 1; None = 1, and the type's maximum for integers.
    axes : str or None
        Order of the axes, for an input that does not say it.
    workers : int or None
        Threads; None = one for each processor. The result does not depend on them.
    resume : bool
        Continue an interrupted run.
    overwrite : bool
        Replace an existing output.
    """

    method: SegmentMethod = "multicut"
    link: LinkMethod = "graph"
    threshold: float = 0.2
    beta: float = 0.5
    min_size: int = 100
    fill: bool = False
    map_max: Number | None = None
    axes: str | None = None
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the choices and the numbers; raises OptionError."""
        check_choices(self)
        if not 0 <= self.threshold < 1:
            raise OptionError(
                f"threshold: must be a number from 0 to below 1, not {self.threshold:g}",
                hint="--threshold 0.2",
            )
        if not 0 < self.beta < 1:
            raise OptionError(
                f"beta: must be a number between 0 and 1, not {self.beta:g}", hint="--beta 0.5"
            )
        if self.min_size < 0:
            raise OptionError(
                f"min-size: must be a number of voxels, not {self.min_size}",
                hint="--min-size 100",
            )
        if self.map_max is not None:
            require_map_max(self.map_max)


@dataclass(frozen=True)
class BenchConfig:
    """What to measure.

    Attributes
    ----------
    archs : tuple of str
        Architectures, in the order of the result.
    engines : tuple of {'torch', 'compile', 'openvino'}
        Engines; all of them must run on this machine. Empty = torch.
    side_px : int
        Rows and columns of a section; a multiple of 16.
    repeats : int
        Passes to take the median of; fewer if a pass takes seconds.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    train : bool
        Measure the steps of a training run instead of predictions.
    recipe : Recipe
        Recipe of the training; not `STUDENT`.
    """

    archs: tuple[str, ...] = ("sfnet", "unet", "fusionnet")
    engines: tuple[EngineName, ...] = ()
    side_px: int = 640
    repeats: int = 3
    device: str = "auto"
    train: bool = False
    recipe: Recipe = DEFAULT

    def __post_init__(self) -> None:
        """Check the engines and the numbers.

        Raises
        ------
        OptionError
            If there is no such engine, the networks cannot take a section of that side, or there is
            nothing to measure.
        """
        for name in set(self.engines) - set(get_args(EngineName)):
            raise OptionError(
                f"--engine: must be one of {', '.join(get_args(EngineName))}, not {name!r}",
                hint="choose one of them",
            )
        if self.train and "openvino" in self.engines:
            raise OptionError(
                "--engine openvino cannot train",
                hint="use --train --engine torch",
            )
        if self.recipe.is_a(STUDENT):
            raise OptionError(
                f"--recipe {self.recipe.name} needs teachers, so it is not measured",
                hint="use --recipe default, which has the same steps",
            )
        if self.side_px < 16 or self.side_px % 16:
            raise OptionError(
                f"--side: must be a multiple of 16, not {self.side_px}",
                hint=f"--side {max(round(self.side_px / 16), 1) * 16}",
            )
        if self.repeats < 1:
            raise OptionError(
                f"--repeats: must be 1 or more, not {self.repeats}", hint="--repeats 3"
            )
        if not self.archs:
            raise OptionError("--arch: no architecture is named", hint="--arch sfnet")


@dataclass(frozen=True)
class CompareConfig:
    """What to compare, on what, and where to put it.

    Attributes
    ----------
    out : Path
        Folder of the comparison: a folder for each run, and the table.
    archs : tuple of str
        Architectures, in the order of the table.
    recipe : Recipe
        How all of them are trained.
    dataset : str
        Name of a dataset.
    data_dir : Path or None
        Folder of fetched datasets; None = that of `sfseg.system.files.cache_folder`.
    seeds : int
        How many seeds to train each architecture with: 0, 1, 2 ...
    budget : float
        Share of the recipe's epochs to train.
    folds : int or None
        Number of blocks of a cross-validation inside the training sections; None = train on all
        of them and test on the dataset's test sections.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : {'auto', 'float32', 'bf16'}
        Arithmetic of the convolutions, in training and in prediction.
    close_gaps : bool
        Close gaps in the predicted membranes before they are scored, as `PredictConfig` does.
    compile : bool
        Compile the networks for training.
    resume : bool
        Continue the comparison in `out`.
    """

    out: Path
    archs: tuple[str, ...] = ("unet", "fusionnet", "sfnet")
    recipe: Recipe = DEFAULT
    dataset: str = DEFAULT_DATASET
    data_dir: Path | None = None
    seeds: int = 3
    budget: float = 1.0
    folds: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    close_gaps: bool = False
    compile: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        """Check the choices and the numbers.

        Raises
        ------
        OptionError
            If one of them is not allowed.
        """
        check_choices(self)
        if not self.archs or len(set(self.archs)) < len(self.archs):
            raise OptionError(
                f"--archs: an architecture is named twice: {', '.join(self.archs)}"
                if self.archs
                else "--archs: no architecture is named",
                hint="--archs unet,fusionnet,sfnet",
            )
        if self.seeds < 1:
            raise OptionError(f"--seeds: must be 1 or more, not {self.seeds}", hint="--seeds 3")
        if not 0 < self.budget < inf:
            raise OptionError(
                f"--budget: must be a share above 0, not {self.budget:g}",
                hint="--budget 0.1 trains a tenth of the epochs",
            )
        if self.folds is not None and self.folds < 2:
            raise OptionError(f"--folds: must be 2 or more, not {self.folds}", hint="--folds 4")

    @property
    def epochs(self) -> int:
        """Epochs of each training run, at least one."""
        return max(1, round(self.budget * self.recipe.epochs))


C = TypeVar("C", TrainConfig, PredictConfig, SegmentConfig)


def configure(kind: type[C], config: C | None, options: Mapping[str, Any]) -> C:
    """Make a configuration from keyword options, on top of a given one.

    Parameters
    ----------
    kind : type
        The class of the configuration.
    config : object of `kind` or None
        Where the other values come from; None = the defaults.
    options : mapping of str to object
        Fields and their values. A path may be a str or a Path, a recipe its name.

    Returns
    -------
    object of `kind`
        The configuration.

    Raises
    ------
    UnknownNameError
        If there is no such field, or no such recipe.
    OptionError
        If `config` has another type, a value is not a path, or a field without default is missing.
    """
    if config is not None and not isinstance(config, kind):
        raise OptionError(
            f"config: a {kind.__name__} is needed here, not {kind_of(config)}",
            hint="pass single options by their names, for example device='cpu'",
        )
    hints = get_type_hints(kind)
    for name in options:
        if name not in hints:
            raise UnknownNameError.from_known("option", name, hints)
    values = {name: _as_field(name, hints[name], value) for name, value in options.items()}
    if config is not None:
        return replace(config, **values)
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise OptionError(f"{field.name}: this option is missing", hint=f"{field.name}=...")
    return kind(**values)


def _as_field(name: str, hint: Any, value: Any) -> Any:
    """Turn a value into what a field holds: a Path, a Recipe, or a str; others stay."""
    if hint is Recipe and isinstance(value, str):
        return find_recipe(value)
    if hint not in (Path, str, str | None) or (value is None and hint == str | None):
        return value
    if not isinstance(value, str | os.PathLike):
        raise OptionError(
            f"{name}: a name or a path is needed here, not {kind_of(value)}",
            hint="pass a str or a pathlib.Path",
        )
    return Path(value) if hint is Path else os.fspath(value)


Config = TypeVar("Config", TrainConfig, CompareConfig)


def from_json(kind: type[Config], asked: Mapping[str, Any]) -> Config:
    """Read back the configuration of a run, as its folder holds it.

    Parameters
    ----------
    kind : type
        `TrainConfig` or `CompareConfig`.
    asked : mapping
        The fields as JSON; those that are missing get their defaults.

    Raises
    ------
    LookupError, TypeError, ValueError, AttributeError
        If it is not such a configuration.
    """
    values = {field.name: asked[field.name] for field in fields(kind) if field.name in asked}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    values |= {name: Path(values[name]) for name in ("out", "data_dir") if values.get(name)}
    recipe = values["recipe"]
    base = RECIPES.get(recipe["name"].partition(",")[0], DEFAULT)  # older files have fewer fields
    return kind(**values | {"recipe": replace(base, **recipe)})
