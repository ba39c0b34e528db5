"""Predict one open stack into a resumable output, and report progress."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import prod
from typing import Any

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.prediction.compute import predict_tiles
from sfseg.prediction.contrast import contrast_warning
from sfseg.prediction.engines import describe
from sfseg.prediction.jobs import Job
from sfseg.prediction.plan import Plan
from sfseg.prediction.resumable import ResumableOutput
from sfseg.prediction.setup import PredictSetup
from sfseg.prediction.tile_reader import read_tiles
from sfseg.prediction.tile_writer import (
    FinishedTile,
    OtherMap,
    finish_tile,
    make_writer,
    output_dtype,
)
from sfseg.types import Shape, VoxelSize, describe_shape, format_sections

FLUSH_S = 5.0
"""Finished tiles are flushed and recorded this often; a kill loses at most so much work.

Until the hash of the input is known, none are recorded; see `sfseg.prediction.resumable`.
"""

PLAUSIBLE_SHARE = (0.01, 0.99)
"""Share of the pixels that is inside cells: what is beyond is no map of membranes."""


@dataclass(frozen=True)
class TileRecord:
    """How far a prediction is, reported before the first and after each tile.

    Attributes
    ----------
    source, description : str
        The input, and its shape, type and voxel size in words.
    plan : Plan
        Number and size of the tiles.
    done, total : int
        Finished tiles, including those of an interrupted run, and all tiles.
    seconds_left : float or None
        Estimate from the tiles so far; None before the first.
    """

    source: str
    description: str
    plan: Plan
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class PredictResult:
    """One finished output.

    Attributes
    ----------
    job : Job
        Input and output.
    shape : tuple of int
        (Z, Y, X).
    voxel_size_nm : tuple of float or None
        Copied from the input.
    interior_share : float
        Mean of the interior probability in tissue; near 0 or 1, something is wrong with the input.
    empty_share : float
        Share of the pixels that hold no tissue, such as borders; they are 0 in the output.
    blank_sections : int
        Sections with a single grey value, in which the network can see nothing.
    seconds : float
        From opening the input to the last pixel written.
    stages : mapping of str to float
        Seconds of reading, computing and writing, which overlap.
    resumed : int
        Tiles that an interrupted run had finished; all of them if the output existed already.
    tiles : int
        All tiles.
    sections : str or None
        The sections, from 1, of a part; None = all.
    warnings : tuple of str
        What looks wrong, in a sentence each.
    read_notes : tuple of str
        How the input is read, where that is not obvious.
    pixel_note : str
        What is assumed of its pixel size; empty where nothing is.
    """

    job: Job
    shape: Shape
    voxel_size_nm: VoxelSize | None
    interior_share: float
    empty_share: float
    blank_sections: int
    seconds: float
    stages: Mapping[str, float]
    resumed: int
    tiles: int
    sections: str | None = None
    warnings: tuple[str, ...] = ()
    read_notes: tuple[str, ...] = ()
    pixel_note: str = ""

    def __repr__(self) -> str:
        return (
            f"PredictResult({str(self.job.output)!r}, {describe_shape(self.shape)}, "
            f"{self.interior_share:.0%} inside cells, {self.seconds:.1f} s)"
        )


OnTile = Callable[[TileRecord], None]


class PredictionRun:
    """Predict and write the tiles that are missing in an output.

    Parameters
    ----------
    job : Job
        Input and output.
    stack : Stack
        The open input.
    setup : PredictSetup
        The engine, the tiles of each section, and their predictor.
    config : PredictConfig
        What to write.
    work : ResumableOutput
        The finished tiles, and where to record new ones.
    report : callable
        Called with a `TileRecord` before the first and after each tile, from another thread.
    others : sequence of callable
        Other maps of the stack, to average with.
    """

    def __init__(
        self,
        job: Job,
        stack: io.Stack,
        setup: PredictSetup,
        config: PredictConfig,
        work: ResumableOutput,
        report: OnTile,
        others: Sequence[OtherMap] = (),
    ) -> None:
        self.job, self.stack, self.config, self.work = job, stack, config, work
        self.setup, self._report, self._others = setup, report, others
        self.plan = self._make_plan()
        self.is_part = work.sections is not None
        self.sections = range(len(stack)) if work.sections is None else work.sections
        self.total = len(self.sections) * len(setup.tiles)
        self._forget_unfinished()
        self.resumed_tiles = len(work.finished)
        self._began = self._flushed = time.monotonic()

    def run(self, started: float) -> PredictResult:
        """Predict the missing tiles, and add up the facts of all.

        Parameters
        ----------
        started : float
            Start of the work on this input, by `time.monotonic`.

        Returns
        -------
        PredictResult
            Facts about the output.
        """
        self._report_progress()
        stages = {} if self.work.complete else self._predict()
        totals = self.add_up()
        shape = (len(self.sections), *self.stack.shape[1:])
        described = describe_totals([totals], prod(shape), inverted=self.config.invert_image)
        return PredictResult(
            self.job,
            shape,
            self.stack.voxel_size_nm,
            **described,
            seconds=time.monotonic() - started,
            stages=stages,
            resumed=self.resumed_tiles,
            tiles=self.total,
            sections=format_sections(self.sections) if self.is_part else None,
            read_notes=self.stack.notes,
            pixel_note=self.setup.pixels.note,
        )

    def add_up(self) -> dict[str, float]:
        """Add up the facts of all tiles; ``blank`` counts sections."""
        facts = self.work.finished.values()
        names = {name: None for fact in facts for name in fact}
        totals = {name: sum(fact.get(name, 0) for fact in facts) for name in names}
        # The first tile of a section says whether the section is blank.
        firsts = (self._numbers_of(section)[0] for section in self.sections)
        return {**totals, "blank": sum(self.work.finished[n]["blank"] > 0 for n in firsts)}

    def _numbers_of(self, section: int) -> range:
        """Return the numbers of the tiles of a section."""
        tiles = len(self.setup.tiles)
        return range(section * tiles, (section + 1) * tiles)

    def _make_plan(self) -> Plan:
        """Describe the plan of this run."""
        setup, predictor = self.setup, self.setup.predictors[0]
        return Plan.from_tiles(
            setup.tiles,
            setup.engines[0],
            self.stack,
            self.config,
            predictor.input_px,
            setup.pixels,
        )

    def _device(self) -> str:
        """Describe what computes, for the record."""
        return describe(self.setup.engines)

    def _predict(self) -> dict[str, float]:
        """Read, compute and write the missing tiles; return the seconds of each stage."""
        numbers = chain.from_iterable(map(self._numbers_of, self.sections))
        missing = [number for number in numbers if number not in self.work.finished]
        setup, workers = self.setup, self.setup.workers
        tiles = read_tiles(self.stack, setup.tiles, missing, setup.scaling, workers=workers)
        finish = partial(finish_tile, config=self.config, others=self._others)
        with self._canvas() as canvas:
            writer = make_writer(canvas, self.config, self.work.finished)

            def write(tile: FinishedTile) -> None:
                for number, facts in writer.put(tile):
                    self._mark_done(canvas, number, facts)

            stages = predict_tiles(tiles, setup.predictors, finish, write, workers=workers)
            if self.is_part:  # the others may not be there yet
                for section in self.sections:
                    canvas.add_levels(section)
                canvas.flush()
            else:
                canvas.finish()
        return stages

    @contextlib.contextmanager
    def _canvas(self) -> Iterator[io.Canvas]:
        """Make the output, or open the unfinished one of an interrupted run, or of other parts."""
        part, name, shape = self.work.part, str(self.job.output), self.stack.shape
        layout = (part, name, shape, output_dtype(self.config))
        voxel, multiscale = self.stack.voxel_size_nm, self.config.multiscale
        with contextlib.ExitStack() as stack:
            if self.is_part:
                io.create_shared(*layout, voxel_size_nm=voxel, multiscale=multiscale)
                ticket = stack.enter_context(io.writing_ticket(part, name))
                canvas = io.reopen_canvas(*layout, ticket=ticket)
            elif self.work.starts_empty:
                canvas = io.create_canvas(*layout, voxel_size_nm=voxel, multiscale=multiscale)
            else:
                canvas = io.reopen_canvas(*layout)
            yield stack.enter_context(canvas)

    def _mark_done(self, canvas: io.Canvas, number: int, facts: Mapping[str, float]) -> None:
        """Note a written tile; every few seconds flush and record all of them."""
        self.work.mark(number, facts)
        if time.monotonic() - self._flushed > FLUSH_S:
            canvas.flush()
            self.work.sync()
            self._flushed = time.monotonic()
        self._report_progress()

    def _forget_unfinished(self) -> None:
        """Start unfinished sections again, if their tiles were only in memory."""
        if not self.config.needs_sections:
            return
        for section in self.sections:
            numbers = self._numbers_of(section)
            if not all(number in self.work.finished for number in numbers):
                for number in numbers:
                    self.work.finished.pop(number, None)

    def _report_progress(self) -> None:
        done = len(self.work.finished)
        new_tiles = done - self.resumed_tiles
        left = None
        if new_tiles:
            left = (time.monotonic() - self._began) / new_tiles * (self.total - done)
        self._report(
            TileRecord(self.job.source, self.stack.describe(), self.plan, done, self.total, left)
        )

    def facts(self, result: PredictResult) -> dict[str, Any]:
        """Gather the facts for the record beside the output, in types that JSON can hold."""
        is_hashed = not (self.work.complete or self.is_part)
        sha256 = io.hash_input(self.work.part) if is_hashed else None
        return result_facts(result, self._device(), str(self.plan), sha256)


def result_facts(
    result: PredictResult, device: str, plan: str, sha256: str | None
) -> dict[str, Any]:
    """Gather the facts of an output for the record beside it; its hash may not be known."""
    return {
        "device": device,
        "output": None if sha256 is None else {"sha256": sha256},
        "plan": plan,
        "seconds": round(result.seconds, 3),
        "stages": {name: round(seconds, 3) for name, seconds in result.stages.items()},
        "pieces": result.tiles,
        "resumed": result.resumed,
        "interior_share": result.interior_share,
        "empty_share": result.empty_share,
        "blank_sections": result.blank_sections,
        "warnings": result.warnings,
    }


def result_of_record(
    job: Job, stack: io.Stack, record: Mapping[str, Any], pixel_note: str
) -> PredictResult:
    """Make the result of an output that an earlier run finished."""
    return PredictResult(
        job,
        stack.shape,
        stack.voxel_size_nm,
        interior_share=record["interior_share"],
        empty_share=record.get("empty_share", 0.0),  # older records do not have it
        blank_sections=record["blank_sections"],
        seconds=0.0,
        stages={},
        resumed=record["pieces"],
        tiles=record["pieces"],
        warnings=tuple(record.get("warnings", ())),
        read_notes=stack.notes,
        pixel_note=pixel_note,
    )


def describe_totals(
    totals: Sequence[Mapping[str, float]], pixels: int, *, inverted: bool
) -> dict[str, Any]:
    """Turn the sums of the facts of tiles into those fields of `PredictResult`.

    Parameters
    ----------
    totals : sequence of mapping
        The sums; of an output made in parts, those of each part.
    pixels : int
        Number of all pixels.
    inverted : bool
        Whether ``--invert-image`` was given.

    Returns
    -------
    dict
        ``interior_share``, ``empty_share``, ``blank_sections`` and ``warnings``.
    """
    interior, empty, blank = (
        sum(each.get(name, 0) for each in totals) for name in ("interior", "empty", "blank")
    )
    share = interior / max(pixels - empty, 1)
    return {
        "interior_share": share,
        "empty_share": empty / pixels,
        "blank_sections": int(blank),
        "warnings": tuple(_warnings(totals, pixels - empty, share, int(blank), inverted=inverted)),
    }


def _warnings(
    totals: Sequence[Mapping[str, float]],
    tissue_px: float,
    interior_share: float,
    blank: int,
    *,
    inverted: bool,
) -> Iterator[str]:
    """Warn of an input that the network cannot see as it has learnt to."""
    if blank:
        is_blank = "section is blank: it has" if blank == 1 else "sections are blank: they have"
        yield f"{blank} {is_blank} one grey value only"
    if doubt := contrast_warning(totals, tissue_px, interior_share, inverted=inverted):
        yield doubt
    elif tissue_px and not PLAUSIBLE_SHARE[0] < interior_share < PLAUSIBLE_SHARE[1]:
        yield (
            f"{interior_share:.1%} of the pixels are predicted inside cells: "
            "is the input an EM image of cells?"
        )
