"""Predict stacks: an array in memory, or from file to file."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sfseg import io
from sfseg.config import (
    EngineChoice,
    PredictConfig,
    PredictPrecision,
    TestTimeAugmentation,
    configure,
)
from sfseg.errors import DeviceError, OptionError, SfsegError
from sfseg.prediction.arrays import predict_array
from sfseg.prediction.backend import Backend
from sfseg.prediction.destination import is_unfinished
from sfseg.prediction.jobs import Job, make_jobs
from sfseg.prediction.model import Model
from sfseg.prediction.opening import add_file_name, open_source, refuse_damage, tell_what_is_kept
from sfseg.prediction.output_lock import clear_lock
from sfseg.prediction.parts import finish_job, predict_part
from sfseg.prediction.parts_folder import PartsFolder
from sfseg.prediction.plane_maps import (
    folder_of,
    open_plane_maps,
    predict_plane_maps,
    settle_earlier_maps,
)
from sfseg.prediction.planes import as_isotropic
from sfseg.prediction.record import find_record, is_up_to_date, make_identity, make_record
from sfseg.prediction.resumable import ResumableOutput, open_resumable
from sfseg.prediction.run import OnTile, PredictResult, result_of_record
from sfseg.prediction.tile_writer import OtherMap, output_dtype
from sfseg.system.files import check_output_path, remove, sibling
from sfseg.system.memory import is_out_of_memory
from sfseg.system.remote import is_remote
from sfseg.system.threads import call_beside
from sfseg.types import AnyArray, PixelSize, Probability, Progress, Say


@dataclass(frozen=True)
class Failure:
    """One input that could not be predicted, and why."""

    job: Job
    error: SfsegError | OSError


def predict(
    array: AnyArray,
    *,
    model: str | os.PathLike[str] = PredictConfig.model,
    device: str = "auto",
    engine: EngineChoice = "auto",
    precision: PredictPrecision = "auto",
    tta: TestTimeAugmentation = "none",
    planes: bool = False,
    close_gaps: bool = False,
    invert_image: bool = False,
    pixel_size_nm: float | PixelSize | None = None,
    progress: Progress = lambda *_: None,
) -> Probability:
    """Predict the interior probability of a section or stack in memory.

    For several arrays, `load_model` loads the network once.

    Parameters
    ----------
    array : array_like, shape (Z, Y, X) or (Y, X)
        Grey values of any numeric type, membranes dark; else see `invert_image`.
    model : str or Path
        Name of shipped weights (default: sfnet-isbi2012), or the path of a weights file or of the
        folder of a training run.
    device, engine, precision : str
        Where and how to run; see `load_model`.
    tta : {'none', 'flips', 'd4'}
        Mean over orientations; see `Model.predict`.
    planes : bool
        Mean of the maps of the planes along z, y and x, for isotropic voxels; see `Model.predict`.
    close_gaps : bool
        Close gaps in membranes; see `Model.predict`.
    invert_image : bool
        Swap dark and bright first, for images with bright membranes.
    pixel_size_nm : float or tuple of float, optional
        Size of the pixels, or (y, x). By default it is assumed to be that of the training data of
        the weights, 4 nm for the shipped ones; see `Model.predict`.
    progress : callable
        Called with the number of tiles predicted and that of all; see `Model.predict`.

    Returns
    -------
    ndarray of float32, shape as array
        Interior probability in [0, 1]: 1 = inside a cell, 0 = membrane.

    Raises
    ------
    StackError, NonFiniteError
        If the array is not a stack of finite numbers.
    UnknownNameError, CheckpointError, DeviceError, MissingExtraError, OptionError
        As `load_model` and `Model.predict` do.

    Examples
    --------
    >>> import sfseg
    >>> volume, labels = sfseg.make_tissue((1, 64, 64))
    >>> probability = sfseg.predict(volume, device="cpu")
    >>> probability.shape, probability.dtype.name
    ((1, 64, 64), 'float32')
    """
    options = {
        "model": model,
        "device": device,
        "engine": engine,
        "precision": precision,
        "tta": tta,
        "planes": planes,
        "close_gaps": close_gaps,
        "invert_image": invert_image,
        "pixel_size_nm": pixel_size_nm,
    }
    return predict_array(array, options, lambda config: Model.load(config).prepare, progress)


def predict_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: PredictConfig | None = None,
    *,
    report: OnTile = lambda _: None,
    say: Say = lambda _: None,
    **options: Any,
) -> PredictResult:
    """Predict one stack of any size from file to file, in bounded memory.

    ``resume=True`` continues a run that was stopped; the output has the same bytes.

    Parameters
    ----------
    source : str or Path
        A file, or a folder or glob of sections.
    out : str or Path
        The file to write; ends in .tif, .mrc or .zarr.
    config : PredictConfig, optional
        How to predict and what to write.
    report : callable
        Called with a `TileRecord` before the first and after each tile, from another thread.
    say : callable
        Called with lines of text for the person who waits.
    **options
        Fields of `PredictConfig` by name, instead of `config` or on top of it.

    Returns
    -------
    PredictResult
        Facts about the output.

    Raises
    ------
    UnknownNameError
        If an option or a model is unknown.
    StackError, OptionError, SfsegError
        As `make_jobs`, `Model.load` and `predict_job` do.
    OSError
        If a file cannot be read or written.
    """
    arrays = "sfseg.predict takes arrays"
    source, target = (io.as_path(path, "predict_file", hint=arrays) for path in (source, out))
    config = configure(PredictConfig, config, options)
    if target.suffix.lower() not in io.STACK_SUFFIXES:
        raise OptionError(
            f"{target}: the name of the output must end in {' or '.join(io.STACK_SUFFIXES)}",
            hint=f"name it {target.with_suffix('.tif')}",
        )
    (job,) = make_jobs([str(source)], target, overwrite=config.overwrite, resume=config.resume)
    if config.finish:
        return finish_job(job, config, say=say)
    return predict_job(job, Model.load(config), config, report=report, say=say)


def predict_files(
    jobs: Sequence[Job],
    model: Backend,
    config: PredictConfig,
    *,
    report: OnTile = lambda _: None,
    say: Say = lambda _: None,
) -> Iterator[PredictResult | Failure]:
    """Predict stacks one after the other; a bad one does not stop the others.

    The parameters are those of `predict_job`.

    Yields
    ------
    PredictResult or Failure
        In the order of the jobs.
    """
    for job in jobs:
        try:
            yield predict_job(job, model, config, report=report, say=say)
        except (SfsegError, OSError) as error:
            yield Failure(job, error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            yield Failure(job, _too_little_memory(job, error))


def predict_job(
    job: Job,
    model: Backend,
    config: PredictConfig,
    *,
    report: OnTile = lambda _: None,
    say: Say = lambda _: None,
) -> PredictResult:
    """Predict one stack tile by tile; its output is whole or absent.

    Parameters
    ----------
    job : Job
        Input and output.
    model : Model or another Backend
        The network, ready to predict.
    config : PredictConfig
        What to write.
    report : callable
        Called with a `TileRecord` before the first and after each tile, from another thread.
    say : callable
        Called with lines of text for the person who waits.

    Returns
    -------
    PredictResult
        Facts about the output.

    Raises
    ------
    StackError, ShapeMismatchError, OptionError
        If the input is not a stack; see `sfseg.io.open.open_stack`.
    NonFiniteError
        If it holds NaN or infinity.
    OutputExistsError
        If the output exists, or another file has the name of its record, and
        ``config.overwrite`` is False.
    ResumeError
        If ``config.resume`` is True and the output was made from another input, other weights or
        other options.
    OSError
        If a file cannot be read or written. Finished tiles are kept for ``config.resume``.
    """
    if config.sections is not None:
        return predict_part(job, model, config, report=report, say=say)
    if config.output == "cells":
        return _predict_cells(job, model, config, report, say)
    io.require_writable(str(job.output), output_dtype(config))
    if config.planes and is_remote(job.output):
        raise OptionError(
            "--planes: the maps that it averages lie beside the output, on a disk, not in a bucket",
            hint="write it to a disk, then copy it",
        )
    PartsFolder(job.output).refuse_whole()
    find_record(job.output, overwrite=config.overwrite)
    with open_source(job, config, say) as stack:
        whole = as_isotropic(stack, config, say) if config.planes else stack
        return _predict_stack(job, whole, model, config, report, say)


def _predict_stack(
    job: Job,
    stack: io.Stack,
    model: Backend,
    config: PredictConfig,
    report: OnTile,
    say: Say,
    *,
    is_planes: bool = False,
) -> PredictResult:
    """Predict an open stack; `is_planes` if its map is one of those that are averaged."""
    started = time.monotonic()
    record = find_record(job.output, overwrite=config.overwrite)
    pixels, resolved = model.choose_pixels(stack, config), model.resolve(stack, config)
    hashed = call_beside(add_file_name(job.source)(stack.sha256))
    identity = make_identity(
        stack,
        config,
        resolved,
        input_id={"sha256": None},
        weights_sha256=model.weights_sha256,
        pixels=pixels,
    )
    if config.resume and record is not None and not is_unfinished(job.output):
        identity["input"]["sha256"] = hashed.result()
        if is_up_to_date(record, job.output, identity, overwrite=config.overwrite):
            clear_lock(job.output)
            if config.planes:
                remove(folder_of(job.output))
            return result_of_record(job, stack, record, pixels.note)
    if is_unfinished(job.output) and not (config.resume or is_planes):
        say(
            f"{job.output}: what an interrupted run left is deleted; --resume would have continued "
            "it"
        )
    opening = open_resumable(
        job.output, identity, hashed=hashed, resume=config.resume, overwrite=config.overwrite
    )
    told = opening if is_planes else tell_what_is_kept(opening, job.output, say)
    with told as work:
        calibrated = model
        if work.starts_empty:  # else the engine is that of the first run
            with add_file_name(job.source):
                calibrated = model.calibrated(stack, config, say=say)
        if calibrated is not model:
            resolved = calibrated.resolve(stack, config)
            work.choose(resolved)
        refuse_damage(work, job.output)
        with _plane_maps(work, job, stack, model, config, report, say) as (others, stages):
            run = calibrated.start(
                job, stack, config, resolved, work, report=report, say=say, others=others
            )
            result = run.run(started)
            result = replace(result, stages=_add([*stages, result.stages]))
            work.await_input()
            work.record = make_record(work.identity, stack, config, run.facts(result))
    if config.planes:
        remove(folder_of(job.output))
    return result


@contextlib.contextmanager
def _plane_maps(
    work: ResumableOutput,
    job: Job,
    stack: io.Stack,
    model: Backend,
    config: PredictConfig,
    report: OnTile,
    say: Say,
) -> Iterator[tuple[list[OtherMap], list[Mapping[str, float]]]]:
    """Give the maps to average with, and the seconds that they took: none without --planes."""
    settle_earlier_maps(job.output, config)
    if not config.planes or work.complete:
        yield [], []
        return

    def predict(job: Job, planes: io.Stack, config: PredictConfig, report: OnTile) -> PredictResult:
        return _predict_stack(job, planes, model, config, report, say, is_planes=True)

    results = list(predict_plane_maps(job, stack, config, predict, report, say))
    with open_plane_maps(job.output, config) as maps:
        yield maps, [result.stages for result in results]


def _add(stages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up the seconds of each stage."""
    names = dict.fromkeys(name for each in stages for name in each)
    return {name: sum(each.get(name, 0) for each in stages) for name in names}


