"""Predict the membranes of a stack, or of many, from file to file."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import label

from sfseg import engines, io
from sfseg.checkpoints import Header, load_weights
from sfseg.config import PredictConfig
from sfseg.errors import OptionError, SfsegError
from sfseg.jobs import TIFF_SUFFIXES, Job, plan_jobs
from sfseg.predictor import Predictor
from sfseg.terms import INTERIOR, AnyArray, Probability, Shape, VoxelSize


@dataclass(frozen=True)
class SectionRecord:
    """One section done, as it is reported.

    Attributes
    ----------
    source, description : str
        The input, and what it is.
    section, sections : int
        Sections done, at first 0, and how many there are.
    seconds_left : float or None
        Estimate from the sections so far.
    """

    source: str
    description: str
    section: int
    sections: int
    seconds_left: float | None


@dataclass(frozen=True)
class PredictResult:
    """One output that is whole on disk.

    Attributes
    ----------
    job : Job
        Input and output.
    shape : tuple of int
        (Z, Y, X).
    voxel_size_nm : tuple of float or None
        Carried over from the input.
    interior_share : float
        Mean of the interior probability; near 0 or 1, something is wrong with the input.
    blank_sections : int
        Sections of one grey value, which tell the network nothing.
    seconds : float
        From opening the input to the renamed output.
    """

    job: Job
    shape: Shape
    voxel_size_nm: VoxelSize | None
    interior_share: float
    blank_sections: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """One input that could not be predicted, and why."""

    job: Job
    error: SfsegError | OSError


Report = Callable[[SectionRecord], None]


def predict(
    source: str | Path,
    out: str | Path,
    config: PredictConfig = PredictConfig(),  # noqa: B008 - frozen
    *,
    report: Report = lambda _: None,
) -> PredictResult:
    """Predict one stack to one TIFF file.

    Parameters
    ----------
    source : str or Path
        A file, or a folder or glob of sections.
    out : str or Path
        The file to write; ends in .tif.
    config : PredictConfig
        With what, how, and what to write.
    report : callable
        Is handed a `SectionRecord` after each section.

    Returns
    -------
    PredictResult
        Facts about the output.

    Raises
    ------
    SfsegError
        As `sfseg.jobs.plan_jobs`, `make_predictor` and `predict_file` do.
    OSError
        If a file cannot be read or written.
    """
    if Path(out).suffix.lower() not in TIFF_SUFFIXES:
        raise OptionError(
            f"{out}: expected a name ending in {' or '.join(TIFF_SUFFIXES)}, found another",
            hint="sfseg.jobs.plan_jobs and predict_files predict many stacks into a folder",
        )
    (job,) = plan_jobs([str(source)], Path(out), overwrite=config.overwrite)
    predictor, _ = make_predictor(config)
    return predict_file(job, predictor, config, report=report)


def make_predictor(config: PredictConfig) -> tuple[Predictor, Header]:
    """Load the weights and make them ready on the device.

    Returns
    -------
    predictor : Predictor
        Sections in, interior probability out.
    header : Header
        What the weights say of themselves.

    Raises
    ------
    DeviceError, UnknownNameError, CheckpointError
        If the device or the weights are not there or not usable.
    """
    device = engines.pick_device(config.device)
    network, header = load_weights(config.model)
    predictor = Predictor.of(
        network,
        device,
        engines.pick_dtype(config.precision, device),
        input_px=header.input_px,
        tta=config.tta,
        tile_px=config.tile_px,
    )
    return predictor, header


def predict_file(
    job: Job, predictor: Predictor, config: PredictConfig, *, report: Report = lambda _: None
) -> PredictResult:
    """Predict one stack, section by section, to a file that is whole or not there.

    Parameters
    ----------
    job : Job
        Input and output.
    predictor : Predictor
        The network, made ready.
    config : PredictConfig
        What to write.
    report : callable
        Is handed a `SectionRecord` after each section.

    Returns
    -------
    PredictResult
        Facts about the output.

    Raises
    ------
    StackError, ShapeMismatchError, OptionError
        If the input is not a stack; see `sfseg.io.open_stack`.
    NonFiniteError
        If it holds NaN or infinity.
    OutputExistsError
        If the output exists and ``config.overwrite`` is False.
    OSError
        If a file cannot be read or written.
    """
    started = time.monotonic()
    with io.open_stack(job.source, axes=config.axes) as stack:
        report(SectionRecord(job.source, stack.describe(), 0, len(stack), None))
        shares: list[float] = []
        blanks: list[bool] = []

        def predicted() -> Iterator[Probability]:
            for index, section in enumerate(stack):
                io.require_finite(section, stack.name, index + 1)
                probability = predictor(section)
                shares.append(float(probability.mean(dtype=np.float64)))
                blanks.append(bool(section.min() == section.max()))
                yield probability
                done, spent = index + 1, time.monotonic() - started
                left = spent / done * (len(stack) - done)
                report(SectionRecord(job.source, stack.describe(), done, len(stack), left))

        io.write_stack(
            job.output,
            convert(predicted(), config),
            stack.shape,
            output_dtype(config),
            voxel_size_nm=stack.voxel_size_nm,
            overwrite=config.overwrite,
        )
        seconds = time.monotonic() - started
        return PredictResult(
            job,
            stack.shape,
            stack.voxel_size_nm,
            interior_share=float(np.mean(shares)),
            blank_sections=sum(blanks),
            seconds=seconds,
        )


def predict_files(
    jobs: Sequence[Job],
    predictor: Predictor,
    config: PredictConfig,
    *,
    report: Report = lambda _: None,
) -> Iterator[PredictResult | Failure]:
    """Predict stacks one after the other; a bad one does not stop the others.

    Yields
    ------
    PredictResult or Failure
        In the order of the jobs.
    """
    for job in jobs:
        try:
            yield predict_file(job, predictor, config, report=report)
        except (SfsegError, OSError) as error:
            yield Failure(job, error)


def output_dtype(config: PredictConfig) -> np.dtype[Any]:
    """Return the type of the pixels that a configuration writes."""
    fixed = {"binary": "uint8", "segments": "int32"}
    return np.dtype(fixed.get(config.output, config.dtype))


def convert(sections: Iterator[Probability], config: PredictConfig) -> Iterator[AnyArray]:
    """Turn interior probability into what is to be written.

    Parameters
    ----------
    sections : iterator of ndarray of float32, shape (Y, X)
        Interior probability in [0, 1].
    config : PredictConfig
        Whose ``output``, ``dtype`` and ``threshold`` say what.

    Yields
    ------
    ndarray, shape (Y, X)
        Probability, scaled to the maximum of an integer type; or 255 where it exceeds the
        threshold; or its 4-connected components, numbered on from section to section, 0 = border.
    """
    dtype = output_dtype(config)
    numbered = 0
    for probability in sections:
        if config.output == "segments":
            segments = label(probability > np.float64(config.threshold), connectivity=1)
            segments[segments > 0] += numbered
            numbered = max(numbered, int(segments.max()))
            yield segments.astype(dtype)
        elif config.output == "binary":
            yield np.where(probability > np.float64(config.threshold), INTERIOR, 0).astype(dtype)
        elif dtype.kind == "u":
            top = 255.0 if dtype == np.uint8 else 65535.0
            yield np.rint(probability.astype(np.float64) * top).astype(dtype)
        else:
            yield probability
