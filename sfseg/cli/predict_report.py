"""What `sfseg predict` says: what is predicted and with what, how far it is, how it ended."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfseg.cli.console import say, say_error
from sfseg.cli.progress import ProgressDisplay
from sfseg.config import PredictConfig
from sfseg.types import format_count, format_time, voxel_as_json

if TYPE_CHECKING:
    from sfseg.prediction.estimate import Estimate
    from sfseg.prediction.jobs import Job
    from sfseg.prediction.model import Model
    from sfseg.prediction.predict import Failure
    from sfseg.prediction.run import PredictResult, TileRecord

WORTH_TELLING_S = 30
"""Seconds left from which a line says so, once."""

HOUR_S = 3600

MACHINES = (1, 10, 100)
"""For so many machines `--dry-run` says how long the work takes."""

_WARNING = "warning: "


def describe_jobs(jobs: "Sequence[Job]", config: PredictConfig) -> str:
    """Say what is predicted with which weights, before the weights are loaded."""
    if config.finish:
        return f"checking the parts of {jobs[0].output}"
    what = jobs[0].source if len(jobs) == 1 else f"{len(jobs)} stacks"
    if config.sections is not None:
        what = f"sections {config.sections} of {what}"
    return f"predicting {what} with {config.model}"


def describe_model(config: PredictConfig, model: "Model") -> str:
    """Say which network runs on which device, with which engine and arithmetic."""
    from sfseg.prediction.engines import describe

    notice = f"\nwarning: {model.choice.notice}" if model.choice.notice else ""
    where = describe(model.engines, model.choice.dtype)
    return f"{config.model} ({model.header.arch}) on {where}{notice}"


def reporter(bar: ProgressDisplay) -> "Callable[[TileRecord], None]":
    """Say what is planned, show the progress, and once how long it may take."""
    first = 0

    def report(record: "TileRecord") -> None:
        nonlocal first
        if record.seconds_left is None:
            first = record.done + 1
            say(f"{record.source}: {record.description}")
            if record.plan.pixels.note:
                say(record.plan.pixels.note)
            say(str(record.plan))
            if record.done:
                say(f"continuing after {record.done} of {record.total} tiles")
        elif record.done == first and record.seconds_left > WORTH_TELLING_S:
            say(f"about {format_time(record.seconds_left)} left")
        note = f"{Path(record.source).name} {record.done}/{record.total}"
        bar.update(record.done, record.total, note, record.seconds_left)

    return report


def say_result(result: "PredictResult | Failure") -> None:
    """Say on stderr how the prediction of one input ended."""
    from sfseg.prediction.predict import Failure

    if isinstance(result, Failure):
        say_error(result.error)
        return
    which = f"sections {result.sections}: " if result.sections else ""
    if result.resumed == result.tiles:
        say(f"{result.job.output}: {which}finished already")
    else:
        say(f"{result.job.output}: {which}done in {result.seconds:.1f} s")
    if result.sections:
        say("after the last part, run the same command with --finish in place of --sections")
    if result.empty_share:
        say(
            f"{result.empty_share:.1%} of the pixels hold no tissue (borders or other areas of one "
            "grey value): they are 0 in the output"
        )
    for warning in result.warnings:
        say(f"warning: {warning}")


def reason_of(failure: "Failure") -> str:
    """Say in a line why an input could not be predicted."""
    text = str(failure.error).partition("\nhint: ")[0]
    return " ".join(text.removeprefix(f"{failure.job.source}: ").split())


def as_dict(result: "PredictResult | Failure") -> dict[str, Any]:
    """Turn a result into JSON."""
    from sfseg.prediction.predict import Failure

    job = {"input": result.job.source, "output": str(result.job.output)}
    if isinstance(result, Failure):
        return {**job, "error": str(result.error)}
    pixel_note = result.pixel_note.removeprefix(_WARNING)
    is_warning = pixel_note != result.pixel_note
    return {
        **job,
        "shape": result.shape,
        "voxel_size_nm": voxel_as_json(result.voxel_size_nm),
        "interior_share": result.interior_share,
        "empty_share": result.empty_share,
        "blank_sections": result.blank_sections,
        "warnings": [
            *result.read_notes,
            *([pixel_note] if is_warning else []),
            *result.warnings,
        ],
        "notes": [pixel_note] if pixel_note and not is_warning else [],
        "seconds": result.seconds,
        "stages": result.stages,
        **({"sections": result.sections} if result.sections else {}),
        "pieces": result.tiles,
        "resumed": result.resumed,
    }


def describe_estimate(estimate: "Estimate", price: float | None) -> str:
    """Say what the prediction of a stack will take, in some lines."""
    rate = f"{estimate.px_per_s / 1e6:.3g} megapixels a second"
    lines = [
        f"{estimate.job.source}: {estimate.description}",
        str(estimate.plan),
        f"trial: {estimate.trial_px / 1e6:.3g} megapixels, {rate}, on {estimate.device}",
        f"{format_count(estimate.sections, 'section')}: {format_bytes(estimate.read_bytes)} "
        f"to read and {format_bytes(estimate.written_bytes)} to write, before compression",
    ]
    for machines in MACHINES:
        seconds = estimate.seconds(machines)
        reading, writing = map(format_bytes, estimate.bytes_per_s(machines))
        cost = "" if price is None else f", for {machines * seconds / HOUR_S * price:.2f}"
        lines.append(
            f"  {machines:3} {'machine ' if machines == 1 else 'machines'} like this one: "
            f"{format_long_time(seconds)}{cost}; the storage gives {reading} a second and takes "
            f"{writing}"
        )
    return "\n".join(lines)


def estimate_as_dict(estimate: "Estimate", price: float | None) -> dict[str, Any]:
    """Turn an estimate into JSON."""
    hours = {machines: estimate.seconds(machines) / HOUR_S for machines in MACHINES}
    return {
        "input": estimate.job.source,
        "output": str(estimate.job.output),
        "shape": estimate.plan.shape,
        "sections": estimate.sections,
        "tiles": estimate.sections * estimate.plan.tiles,
        "tile_px": estimate.plan.tile_px,
        "peak_bytes": estimate.plan.peak_bytes,
        "read_bytes": estimate.read_bytes,
        "written_bytes": estimate.written_bytes,
        "device": estimate.device,
        "px_per_s": estimate.px_per_s,
        "machines": [
            {"count": count, "hours": each}
            | ({} if price is None else {"cost": count * each * price})
            for count, each in hours.items()
        ],
    }


def format_bytes(count: float) -> str:
    """Write a number of bytes with three digits: 2.44 TiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} PiB"


def format_long_time(seconds: float) -> str:
    """Write a duration of up to years: 45 s, 12:03, 5.4 h or 120 days."""
    if seconds < HOUR_S:
        return format_time(seconds)
    hours = seconds / HOUR_S
    return f"{hours:.3g} h" if hours < 100 else f"{hours / 24:.3g} days"