def _predict_cells(
    job: Job, model: Backend, config: PredictConfig, report: OnTile, say: Say
) -> PredictResult:
    """Predict the map of a stack, which stays beside the cells, and find its cells.

    With the map at hand, ``sfseg segment`` finds them again in seconds, with other options.
    """
    # the flood of numba takes a third as long to import as torch
    from sfseg.segmentation.segment import SCRATCH, segment_file

    io.require_writable(str(job.output), np.uint32)
    check_output_path(job.output, overwrite=config.overwrite or config.resume)
    path = map_path(job.output)
    config = replace(config, output="probability")
    result = predict_job(Job(job.source, path), model, config, report=report, say=say)
    if not config.resume or not job.output.exists() or sibling(job.output, SCRATCH).exists():
        say(f"finding the cells of {path}")
        found = segment_file(
            path, job.output, say=say, resume=config.resume, overwrite=config.overwrite
        )
        say(f"{job.output}: {found.describe()}; its map is {path}")
    return replace(result, job=job)


def map_path(cells: Path) -> Path:
    """Name the map beside an output of cells: ``cells.map.tif`` for ``cells.tif``."""
    return cells.with_suffix(f".map{cells.suffix}")


def _too_little_memory(job: Job, error: BaseException) -> DeviceError:
    """Make the error for a stack that does not fit in memory, even in the smallest tiles."""
    details = f" ({error})" if str(error) else ""
    refusal = DeviceError(
        f"{job.source}: too little memory to predict it{details}",
        hint="close other programs, or use smaller tiles, for example --tile 256",
    )
    refusal.__cause__ = error
    return refusal
