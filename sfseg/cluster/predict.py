"""Predict stacks on a Dask cluster: the same bytes as on one machine.

The machine that asks cuts the stack into blocks, sends them out, and notes the finished ones. The
workers read, predict and write.
"""

import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from sfseg import io
from sfseg.cluster import worker
from sfseg.cluster.blocks import GROUP_PX, block_px, missing_blocks, section_blocks
from sfseg.cluster.connect import Cluster
from sfseg.cluster.failures import Failures
from sfseg.cluster.feed import MOST_TRIES, Call, Feed
from sfseg.cluster.worker import Choices, Destination, Done, Order, Survey, WeightsPlugin
from sfseg.config import PredictConfig
from sfseg.models.header import Header
from sfseg.models.weights import open_weights
from sfseg.prediction.jobs import Job
from sfseg.prediction.plan import Plan
from sfseg.prediction.record import versions_of
from sfseg.prediction.resumable import ResumableOutput
from sfseg.prediction.run import OnTile, PredictionRun
from sfseg.prediction.setup import PredictSetup, pixels_of
from sfseg.prediction.tile_writer import OtherMap, output_dtype
from sfseg.transforms.pixel_size import PixelChoice
from sfseg.types import Say

R = TypeVar("R")


@dataclass(frozen=True)
class ClusterModel:
    """A trained network on the workers of a cluster; a `sfseg.prediction.backend.Backend`.

    Attributes
    ----------
    cluster : Cluster
        Where it runs.
    header : Header
        Facts from the weights file.
    weights_sha256 : str
        SHA-256 of the weights file, whose bytes every worker gets.
    """

    cluster: Cluster
    header: Header
    weights_sha256: str
    _feed: Feed = field(repr=False)
    _choices: dict[str, Choices] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, cluster: Cluster, config: PredictConfig, *, say: Say) -> "ClusterModel":
        """Wait for a worker, check the versions, and send the weights.

        Parameters
        ----------
        cluster : Cluster
            Where to run.
        config : PredictConfig
            Its ``model`` counts.
        say : callable
            Called with lines of text for the person who waits.

        Returns
        -------
        ClusterModel
            Ready to predict.

        Raises
        ------
        UnknownNameError, CheckpointError
            If the weights are missing or unusable.
        ClusterError
            If a worker has other versions, or the connection is lost.
        """
        file = open_weights(config.model)
        sha256 = io.hash_input(file.path)
        feed = Feed(cluster, say)
        feed.wait_for_worker()
        cluster.require_versions(versions_of(config.engine))
        with cluster.explain_errors():
            cluster.client.register_plugin(WeightsPlugin(sha256, file.path.read_bytes()))
        return cls(cluster, file.header, sha256, feed)

    def choose_pixels(self, stack: io.Stack, config: PredictConfig) -> PixelChoice:
        """Decide whether the sections of a stack are resampled."""
        return pixels_of(self.header, stack, config)

    def resolve(self, stack: io.Stack, config: PredictConfig) -> dict[str, Any]:
        """Let a worker choose engine, arithmetic and tiles; see `Model.resolve`.

        ``block_px`` says how large sections are cut into blocks, which then are cut into tiles.
        """
        if stack.name not in self._choices:
            self._choices[stack.name] = self._ask(worker.choose, self._order(stack, config, ""))
        resolved = self._choices[stack.name].resolved
        is_resampled = self.choose_pixels(stack, config).network_nm is not None
        if config.needs_sections or is_resampled or self.header.input_px is not None:
            return resolved
        file_px = io.shard_px("map.zarr", stack.shape, output_dtype(config))
        size = block_px((stack.shape[1], stack.shape[2]), file_px)
        return resolved if size is None else {**resolved, "block_px": list(size)}

    def calibrated(self, *_arguments: object, **_options: object) -> "ClusterModel":
        """Return this: the worker that chooses calibrates, too."""
        return self

    def start(
        self,
        job: Job,
        stack: io.Stack,
        config: PredictConfig,
        resolved: Mapping[str, Any],  # noqa: ARG002 - workers resolve for themselves
        work: ResumableOutput,
        *,
        report: OnTile,
        say: Say,
        others: Sequence[OtherMap] = (),
    ) -> "ClusterRun":
        """Prepare the prediction of a stack; see `Model.start`."""
        for line in self._choices[stack.name].said:
            say(line)
        order = self._order(stack, config, json.dumps(work.identity["resolved"]))
        order = replace(order, run=secrets.token_hex(8))
        survey = self._ask(worker.survey, order)
        say(f"workers compute on {survey.device}")
        if survey.warning:
            say(f"warning: {survey.warning}")
        pixels = self.choose_pixels(stack, config)
        setup = PredictSetup((), survey.tiles, (), 1, pixels, None)
        return ClusterRun(
            self.cluster, order, survey, say, job, stack, setup, config, work, report, others
        )

    def _order(self, stack: io.Stack, config: PredictConfig, first_choices: str) -> Order:
        """Say what the workers depend on."""
        # Not resolved: a link may lead elsewhere on a worker.
        source = stack.name if "://" in stack.name else str(Path(stack.name).absolute())
        # A worker uses the GPUs that it sees, whose numbers are its own.
        device = config.device.partition(":")[0]
        return Order(
            source,
            stack.shape,
            str(stack.dtype),
            replace(config, device=device, resume=False, overwrite=False),
            self.weights_sha256,
            tuple(versions_of(config.engine).items()),
            first_choices,
        )

    def _ask(self, function: Callable[[Order], R], order: Order) -> R:
        """Call a function on a worker; raises what it raises."""
        workers: list[str | None] = list(self.cluster.threads())
        *others, last = workers[:MOST_TRIES] or [None]
        for each in others:
            with contextlib.suppress(OSError):  # its disk may be full
                return self._ask_worker(function, order, each)
        return self._ask_worker(function, order, last)

    def _ask_worker(self, function: Callable[[Order], R], order: Order, each: str | None) -> R:
        """Call a function on one worker, or on any if that one ends."""
        options = {} if each is None else {"workers": [each], "allow_other_workers": True}
        with self.cluster.explain_errors():
            future = self.cluster.client.submit(function, order, pure=False, **options)
        result: R = self._feed.wait_for(future)
        return result


