"""The page of `sfseg score`: the numbers, the curves, and where a map is wrong."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from sfseg.io.stack import Stack
from sfseg.report.browser import Browser, Fault, Layer, make_browser
from sfseg.report.charts import Mark, Series, chart
from sfseg.report.colours import colour_cells, colour_errors, match_colours, stretch
from sfseg.report.together import Files, ImageReader, write_together
from sfseg.scoring import thesis
from sfseg.scoring.errors import Errors, SectionErrors
from sfseg.scoring.pair import Pair
from sfseg.scoring.score import Scores, ThresholdScore
from sfseg.scoring.score_files import ScoreReport
from sfseg.types import AnyArray, Shape, describe_shape

NEAR_BEST = 0.9
"""Split against merge is drawn at thresholds with at least this share of the best V_Rand."""

THESIS_SECTIONS = (25, 26, 27, 28, 29, 30)
THESIS_SHAPE = (30, 512, 512)
"""What the thesis scores: the last sections of the training stack of ISBI 2012."""

WHOLE = (0.0, 1.0)
"""The range of a score."""

Measure = Callable[[ThresholdScore], float]


@dataclass(frozen=True)
class Judged:
    """A map, its scores and its errors.

    Attributes
    ----------
    report : ScoreReport
        The scores.
    errors : Errors
        Its errors, at the best threshold of V_Rand.
    """

    report: ScoreReport
    errors: Errors

    @property
    def pair(self) -> Pair:
        """The map and the truth."""
        return self.report.pair

    @property
    def scores(self) -> Scores:
        """The scores."""
        return self.report.scores


def write_score_page(
    path: Path,
    judged: Sequence[Judged],
    *,
    image: Stack | None = None,
    command: str = "",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write the page of one or several maps of the same sections.

    Parameters
    ----------
    path : Path
        The file to write.
    judged : sequence of Judged
        The maps, at most `sfseg.report.together.MOST_PREDICTIONS`.
    image : Stack, optional
        Grey values, as many sections as the map has, or as are scored.
    command : str
        What the user typed.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    tuple of str
        What is not shown, or shown smaller.

    Raises
    ------
    OptionError
        If there are too many maps.
    ShapeMismatchError
        If they differ in their sections, or the grey values do not fit.
    FileExistsError, OSError
        If the page cannot be written.
    """
    files = Files.gather(
        [one.report.prediction for one in judged],
        [one.pair.numbers for one in judged],
        judged[0].report.truth,
        image,
    )
    return write_together(
        path,
        "score",
        files,
        make_score_browser(judged, files.names, image),
        command=command,
        overwrite=overwrite,
        warnings=[warning for one in judged for warning in one.report.warnings],
        judged=judged,
        shape=describe_shape(judged[0].scores.shape),
        charts=draw_charts(judged, files.names),
        columns=["V_Rand", "V_Info", "Dice", "merges", "splits"],
        rows=list_sections(judged),
        thesis=thesis.TABLES["isbi2012"]["sfnet"],
        is_of_thesis=is_of_thesis(judged[0].pair),
    )


def is_of_thesis(pair: Pair) -> bool:
    """Tell whether the sections are, by number and size, those that the thesis scores."""
    return (pair.numbers, map_shape(pair)) == (THESIS_SECTIONS, THESIS_SHAPE)


def map_shape(pair: Pair) -> Shape:
    """Return the shape of the whole stack of a map, with the sections that are not scored."""
    return pair.depth, *pair.labels.shape[1:]


# ---- the browser


def make_score_browser(
    judged: Sequence[Judged], names: Sequence[str], image: Stack | None
) -> Browser:
    """Put grey values, truth, maps, segments and errors into a browser of sections."""
    pair = judged[0].pair
    grey = ImageReader(image, pair.numbers, map_shape(pair)) if image else None
    layers = [Layer("raw", "grey")] if grey else []
    maps = range(len(judged))
    layers += [Layer("map", "grey", i, is_shown=not grey) for i in maps]
    layers += [Layer("truth", "colours", is_shown=False, opacity=0.4)]
    layers += [Layer("segments", "colours", i, is_shown=False, opacity=0.3) for i in maps]
    layers += [Layer("errors", "colours", i) for i in maps]

    def read(index: int) -> list[AnyArray]:
        found = [one.errors.section(index) for one in judged]
        truth = found[0].truth
        colours = colour_cells(truth)
        return [
            *([grey.read(index)] if grey else []),
            *(_as_grey(one.pair.prediction[index]) for one in judged),
            colours.astype(np.uint8)[truth],
            *(_draw_segments(one, colours) for one in found),
            *(colour_errors(one.draw()) for one in found),
        ]

    faults = [
        Fault(
            one.id, one.kind, one.section, one.cost, (one.y, one.x), one.places[0].box, prediction
        )
        for prediction, each in enumerate(judged)
        for one in each.errors.listed
    ]
    return make_browser(
        layers,
        read,
        pair.prediction.shape[1:],
        pair.numbers,
        voxel_size_nm=pair.voxel_size_nm or (image.voxel_size_nm if image else None),
        ranking=rank_sections(judged),
        faults=faults,
        predictions=names,
    )


