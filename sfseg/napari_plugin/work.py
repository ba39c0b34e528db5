"""What the widgets do, without a window: predict, find cells, score; arrays in, arrays out."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from sfseg.config import (
    SHIPPED_MODEL,
    LabelFormat,
    PredictConfig,
    SegmentConfig,
    TestTimeAugmentation,
)
from sfseg.errors import OptionError
from sfseg.io import open_array
from sfseg.io.labels import resolve_format
from sfseg.io.probability import scale_map, scale_sections
from sfseg.io.sections import Sections
from sfseg.prediction.model import load_model
from sfseg.prediction.tile_writer import (
    ArrayTarget,
    FinishedTile,
    convert,
    make_writer,
    output_dtype,
)
from sfseg.scoring.errors import Errors, find_pair_errors
from sfseg.scoring.pair import Pair
from sfseg.scoring.score import Scores, require_same_shape, score_known
from sfseg.scoring.score_files import find_turns, invert_map
from sfseg.scoring.thresholds import as_probability, as_stack
from sfseg.scoring.truth import understand_labels
from sfseg.segmentation.costs import load_costs
from sfseg.segmentation.finder import CellFinder
from sfseg.segmentation.maps import StackMaps
from sfseg.segmentation.store import MemoryStore
from sfseg.system.memory import available_bytes
from sfseg.types import AnyArray, Number, PixelSize, Probability, Progress, Rescale, Segments

_FLOAT32_BYTES = _UINT32_BYTES = 4


class CancelledError(Exception):
    """Work was stopped on request; `progress` raises it."""


@dataclass(frozen=True)
class PredictChoices:
    """What to predict with; as the fields of `PredictConfig` and of the widget.

    Without ``rescale`` the pixel size does not count.
    """

    model: str = SHIPPED_MODEL
    device: str = "auto"
    tta: TestTimeAugmentation = "none"
    close_gaps: bool = False
    invert_image: bool = False
    pixel_size_nm: PixelSize | None = None
    rescale: Rescale = "auto"


@dataclass(frozen=True)
class ScoreChoices:
    """How to read a map and labels; as the fields of `sfseg.score_files` and of the widget."""

    invert: bool = False
    map_max: Number | None = None
    labels_are: LabelFormat = field(default_factory=LabelFormat)


def pixels_of(layer: Any, section: int | None = None) -> AnyArray:
    """Return the pixels of a layer, of one section or all.

    Parameters
    ----------
    layer : napari.layers.Image or Labels
        The layer.
    section : int, optional
        The index of the only section to return.

    Returns
    -------
    array_like, shape (Z, Y, X) or (Y, X)
        Z is 1 for a section of a stack. A stack on disk is not read yet.

    Raises
    ------
    OptionError
        If the layer is no section and no stack.
    """
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    if getattr(layer, "rgb", False):
        raise OptionError(
            f"{layer.name}: this layer has colours, not grey values",
            hint="right-click the layer, choose Split RGB, and take one of the new layers",
        )
    if data.ndim not in (2, 3):
        raise OptionError(
            f"{layer.name}: this layer has {data.ndim} dimensions, not sections of a stack",
            hint="make a layer of one channel and one time, with the axes Z, Y, X",
        )
    pixels: AnyArray = data if section is None or data.ndim == 2 else data[section : section + 1]
    return pixels


def predict_pixels(
    pixels: AnyArray, choices: PredictChoices, progress: Progress = lambda *_: None
) -> Probability:
    """Predict as `sfseg.predict` does, to the bit.

    Parameters
    ----------
    pixels : array_like, shape (Z, Y, X) or (Y, X)
        Grey values; a stack on disk is read.
    choices : PredictChoices
        With which network, and how.
    progress : callable
        Called with the number of tiles done and of all. What it raises stops the prediction.

    Returns
    -------
    ndarray of float32, shape of `pixels`
        Interior probability.

    Raises
    ------
    OptionError
        If it does not fit in memory; and what `sfseg.predict` raises.
    """
    _require_memory(
        pixels,
        _FLOAT32_BYTES,
        "this stack and its map",
        "predict the current section here, and the stack in a terminal, in any memory: "
        "sfseg predict FILE -o map.tif",
    )
    model = load_model(choices.model, device=choices.device)
    return model.predict(
        pixels,
        tta=choices.tta,
        close_gaps=choices.close_gaps,
        invert_image=choices.invert_image,
        pixel_size_nm=choices.pixel_size_nm if choices.rescale == "auto" else None,
        progress=progress,
    )


def _require_memory(pixels: AnyArray, result_bytes: int, what: str, hint: str) -> None:
    """Refuse a stack that does not fit in memory together with what is made of it.

    Parameters
    ----------
    pixels : array_like
        The stack, perhaps still on the disk.
    result_bytes : int
        What is made of each pixel.
    what, hint : str
        What needs the memory, and what to do instead.

    Raises
    ------
    OptionError
        If it does not fit.
    """
    size = int(np.prod(pixels.shape))
    in_memory = isinstance(pixels, np.ndarray)
    needed = size * (result_bytes + (0 if in_memory else pixels.dtype.itemsize))
    free = available_bytes(torch.device("cpu"))
    if needed > free:
        raise OptionError(
            f"{what} need {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free",
            hint=hint,
        )


class Divided(NamedTuple):
    """The superpixels of a map, and what looks odd about it."""

    finder: CellFinder
    doubts: tuple[str, ...]


def divide_map(
    probability: AnyArray, config: SegmentConfig, name: str, progress: Progress = lambda *_: None
) -> Divided:
    """Divide a map into superpixels in memory, of which cells are made as by `sfseg.segment`.

    Parameters
    ----------
    probability : array_like, shape (Z, Y, X) or (Y, X)
        Interior probability; a stack on disk is read.
    config : SegmentConfig
        How.
    name : str
        The map, for messages.
    progress : callable
        Called with the number of sections divided and of all. What it raises stops the work.

    Returns
    -------
    Divided
        What finds the cells, and warnings.

    Raises
    ------
    OptionError
        If it does not fit in memory; and what `sfseg.segment` raises.
    """
    _require_memory(
        probability,
        2 * _UINT32_BYTES,
        "this map, its superpixels and its cells",
        "find the cells in a terminal, in any memory: sfseg segment map.tif -o cells.tif",
    )
    stack = open_array(probability, name)
    maps = StackMaps(stack, config.map_max)
    finder = CellFinder(stack, maps, config, MemoryStore(), load_costs(), progress=progress)
    return Divided(finder, tuple(maps.doubts()))


def number_cells(
    probability: AnyArray,
    *,
    threshold: float = PredictConfig.threshold,
    close_gaps: bool = False,
    name: str = "map",
    progress: Progress = lambda *_: None,
) -> Segments:
    """Give each cell of each section a number, as ``sfseg predict --output segments`` does.

    Parameters
    ----------
    probability : ndarray, shape (Z, Y, X) or (Y, X)
        Interior probability; whole numbers are divided by the maximum of their type.
    threshold : float
        Pixels above it are inside a cell.
    close_gaps : bool
        Close gaps in membranes first.
    name : str
        The map, for messages.
    progress : callable
        Called with the number of sections done and of all. What it raises stops the work.

    Returns
    -------
    ndarray of int32, shape of `probability`
        4-connected components from 1; 0 = border. Numbers go on from section to section.

    Raises
    ------
    StackError
        If it is not a stack of probabilities.
    """
    config = PredictConfig(output="segments", threshold=threshold, close_gaps=close_gaps)
    stack = as_stack(scale_map(np.asarray(probability), None, name), name)
    target = ArrayTarget((stack.shape[0], stack.shape[1], stack.shape[2]), output_dtype(config))
    writer = make_writer(target, config)
    whole = slice(0, stack.shape[1]), slice(0, stack.shape[2])
    progress(0, len(stack))
    for index, section in enumerate(stack):
        shares = as_probability(section).astype(np.float32, copy=False)
        pixels = shares if close_gaps else convert(shares, config)
        list(writer.put(FinishedTile(index, index, whole, pixels, {})))
        progress(index + 1, len(stack))
    return target.pixels.reshape(np.shape(probability))


class Scored(NamedTuple):
    """The scores of a map, and its errors, if they were asked for."""

    scores: Scores
    errors: Errors | None


def score_pixels(
    probability: AnyArray,
    labels: AnyArray,
    choices: ScoreChoices,
    *,
    names: tuple[str, str] = ("map", "labels"),
    first_section: int = 0,
    with_errors: bool = False,
    progress: Progress = lambda *_: None,
) -> Scored:
    """Score as `sfseg.score_files` does.

    Parameters
    ----------
    probability, labels : array_like, shape (Z, Y, X) or (Y, X)
        The map and the truth.
    choices : ScoreChoices
        How to read them.
    names : tuple of str
        What they are called, for messages.
    first_section : int
        Index of the first of their sections in the stack.
    with_errors : bool
        Whether to find the merges and splits, too.
    progress : callable
        Called with the number of sections done and of all. What it raises stops the work.

    Returns
    -------
    Scored
        See `sfseg.score` and `sfseg.find_errors`.

    Raises
    ------
    ShapeMismatchError, StackError, OptionError, NonFiniteError
        As `sfseg.score_files` does.
    """
    predicted, truth = (
        Sections.from_array(open_array(array, name).read())
        for array, name in zip((probability, labels), names, strict=True)
    )
    require_same_shape(predicted.shape, truth.shape, names)
    form = resolve_format(open_array(labels, names[1]), choices.labels_are)
    predicted = scale_sections(predicted, choices.map_max, names[0])
    true, known = understand_labels(truth, form, names[1])
    predicted = predicted.map(invert_map) if choices.invert else predicted
    numbers = tuple(range(first_section + 1, first_section + 1 + len(true)))
    turns = find_turns(form, invert=choices.invert, invert_labels=False)
    scores = score_known(
        predicted, true, known, turns=turns, names=names, numbers=numbers, progress=progress
    )
    if not with_errors:
        return Scored(scores, None)
    pair = Pair(predicted, true, known, numbers, len(true))
    return Scored(scores, find_pair_errors(pair, scores.v_rand_threshold, progress=progress))