class ClusterRun(PredictionRun):
    """Let workers predict and write the blocks that are missing in an output.

    Parameters
    ----------
    cluster : Cluster
        Where they are.
    order : Order
        What they need to know.
    survey : Survey
        What one of them found.
    say : callable
        Called with lines of text for the person who waits.
    *arguments
        Those of `PredictionRun`.
    """

    def __init__(
        self, cluster: Cluster, order: Order, survey: Survey, say: Say, *arguments: Any
    ) -> None:
        self._cluster, self._order, self._survey, self._say = cluster, order, survey, say
        size = json.loads(order.first_choices).get("block_px")
        self._blocks = section_blocks(order.shape, survey.tiles, size and (size[0], size[1]))
        super().__init__(*arguments)

    def _make_plan(self) -> Plan:
        """Return the plan of a worker."""
        return self._survey.plan

    def _device(self) -> str:
        """Describe what computes on a worker."""
        return self._survey.device

    def _forget_unfinished(self) -> None:
        """Start unfinished blocks again: their tiles were only in memory, or in half a file."""
        tiles, finished = len(self._survey.tiles), self.work.finished
        for section, block in product(range(len(self.stack)), self._blocks):
            numbers = list(block.of(range(section, section + 1)).numbers(tiles))
            if not all(number in finished for number in numbers):
                for number in numbers:
                    finished.pop(number, None)

    def _predict(self) -> dict[str, float]:
        """Send the missing blocks to the workers; return the seconds of each stage, added up."""
        part, name = self.work.part.absolute(), str(self.job.output)
        feed = Feed(self._cluster, self._say)
        with self._canvas() as canvas, io.writing_ticket(part, name) as ticket:
            destination = Destination(part, name, ticket)
            stages = self._predict_blocks(feed, destination, canvas)
            if self.config.multiscale:
                self._say("making the smaller levels")
                self._add_levels(feed, destination)
        return stages

    def _predict_blocks(
        self, feed: Feed, destination: Destination, canvas: io.Canvas
    ) -> dict[str, float]:
        """Predict the missing blocks; raises BlocksError if some failed, after the others."""
        stages, failures = Counter[str](), Failures(str(self.job.output))
        for call, result in feed.run(self._calls(destination)):
            failures.note(call.tag.place(self.stack.shape), result)
            if isinstance(result, Done):
                stages.update(result.stages)
                for number, facts in result.facts:
                    self._mark_done(canvas, number, facts)
        failures.require_none()
        return dict(stages)

    def _calls(self, destination: Destination) -> Iterator[Call]:
        """Make the calls for the missing blocks; those of a section share its grey values."""
        threads = sum(self._cluster.threads().values())
        blocks = missing_blocks(self.stack.shape, self._blocks, self.work.finished, threads)
        for sections, group in groupby(blocks, lambda block: block.sections):
            measured = None
            if len(self._blocks) > 1:
                with self._cluster.explain_errors():
                    measured = self._cluster.client.submit(
                        worker.measure, self._order, sections[0], pure=False
                    )
            for block in group:
                arguments = self._order, destination, block, measured
                yield Call(worker.predict_block, arguments, block)

    def _add_levels(self, feed: Feed, destination: Destination) -> None:
        """Make the pyramid of each section; raises BlocksError if that fails."""
        failures, depth = Failures(str(self.job.output)), len(self.stack)
        count = max(GROUP_PX // prod(self.stack.shape[1:]), 1)
        groups = (range(z, min(z + count, depth)) for z in range(0, depth, count))
        calls = (Call(worker.add_levels, (self._order, destination, each), each) for each in groups)
        for call, result in feed.run(calls):
            failures.note(self._blocks[0].of(call.tag).place(self.stack.shape), result)
        failures.require_none()
