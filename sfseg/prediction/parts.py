"""Predict an output in parts, by processes of their own, and make the whole of them."""

import time
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.identity import differences
from sfseg.models.weights import Header, open_weights
from sfseg.prediction.backend import Backend
from sfseg.prediction.jobs import Job
from sfseg.prediction.opening import add_file_name, open_source, refuse_damage, tell_what_is_kept
from sfseg.prediction.part_storage import PartStorage, open_part
from sfseg.prediction.parts_checks import as_name, require_parts
from sfseg.prediction.parts_folder import PartsFolder
from sfseg.prediction.receipt import Receipt
from sfseg.prediction.record import make_identity, make_record, read_record
from sfseg.prediction.run import (
    OnTile,
    PredictResult,
    describe_totals,
    result_facts,
    result_of_record,
)
from sfseg.prediction.setup import pixels_of
from sfseg.prediction.tile_writer import output_dtype
from sfseg.types import Say, parse_sections


def predict_part(
    job: Job, model: Backend, config: PredictConfig, *, report: OnTile, say: Say
) -> PredictResult:
    """Predict some sections of an output that other processes write to as well.

    The parameters and errors are those of `sfseg.prediction.predict.predict_job`.
    """
    started = time.monotonic()
    require_parts(job.output, config)
    io.require_writable(str(job.output), output_dtype(config))
    folder = PartsFolder(job.output)
    folder.refuse_other(overwrite=config.overwrite)
    with open_source(job, config, say) as stack:
        part = PartStorage(folder, as_name(str(config.sections), len(stack)), len(stack))
        with add_file_name(job.source):
            model = model.calibrated(stack, config, say=say)
        resolved = model.resolve(stack, config)
        identity = _identify(job, stack, config, resolved, model.weights_sha256, model.header)
        with tell_what_is_kept(open_part(part, identity, config), job.output, say) as work:
            if (receipt := part.read_receipt()) is not None:
                note = model.choose_pixels(stack, config).note
                return _add_up(job, stack, [receipt], config, note)
            refuse_damage(work, job.output)
            run = model.start(job, stack, config, resolved, work, report=report, say=say)
            result = run.run(started)
            receipt = Receipt(part.name, run.facts(result), run.add_up(), part.hash_files())
            work.record = receipt.to_json()
        return result


def finish_job(job: Job, config: PredictConfig, *, say: Say = lambda _: None) -> PredictResult:
    """Make the output of its parts; see `PredictConfig.sections`.

    Parameters
    ----------
    job : Job
        Input and output.
    config : PredictConfig
        The options of the parts.
    say : callable
        Called with lines of text for the person who waits.

    Returns
    -------
    PredictResult
        Facts about the output. It has the same bytes as if one process had made it.

    Raises
    ------
    ResumeError
        If a section is missing, or the parts have other input or options.
    OutputExistsError
        If another run is writing the output, or it exists and may not be replaced.
    """
    require_parts(job.output, config)
    folder, weights = PartsFolder(job.output), open_weights(config.model)
    with open_source(job, config, say) as stack:
        sha256 = io.hash_input(weights.path)
        note = pixels_of(weights.header, stack, config).note

        def identify(other: Mapping[str, Any], *, taken: Sequence[str]) -> dict[str, Any]:
            own = _identify(job, stack, config, other["resolved"], sha256, weights.header)
            return own | {name: other[name] for name in taken}

        before = read_record(job.output) if folder.is_published else None
        if before is not None:
            was = before["identity"]
            if not differences(was, identify(was, taken=("input", "versions"))):
                folder.clear()
                return result_of_record(job, stack, before, note)
        shared = folder.identity()
        folder.require_same(identify(shared, taken=("versions",)))  # it computes no pixel
        with folder.finishing(overwrite=config.overwrite):
            receipts = folder.require_all(len(stack), say)
            say(f"all {len(stack)} sections are there; hashing {job.source} for the record")
            result = _add_up(job, stack, receipts, config, note)
            with add_file_name(job.source):
                found = {"sha256": stack.sha256(), **shared["input"]}
            del found["stamp"]
            facts = _facts(result, receipts, folder.hash(receipts))
            record = make_record(shared | {"input": found}, stack, config, facts)
            folder.publish(record, overwrite=config.overwrite)
    return result


def _identify(
    job: Job,
    stack: io.Stack,
    config: PredictConfig,
    resolved: Mapping[str, Any],
    weights_sha256: str,
    header: Header,
) -> dict[str, Any]:
    """Make the identity of a part: with a stamp of the input, which is hashed at the end only."""
    with add_file_name(job.source):
        input_id = {"stamp": io.stamp_input(job.source)}
    pixels = pixels_of(header, stack, config)
    return make_identity(
        stack, config, resolved, input_id=input_id, weights_sha256=weights_sha256, pixels=pixels
    )


def _add_up(
    job: Job, stack: io.Stack, receipts: Sequence[Receipt], config: PredictConfig, pixel_note: str
) -> PredictResult:
    """Make the result of parts that are whole: of all of them, or of one that was made before."""
    depth = sum(len(parse_sections(each.sections, len(stack))) for each in receipts)
    shape, facts = (depth, *stack.shape[1:]), [each.facts for each in receipts]
    totals, tiles = [each.totals for each in receipts], sum(each["pieces"] for each in facts)
    described = describe_totals(totals, prod(shape), inverted=config.invert_image)
    return PredictResult(
        job,
        shape,
        stack.voxel_size_nm,
        **described,
        seconds=sum(each["seconds"] for each in facts),
        stages={name: sum(each["stages"][name] for each in facts) for name in facts[0]["stages"]},
        resumed=tiles if config.sections else sum(each["resumed"] for each in facts),
        tiles=tiles,
        sections=receipts[0].sections if config.sections else None,
        read_notes=stack.notes,
        pixel_note=pixel_note,
    )


def _facts(result: PredictResult, receipts: Sequence[Receipt], sha256: str) -> dict[str, Any]:
    """Gather the facts for the record beside the output, in types that JSON can hold."""
    devices = "; ".join(sorted({each.facts["device"] for each in receipts}))
    parts = [
        {"sections": each.sections} | {name: each.facts[name] for name in ("device", "seconds")}
        for each in receipts
    ]
    return result_facts(result, devices, receipts[0].facts["plan"], sha256) | {"parts": parts}
