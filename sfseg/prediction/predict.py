"""Predict the membranes of a stack, or of many, from file to file."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.errors import DeviceError, OptionError, ResumeError, SfsegError
from sfseg.prediction import plan, provenance
from sfseg.prediction.jobs import STACK_SUFFIXES, Job, plan_jobs, refuse_foreign_record
from sfseg.prediction.model import Model, Tell
from sfseg.prediction.resumable import ResumableOutput, clear_lock, is_unfinished, open_resumable
from sfseg.prediction.run import PieceRecord, PredictionRun, PredictResult, Report
from sfseg.system.devices import is_out_of_memory

__all__ = [
    "Failure",
    "Model",
    "PieceRecord",
    "PredictResult",
    "predict",
    "predict_file",
    "predict_files",
]


@dataclass(frozen=True)
class Failure:
    """One input that could not be predicted, and why."""

    job: Job
    error: SfsegError | OSError


def predict(
    source: str | Path,
    out: str | Path,
    config: PredictConfig = PredictConfig(),  # noqa: B008 - frozen
    *,
    report: Report = lambda _: None,
) -> PredictResult:
    """Predict one stack to one file.

    Parameters
    ----------
    source : str or Path
        A file, or a folder or glob of sections.
    out : str or Path
        The file to write; ends in .tif or .zarr.
    config : PredictConfig
        With what, how, and what to write.
    report : callable
        Is handed a `PieceRecord` after each piece, from another thread.

    Returns
    -------
    PredictResult
        Facts about the output.

    Raises
    ------
    SfsegError
        As `sfseg.prediction.jobs.plan_jobs`, `Model.load` and `predict_file` do.
    OSError
        If a file cannot be read or written.
    """
    if Path(out).suffix.lower() not in STACK_SUFFIXES:
        raise OptionError(
            f"{out}: expected a name ending in {' or '.join(STACK_SUFFIXES)}, found another",
            hint="sfseg.prediction.predict.predict_files predicts many stacks into a folder",
        )
    (job,) = plan_jobs([str(source)], Path(out), overwrite=config.overwrite, resume=config.resume)
    return predict_file(job, Model.load(config), config, report=report)


def predict_files(
    jobs: Sequence[Job],
    model: Model,
    config: PredictConfig,
    *,
    report: Report = lambda _: None,
    tell: Tell = lambda _: None,
) -> Iterator[PredictResult | Failure]:
    """Predict stacks one after the other; a bad one does not stop the others.

    Yields
    ------
    PredictResult or Failure
        In the order of the jobs.
    """
    for job in jobs:
        try:
            yield predict_file(job, model, config, report=report, tell=tell)
        except (SfsegError, OSError) as error:
            yield Failure(job, error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            yield Failure(job, _too_little_memory(job, error))


def predict_file(
    job: Job,
    model: Model,
    config: PredictConfig,
    *,
    report: Report = lambda _: None,
    tell: Tell = lambda _: None,
) -> PredictResult:
    """Predict one stack, piece by piece, to a file that is whole or not there.

    Parameters
    ----------
    job : Job
        Input and output.
    model : Model
        The network, made ready.
    config : PredictConfig
        What to write.
    report : callable
        Is handed a `PieceRecord` before the first and after each piece, from another thread.
    tell : callable
        Is handed sentences that the person should read.

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
        If the output exists, or what is no record has the name of its record, and
        ``config.overwrite`` is False.
    ResumeError
        If ``config.resume`` is True and what is there came from another input, other weights or
        other options.
    OSError
        If a file cannot be read or written. What is done is kept for ``config.resume``.
    """
    started = time.monotonic()
    refuse_foreign_record(job.output, overwrite=config.overwrite)
    with _naming(job.source):
        opened = io.open_stack(job.source, axes=config.axes)
    with opened as stack:
        with _naming(job.source):
            identity = provenance.identity(
                job.source,
                stack,
                config,
                model.engine,
                limit_px=plan.limit_px(model.engine, stack, config, model.halo_px),
                weights_sha256=model.weights_sha256,
            )
        if config.resume and (found := _finished_before(job.output, identity, config)):
            clear_lock(job.output)
            return _result_of_record(job, stack, found)
        work: ResumableOutput | None = None
        try:
            with open_resumable(
                job.output, identity, resume=config.resume, overwrite=config.overwrite
            ) as work:
                prediction = PredictionRun(job, stack, model, config, work, report, tell)
                result = prediction.run(started)
                work.record = prediction.record(result)
        except BaseException:
            if work is not None and work.kept:
                tell(f"{job.output}: what is done is kept: the same command with --resume goes on")
            raise
        return result


@contextlib.contextmanager
def _naming(source: str) -> Iterator[None]:
    """Name the input in an error of the system that names no file: a read that fails does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or source
        raise


def _too_little_memory(job: Job, error: BaseException) -> DeviceError:
    found = DeviceError(
        f"{job.source}: expected enough memory to predict it, found none left: {error}",
        hint="end other programs, or give smaller tiles, as in --tile 256",
    )
    found.__cause__ = error
    return found


def _finished_before(
    output: Path, identity: Mapping[str, Any], config: PredictConfig
) -> dict[str, Any] | None:
    """Return the record of an output that is there and is what is wanted, else None."""
    if not output.exists() or is_unfinished(output):
        return None
    found = provenance.read_record(output)
    if found is None:
        return None
    if lines := provenance.differences_of(found, identity):
        if config.overwrite:
            return None
        raise ResumeError(
            f"{output}: expected what these options make, found the output of others:\n"
            + "\n".join(lines),
            hint="give another name, or --overwrite to replace it",
        )
    if found["output"] and found["output"] != {"sha256": io.hash_input(output)}:
        if config.overwrite:
            return None
        raise ResumeError(
            f"{output}: expected the output that its record tells of, found other pixels",
            hint="give another name, or --overwrite to replace it",
        )
    return found


def _result_of_record(job: Job, stack: io.Stack, found: Mapping[str, Any]) -> PredictResult:
    """Tell of an output that a run before has finished."""
    return PredictResult(
        job,
        stack.shape,
        stack.voxel_size_nm,
        interior_share=found["interior_share"],
        blank_sections=found["blank_sections"],
        seconds=0.0,
        stages={},
        resumed=found["pieces"],
        pieces=found["pieces"],
    )