def rank_sections(judged: Sequence[Judged]) -> list[int]:
    """Return the indices of the sections, the one with the lowest V_Rand of any map first."""
    lowest = np.min([[row.v_rand for row in one.scores.per_section] for one in judged], axis=0)
    order: list[int] = np.argsort(lowest, kind="stable").tolist()
    return order


def _as_grey(probability: AnyArray) -> AnyArray:
    """Turn a map into grey values."""
    if probability.dtype.kind in "fb":
        return stretch(probability, (0, 1))
    return stretch(probability, (0, float(np.iinfo(probability.dtype).max)))


def _draw_segments(found: SectionErrors, colours: AnyArray) -> AnyArray:
    of_segment = match_colours(found.segments, found.truth, colours)
    return of_segment.astype(np.uint8)[found.segments]


# ---- charts and tables


def draw_charts(judged: Sequence[Judged], names: Sequence[str]) -> list[Markup]:
    """Draw the scores over the threshold, and split against merge."""
    if len(judged) == 1:
        drawn = [_draw_all_scores(judged[0].scores)]
    else:
        drawn = [
            _draw_one_score(judged, names, "V_Rand", lambda row: row.v_rand),
            _draw_one_score(judged, names, "V_Info", lambda row: row.v_info),
            _draw_one_score(judged, names, "Dice", lambda row: row.dice),
        ]
    halves = [_as_halves(one.scores, name) for one, name in zip(judged, names, strict=True)]
    trade = chart(
        halves,
        x_range=_range_of_halves([one.x for one in halves]),
        y_range=_range_of_halves([one.y for one in halves]),
        title="Split against merge of V_Rand, with a dot at the chosen threshold",
        x_label="merge (low: cells run into one)",
        y_label="split (low: cells in pieces)",
    )
    return [*drawn, trade]


def _range_of_halves(values: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the range of an axis on which all values are the same: else it would leave 0 to 1."""
    return WHOLE if len(set(itertools.chain(*values))) == 1 else None


def _draw_all_scores(scores: Scores) -> Markup:
    """Draw the three scores of one map over the threshold."""
    rows = scores.per_threshold
    best, best_info = (
        _index_of(rows, each) for each in (scores.v_rand_threshold, scores.v_info_threshold)
    )
    x = [row.threshold for row in rows]
    return chart(
        [
            Series("V_Rand", x, [row.v_rand for row in rows], dots=[best]),
            Series("V_Info", x, [row.v_info for row in rows], dots=[best_info]),
            Series("Dice", x, [row.dice for row in rows]),
        ],
        title="Scores over the threshold",
        x_label="threshold",
        y_label="score",
        y_range=WHOLE,
        marks=[Mark(scores.v_rand_threshold, f"chosen: {scores.v_rand_threshold:.1f}")],
    )


def _draw_one_score(
    judged: Sequence[Judged], names: Sequence[str], title: str, measure: Measure
) -> Markup:
    """Draw a score of all maps over the threshold, with the threshold of V_Rand as a dot."""
    series = []
    for one, name in zip(judged, names, strict=True):
        rows = one.scores.per_threshold
        best = _index_of(rows, one.scores.v_rand_threshold)
        x, y = [row.threshold for row in rows], [measure(row) for row in rows]
        series.append(Series(name, x, y, dots=[best]))
    return chart(
        series,
        title=f"{title}, with a dot at the threshold chosen by V_Rand",
        x_label="threshold",
        y_label=title,
        y_range=WHOLE,
    )


def _as_halves(scores: Scores, name: str) -> Series:
    """Return merge and split of a map at all thresholds."""
    rows = [row for row in scores.per_threshold if row.v_rand >= NEAR_BEST * scores.v_rand]
    return Series(
        name,
        [row.v_rand_merge for row in rows],
        [row.v_rand_split for row in rows],
        labels=[f"{name}, threshold {row.threshold:.1f}" for row in rows],
        dots=[_index_of(rows, scores.v_rand_threshold)],
    )


def _index_of(rows: Sequence[ThresholdScore], threshold: float) -> int:
    return [row.threshold for row in rows].index(threshold)


def list_sections(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the rows of the table by section."""
    rows = []
    for index, number in enumerate(judged[0].pair.numbers):
        cells: list[float | int] = []
        for one in judged:
            scored = one.scores.per_section[index]
            kinds = [error.kind for error in one.errors.listed if error.section == number]
            cells += [scored.v_rand, scored.v_info, scored.dice]
            cells += [kinds.count("merge"), kinds.count("split")]
        rows.append({"number": number, "cells": cells})
    return rows
