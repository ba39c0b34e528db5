"""A prediction under way: read ahead, compute, write behind, and remember what is done."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from math import prod

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.prediction import plan as plans
from sfseg.prediction import provenance
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model, Tell
from sfseg.prediction.pipeline import WriteBehind, read_ahead
from sfseg.prediction.plan import Plan
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.resumable import ResumableOutput
from sfseg.prediction.tile_reader import Piece, read_pieces
from sfseg.prediction.tile_writer import SectionWriter, Writer, output_dtype
from sfseg.prediction.tiles import Tile
from sfseg.types import Probability, Shape, VoxelSize

FLUSH_S = 5.0
"""What is done is made safe this often; so much work is lost at a kill, at most."""


@dataclass(frozen=True)
class PieceRecord:
    """One piece done, a tile of a section or a whole one, as it is reported.

    Attributes
    ----------
    source, description : str
        The input, and what it is.
    plan : Plan
        What is to be done.
    done, total : int
        Pieces done, those of an interrupted run included, and how many there are.
    seconds_left : float or None
        Estimate from the pieces so far; None before the first.
    """

    source: str
    description: str
    plan: Plan
    done: int
    total: int
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
    stages : mapping of str to float
        Seconds that reading, computing and writing took; they overlap.
    resumed : int
        Pieces that an interrupted run had done; all of them where the output was there already.
    pieces : int
        All pieces.
    """

    job: Job
    shape: Shape
    voxel_size_nm: VoxelSize | None
    interior_share: float
    blank_sections: int
    seconds: float
    stages: Mapping[str, float]
    resumed: int
    pieces: int


Report = Callable[[PieceRecord], None]


class PredictionRun:
    """One prediction under way.

    Parameters
    ----------
    job : Job
        Input and output.
    stack : Stack
        The open input.
    model : Model
        The network, made ready.
    config : PredictConfig
        What to write.
    work : ResumableOutput
        What is done already, and where to note what gets done.
    report : callable
        Is handed a `PieceRecord` before the first and after each piece, from another thread.
    tell : callable
        Is handed sentences that the person should read.
    """

    def __init__(
        self,
        job: Job,
        stack: io.Stack,
        model: Model,
        config: PredictConfig,
        work: ResumableOutput,
        report: Report,
        tell: Tell,
    ) -> None:
        self.job, self.stack, self.config, self.work = job, stack, config, work
        self.predictor, self.engine = model.predictor(config, work.identity["resolved"], tell)
        if config.tile_px is not None and self.predictor.input_px is not None:
            side = self.predictor.input_px
            tell(f"tile: without effect, for these weights take sections resized to {side}x{side}")
        self.tiles: list[Tile] = self.predictor.tiles((stack.shape[1], stack.shape[2]))
        # The tiles are those of the first run; each is cut further where there is less memory now.
        now_px = plans.limit_px(self.engine, stack, config, model.halo_px)
        self.predictor.limit_px = min(work.identity["resolved"]["limit_px"], now_px)
        self.predictor.batch = plans.batch_size(self.engine, self.tiles, config)
        self.plan = Plan.from_tiles(self.tiles, self.engine, stack, config, self.predictor.input_px)
        self.total = len(stack) * len(self.tiles)
        if config.needs_sections:
            self._forget_parts_of_sections()
        self.before = len(work.finished)
        self._report, self._began = report, time.monotonic()
        self._flushed = self._began

    def run(self, started: float) -> PredictResult:
        """Do what is left to do, and add up the facts.

        Parameters
        ----------
        started : float
            When it all began, by `time.monotonic`.

        Returns
        -------
        PredictResult
            Facts about the output.
        """
        self._say()
        stages = {} if self.work.complete else self._predict()
        facts = self.work.finished
        blank = sum(facts[n]["blank"] > 0 for n in range(0, self.total, len(self.tiles)))
        interior = sum(fact["interior"] for fact in facts.values())
        return PredictResult(
            self.job,
            self.stack.shape,
            self.stack.voxel_size_nm,
            interior_share=interior / prod(self.stack.shape),
            blank_sections=blank,
            seconds=time.monotonic() - started,
            stages=stages,
            resumed=self.before,
            pieces=self.total,
        )

    def _predict(self) -> dict[str, float]:
        """Read, compute and write what is not finished; return the seconds of each stage."""
        numbers = [n for n in range(self.total) if n not in self.work.finished]
        pieces = read_pieces(self.stack, self.tiles, numbers)
        computing = 0.0
        with self._canvas() as canvas:
            writer = self._writer(canvas)

            def write(done: tuple[Piece, Probability]) -> None:
                for number, facts in writer.put(*done):
                    self._mark_done(canvas, number, facts)

            with read_ahead(pieces, depth=1) as ahead, WriteBehind(write, depth=1) as behind:
                for batch in _batches(ahead, self.predictor):
                    began = time.perf_counter()
                    results = self.predictor.predict(
                        [piece.window for piece in batch],
                        [piece.levels for piece in batch],
                        batch[0].tile.keep,
                    )
                    computing += time.perf_counter() - began
                    for done in zip(batch, results, strict=True):
                        behind.put(done)
                    del batch, results, done  # else they would be in memory beside the next
            canvas.finish()
        return {"read_s": ahead.busy_s, "compute_s": computing, "write_s": behind.busy_s}

    def _canvas(self) -> io.Canvas:
        """Make the output, or open what an interrupted run has left of it."""
        part, name, shape = self.work.part, str(self.job.output), self.stack.shape
        dtype = output_dtype(self.config)
        if not self.work.fresh:
            return io.reopen_canvas(part, name, shape, dtype)
        return io.create_canvas(
            part,
            name,
            shape,
            dtype,
            voxel_size_nm=self.stack.voxel_size_nm,
            multiscale=self.config.multiscale,
        )

    def _writer(self, canvas: io.Canvas) -> Writer | SectionWriter:
        if self.config.needs_sections:
            return SectionWriter(canvas, self.config, self.work.finished)
        return Writer(canvas, self.config)

    def _mark_done(self, canvas: io.Canvas, number: int, facts: Mapping[str, float]) -> None:
        """Note a piece that is on the canvas; make it safe every few seconds."""
        self.work.mark(number, facts)
        if time.monotonic() - self._flushed > FLUSH_S:
            canvas.flush()
            self.work.sync()
            self._flushed = time.monotonic()
        self._say()

    def _forget_parts_of_sections(self) -> None:
        """Do a section anew unless all of it is done: it is written when it is whole."""
        tiles = len(self.tiles)
        for section in range(len(self.stack)):
            numbers = range(section * tiles, (section + 1) * tiles)
            if not all(number in self.work.finished for number in numbers):
                for number in numbers:
                    self.work.finished.pop(number, None)

    def _say(self) -> None:
        done = len(self.work.finished)
        now = done - self.before
        left = None
        if now:
            left = (time.monotonic() - self._began) / now * (self.total - done)
        self._report(
            PieceRecord(self.job.source, self.stack.describe(), self.plan, done, self.total, left)
        )

    def record(self, result: PredictResult) -> str:
        """Write the record that lies beside the output, as JSON."""
        facts = {
            "output": {"sha256": io.hash_input(self.work.part)} if not self.work.complete else None,
            "plan": str(self.plan),
            "seconds": round(result.seconds, 3),
            "stages": {name: round(seconds, 3) for name, seconds in result.stages.items()},
            "pieces": result.pieces,
            "resumed": result.resumed,
            "interior_share": result.interior_share,
            "blank_sections": result.blank_sections,
        }
        return provenance.record(
            self.work.identity, self.job.source, self.stack, self.config, self.engine, facts
        )


def _batches(pieces: Iterable[Piece], predictor: Predictor) -> Iterator[list[Piece]]:
    """Group pieces of one size and one kept part; the batch may shrink on the way."""
    for _, group in groupby(pieces, lambda piece: (piece.window.shape, piece.tile.keep)):
        while batch := list(islice(group, predictor.batch)):
            yield batch
